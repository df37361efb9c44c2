package capability

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// fetch makes a plugin's outbound calls.
type fetch struct {
	host   *Host
	plugin Plugin
}

func newFetch(h *Host, p Plugin, t *Table) { t.Slow[abi.OpFetch] = (&fetch{h, p}).do }

// do passes one call through policy, secret and pool. Redirects are not followed: the guest gets them as answers,
// and where they point is a call of its own.
func (f *fetch) do(ctx context.Context, in *wasm.Operation) (*wasm.Reply, error) {
	t, err := parseTarget(abi.Get(in.Fields, ":method"), abi.Get(in.Fields, ":url"))
	if err != nil {
		return nil, &abi.Error{Code: abi.Invalid, Text: "fetch: " + err.Error()}
	}
	grant, covered := grantFor(f.plugin.Grant, t, in.Name)
	switch {
	case grant != nil:
	case covered:
		return nil, f.refuse(in, fmt.Sprintf("plugin %q may not use secret %.80q for %s: add secret: %.80s to that line of its grant.fetch", f.plugin.Name, in.Name, address(t), yaml(in.Name)))
	default:
		return nil, f.refuse(in, fmt.Sprintf("plugin %q may not %s %s: add to its grant.fetch: %s", f.plugin.Name, t.method, address(t), missing(t, in.Name)))
	}
	timeout := in.Timeout
	if timeout == 0 {
		timeout = longestHead
	}
	head := newHeadContext(ctx, timeout)
	resp, err := f.call(head, in, t, grant)
	head.headArrived()
	if err != nil {
		head.cancel(nil)
		return nil, f.explain(in, err)
	}
	length := resp.ContentLength
	if t.method == http.MethodHead {
		length = 0 // what the header says is the length of another answer
	}
	return &wasm.Reply{
		Status: resp.StatusCode,
		Fields: headers(resp.Header),
		Body:   &body{resp.Body, head.cancel},
		Length: length,
	}, nil
}

func (f *fetch) call(ctx context.Context, in *wasm.Operation, t *target, grant *config.Fetch) (*http.Response, error) {
	parts := f.host.Parts()
	var named *upstream.Upstream
	to := *t.url
	if t.upstream != "" {
		u, ok := parts.Upstreams.Named(t.upstream)
		if !ok {
			return nil, &abi.Error{Code: abi.Invalid, Text: fmt.Sprintf("fetch: there is no upstream %q: add it to upstreams", t.upstream)}
		}
		path := t.url.EscapedPath()
		if path == "" {
			path = "/"
		}
		built, err := u.URL(path, t.url.RawQuery)
		if err != nil {
			return nil, &abi.Error{Code: abi.Invalid, Text: "fetch: " + err.Error()}
		}
		named, to = u, *built
	}
	req := (&http.Request{Method: t.method, URL: &to, Host: to.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}}).WithContext(ctx)
	if err := setHeaders(req, in.Fields); err != nil {
		return nil, err
	}
	if err := authorize(req, parts, t, grant, in.Name); err != nil {
		return nil, f.refuse(in, fmt.Sprintf("plugin %q: %v", f.plugin.Name, err))
	}
	setBody(req, in)
	if named == nil {
		return parts.Upstreams.Shared().Do(req, upstream.Policy{Private: grant.Private, Owner: f.plugin.Name})
	}
	return named.Do(req, upstream.Policy{})
}

// authorize puts in the upstream's own secret, and the one that the guest named.
func authorize(req *http.Request, parts *Parts, t *target, grant *config.Fetch, secret string) error {
	if t.upstream != "" {
		u := parts.Named[t.upstream]
		if isDemo(u) {
			return nil
		}
		if u.Auth.Secret != "" {
			if err := parts.Secrets.put(req, u.Auth.Secret, u.Auth.As, t.upstream); err != nil {
				return err
			}
		}
	}
	if secret == "" {
		return nil
	}
	return parts.Secrets.put(req, secret, grant.As, t.upstream)
}

// isDemo says whether an upstream is the server's own demo, which needs no secret and gets none.
func isDemo(u config.Upstream) bool {
	for _, e := range u.Endpoints {
		if !strings.HasPrefix(e, "demo:") {
			return false
		}
	}
	return true
}

// setHeaders copies the guest's headers, but for those that are the host's to set.
func setHeaders(req *http.Request, fields []abi.Field) error {
	for _, h := range fields {
		if strings.HasPrefix(h.Name, ":") {
			continue
		}
		if !validHeader(h) {
			return &abi.Error{Code: abi.Invalid, Text: fmt.Sprintf("fetch: %.80q is no header in lower case, or its value holds a control character", h.Name)}
		}
		if reserved(h.Name) {
			return &abi.Error{Code: abi.Invalid, Text: fmt.Sprintf("fetch: the header %.80q is the host's to set: leave it out", h.Name)}
		}
		req.Header.Add(h.Name, h.Value)
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "patchbay")
	}
	return nil
}

// reserved is what speaks of the connection, of where the request goes or of whom it is from.
func reserved(name string) bool {
	switch name {
	case "host", "connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length", "expect",
		"http2-settings", "forwarded", "via", "x-real-ip":
		return true
	}
	return strings.HasPrefix(name, "proxy-") || strings.HasPrefix(name, "x-forwarded-")
}

// validHeader wants a name in lower case, so that no other spelling of a reserved one passes.
func validHeader(h abi.Field) bool {
	return isToken(h.Name) && h.Name == strings.ToLower(h.Name) &&
		!strings.ContainsFunc(h.Value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// isToken says whether s is a token of RFC 9110, 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune("()<>@,;:\\\"/[]?={}", r)
	})
}

func setBody(req *http.Request, in *wasm.Operation) {
	switch {
	case in.Stream != nil:
		req.Body, req.ContentLength = feed(in.Stream), -1
	case len(in.Body) > 0:
		data := in.Body
		req.ContentLength = int64(len(data))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
		req.Body, _ = req.GetBody()
	default:
		req.Body = http.NoBody
	}
}

// feed makes a stream a body whose Close ends a Read that waits for the guest; the pool relies on that when a call is given up. The
// goroutine ends with the stream, which the engine ends when the capability has returned.
func feed(stream io.Reader) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, stream)
		_ = w.CloseWithError(err)
	}()
	return r
}

// headers are the answer's, in lower case, without those of the connection.
func headers(h http.Header) []abi.Field {
	fields := make([]abi.Field, 0, len(h))
	for name, values := range h {
		name = strings.ToLower(name)
		switch name {
		case "connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-authenticate", "proxy-connection":
			continue
		}
		for _, v := range values {
			fields = append(fields, abi.Field{Name: name, Value: v})
		}
	}
	return fields
}

// body ends the call's context when it is closed.
type body struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = coded(err)
	}
	return n, err
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

func (f *fetch) refuse(in *wasm.Operation, text string) error { return f.plugin.refuse(in, text) }

// explain logs a call that failed, since the guest's text may be all that is left of the cause, and gives it its code.
func (f *fetch) explain(in *wasm.Operation, err error) error {
	e := coded(err)
	if c := e.(*abi.Error); c.Code != abi.Denied && c.Code != abi.Cancelled {
		f.plugin.Log.Info("a call failed", "why", c.Text, "request", in.RequestID)
	}
	return e
}

// coded maps what an outbound call can give to what the guest is told.
func coded(err error) error {
	var already *abi.Error
	if errors.As(err, &already) {
		return already
	}
	for _, m := range []struct {
		is   error
		code abi.Code
	}{
		{upstream.ErrPoolTimeout, abi.Pool},
		{upstream.ErrConnectTimeout, abi.Timeout},
		{upstream.ErrConnect, abi.Connect},
		{upstream.ErrResponseTimeout, abi.Timeout},
		{upstream.ErrChunkTimeout, abi.Timeout},
		{upstream.ErrBlocked, abi.Blocked},
		{upstream.ErrReset, abi.Reset},
		{upstream.ErrProtocol, abi.Reset},
		{context.DeadlineExceeded, abi.Timeout},
		{context.Canceled, abi.Cancelled},
		{io.ErrUnexpectedEOF, abi.Reset},
	} {
		if errors.Is(err, m.is) {
			return &abi.Error{Code: m.code, Text: err.Error()}
		}
	}
	return &abi.Error{Code: abi.Reset, Text: err.Error()}
}
