package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Do sends one request and returns its response once the headers are there. Redirects, statuses
// and encodings are the caller's business. The request's body is always closed, as by an
// http.RoundTripper, perhaps a little after Do has returned and while somebody is in its Read (a
// body that is fed by others wakes up so); the request must not be changed before Do returns.
//
// The caller closes the response's Body. Read to its end, the connection serves the next call;
// closed before, the connection is closed, and so the upstream learns that nobody listens. A Read
// may fail with ErrChunkTimeout, ErrReset, ErrProtocol or the context's error.
//
// When every place is taken Do waits in the queue until its turn or the end of the context, whose
// deadline is the only bound of that wait. When a connection that had served before dies before
// the first byte of the response, the request is sent once more on a fresh connection, whatever
// its method, provided it has no body or a GetBody.
func (p *Pool) Do(req *http.Request, pol Policy) (*http.Response, error) {
	if req.URL == nil || req.Header == nil {
		closeBody(req.Body)
		return nil, errNoURL
	}
	k, err := keyOf(req.URL, pol)
	if err != nil {
		closeBody(req.Body)
		return nil, err
	}
	resp, _, err := p.send(req, k, nil, false)
	return resp, err
}

// send is Do on a connection of a known key. Of m, which may be nil, it ends the call that its caller began, once
// the response's body has ended; when it returns no response that is still the caller's to do.
// With once the request is not sent a second time; errWritten says that it should be so from then on.
// took is the server's part of the time: from the last sending to the head, or that of a dial which failed.
func (p *Pool) send(req *http.Request, k key, m *member, once bool) (resp *http.Response, took time.Duration, err error) {
	c, err := p.acquire(req.Context(), k, false)
	if err != nil {
		closeBody(req.Body)
		return nil, 0, err
	}
	resp, took, again, err := p.attempt(req, c, m)
	if !again || once {
		return resp, took, err
	}
	if hasBody(req.Body) {
		if req.GetBody == nil {
			return nil, took, err
		}
		if req, err = renewed(req); err != nil {
			return nil, took, fmt.Errorf("call %s: get the request's body a second time: %w", k.addr, err)
		}
	}
	if c, err = p.acquire(req.Context(), k, true); err != nil {
		closeBody(req.Body)
		return nil, took, err
	}
	resp, took, _, err = p.attempt(req, c, m)
	if dialFailed(err) {
		return nil, took, fmt.Errorf("%w, %w", err, errWritten)
	}
	return resp, took, err
}

// renewed is a request with its body once more.
func renewed(req *http.Request) (*http.Request, error) {
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	again := req.WithContext(req.Context())
	again.Body = body
	return again, nil
}

// errWritten goes with a failed dial after a first connection had taken the request and died. Its one
// repetition is still to be had, at another endpoint, and it is the last.
var errWritten = errors.New("after the connection that had taken the request died")

// keyOf says which connections may serve a request to u.
func keyOf(u *url.URL, pol Policy) (key, error) {
	var port string
	switch u.Scheme {
	case "http":
		port = "80"
	case "https":
		port = "443"
	default:
		return key{}, fmt.Errorf("call %s: scheme %q is neither http nor https", u.Host, u.Scheme)
	}
	host := u.Hostname()
	if host == "" {
		return key{}, errors.New("call: the URL names no host")
	}
	for i := range len(host) {
		if host[i] <= ' ' || host[i] >= 0x7f {
			return key{}, fmt.Errorf("call %q: the host is not plain ASCII: write an international name in its xn-- form", host)
		}
	}
	if given := u.Port(); given != "" {
		port = given
	}
	return key{policy: pol, scheme: u.Scheme, addr: net.JoinHostPort(strings.ToLower(host), port)}, nil
}

// call is one request on one connection, and its response's Body.
type call struct {
	pool   *Pool
	conn   *conn
	member *member            // nil is none; ends when the response's body does
	ctx    context.Context    // the caller's
	cancel context.CancelFunc // of a context of its own; nil is none
	watch  watch
	upload *upload       // nil unless the request's body can be sent only once
	began  time.Time     // when it was given the connection's place
	answer io.ReadCloser // the response's body
	closed atomic.Bool   // by the caller
	ended  atomic.Bool
}

// attempt sends the request on c, which the call then owns. again says that the same request may
// be sent on another connection; took is as of send.
func (p *Pool) attempt(req *http.Request, c *conn, m *member) (resp *http.Response, took time.Duration, again bool, err error) {
	begun := time.Now()
	sent := begun
	if c.cc == nil {
		if err := p.dial(req.Context(), c); err != nil {
			p.times.add(c.waited, time.Since(begun))
			closeBody(req.Body)
			return nil, time.Since(sent), false, err
		}
		sent = time.Now()
	}
	x := &call{pool: p, conn: c, ctx: req.Context(), began: begun}
	x.watch.call = x
	out := x.request(req)
	mark := c.read.Load()
	if c.used {
		mark = c.mark
	}
	x.watch.start(ErrResponseTimeout, p.set.response)
	resp, err = c.cc.RoundTrip(out)
	took = time.Since(sent)
	if late := x.watch.stop(); err == nil && late != nil {
		_ = resp.Body.Close()
		err = late
	}
	if err != nil {
		again = c.used && c.read.Load() == mark && x.died()
		err = x.explain(err, mark)
		closeBody(out.Body)
		x.end()
		return nil, took, again, err
	}
	resp, err = x.respond(req, resp, m)
	return resp, took, false, err
}

// request is req as it is sent: with a context of the call's own, unless the caller's is that already and nothing else needs one.
func (x *call) request(req *http.Request) *http.Request {
	once := hasBody(req.Body) && req.GetBody == nil
	absolutely := x.pool.set.proxy != "" && x.conn.key.scheme == "http"
	if asksOf(x.ctx).alone && !once && !absolutely {
		return req
	}
	// It ends with the call, so that nothing stays registered in the caller's.
	ctx, cancel := context.WithCancel(x.ctx)
	x.cancel = cancel
	out := req.WithContext(ctx)
	if absolutely {
		out.URL = absolute(out.URL)
	}
	if once {
		x.upload = &upload{ReadCloser: req.Body}
		out.Body = x.upload
		// RoundTrip comes back only when nobody reads the body any more. A body that is fed by
		// others may block in Read for ever; closing it is what wakes it up.
		context.AfterFunc(ctx, func() { _ = x.upload.Close() })
	}
	return out
}

// breakOff ends a call that makes no progress.
func (x *call) breakOff() {
	if x.cancel != nil {
		x.cancel()
		return
	}
	_ = x.conn.cc.Close() // what net/http does too when a context ends
}

// respond makes the call the response's body.
func (x *call) respond(req *http.Request, resp *http.Response, m *member) (*http.Response, error) {
	x.pool.times.head.observe(time.Since(x.began))
	resp.Request, resp.TLS = req, x.conn.tls
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
		_ = resp.Body.Close()
		x.end()
		return nil, x.fail(ErrProtocol, "", errors.New("it switches to another protocol, which a pooled call cannot follow"))
	case resp.Body == http.NoBody:
		x.member = m
		x.end()
	default:
		x.member = m
		x.answer = resp.Body
		resp.Body = x
	}
	return resp, nil
}

// Read reads the response's body.
func (x *call) Read(b []byte) (int, error) {
	x.watch.start(ErrChunkTimeout, x.pool.set.chunk)
	n, err := x.answer.Read(b)
	_ = x.watch.stop()
	if err != nil {
		if err != io.EOF {
			err = x.explain(err, -1)
		}
		x.end()
	}
	return n, err
}

// Close ends the call. It may be called while a Read waits, which then fails.
func (x *call) Close() error {
	x.closed.Store(true)
	err := x.answer.Close()
	x.end()
	return err
}

// end gives the connection back, once.
func (x *call) end() {
	if x.ended.Swap(true) {
		return
	}
	if x.member != nil {
		x.member.inFlight.Add(-1)
	}
	x.watch.end()
	took := time.Since(x.began)
	x.pool.times.add(x.conn.waited, took)
	x.pool.times.whole.observe(took)
	x.pool.settle(x.conn)
	if x.cancel != nil {
		x.cancel()
	}
}

// died says that the connection was lost, and not given up by us or the caller.
func (x *call) died() bool {
	return x.conn.failed.Load() && x.watch.fired() == nil && x.ctx.Err() == nil && x.upload.err() == nil
}

// explain turns an error of net/http into one of ours. mark is how much the connection had
// received before the request, -1 when the response has begun.
func (x *call) explain(err error, mark int64) error {
	late := x.watch.fired()
	switch {
	case x.closed.Load():
		return err
	case late == ErrResponseTimeout:
		return x.fail(late, fmt.Sprintf("%s.response_timeout is %v", x.pool.path, x.pool.set.response), nil)
	case late == ErrChunkTimeout:
		return x.fail(late, fmt.Sprintf("%s.chunk_timeout is %v", x.pool.path, x.pool.set.chunk), nil)
	case x.ctx.Err() != nil:
		return contextError(x.ctx, x.conn.key.addr)
	case x.upload.err() != nil:
		return fmt.Errorf("call %s: read the request's body: %w", x.conn.key.addr, x.upload.err())
	case x.conn.failed.Load():
		return x.fail(ErrReset, "", err)
	case x.conn.read.Load() != mark:
		return x.fail(ErrProtocol, "", err)
	default:
		return fmt.Errorf("call %s: send the request: %w", x.conn.key.addr, err)
	}
}

func (x *call) fail(kind error, hint string, err error) error {
	return &Error{Kind: kind, Pool: x.pool.name, Addr: x.conn.key.addr, Hint: hint, Err: err}
}

func hasBody(body io.ReadCloser) bool { return body != nil && body != http.NoBody }

func closeBody(body io.ReadCloser) {
	if body != nil {
		_ = body.Close()
	}
}

// upload is a request's body that can be sent only once. It closes once and remembers its failure.
type upload struct {
	io.ReadCloser
	once   sync.Once // whoever closes second comes back when it is closed
	closed atomic.Bool
	failed atomic.Pointer[error]
}

func (u *upload) Read(b []byte) (int, error) {
	n, err := u.ReadCloser.Read(b)
	if err != nil && err != io.EOF && !u.closed.Load() {
		u.failed.Store(&err)
	}
	return n, err
}

func (u *upload) Close() error {
	u.once.Do(func() {
		u.closed.Store(true)
		_ = u.ReadCloser.Close()
	})
	return nil
}

func (u *upload) err() error {
	if u == nil {
		return nil
	}
	if err := u.failed.Load(); err != nil {
		return *err
	}
	return nil
}
