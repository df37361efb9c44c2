package plugintest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
	"github.com/patchbay-run/patchbay/sdk/go/internal/bridge"
)

// operation is one that ends with an event. All of it is guarded by Host.mu.
type operation struct {
	id, request uint64
	host        *Host
	cancel      func()

	res    *http.Response // of a fetch whose head is there
	credit int            // for its body
	opened bool           // credit was given
	piped  bool

	key      string   // of the cache, when it computes
	up       [][]byte // of its request's body: sent, not read
	upCredit int
	upEnd    bool
}

// upstream is one that the plugin may call.
type upstream struct {
	prefix string
	server *httptest.Server
}

func (h *Host) addUpstream(prefix string, handler http.Handler) {
	h.ups = append(h.ups, &upstream{strings.TrimSuffix(prefix, "/"), httptest.NewServer(handler)})
}

// find is the upstream for a URL and the rest of that, or nil.
func (h *Host) find(rawURL string) (*upstream, string) {
	var best *upstream
	var rest string
	for _, u := range h.ups {
		after, ok := strings.CutPrefix(rawURL, u.prefix)
		if ok && (after == "" || strings.ContainsRune("/?", rune(after[0]))) && (best == nil || len(u.prefix) > len(best.prefix)) {
			best, rest = u, after
		}
	}
	return best, rest
}

// add registers an operation, or says why not. Called with mu held.
func (h *Host) add(op *bridge.Op) (*operation, abi.Code) {
	if op.ID == 0 || h.ops[op.ID] != nil {
		return nil, abi.Invalid
	}
	if op.Request != 0 && h.exchange(op.Request) == nil {
		return nil, abi.NotFound
	}
	o := &operation{id: op.ID, request: op.Request, host: h, cancel: func() {}}
	h.ops[op.ID] = o
	return o, abi.OK
}

// endOp forgets an operation and stops what it does. Called with mu held.
func (h *Host) endOp(id uint64) {
	if o := h.ops[id]; o != nil {
		delete(h.ops, id)
		o.cancel()
		h.cond.Broadcast()
	}
}

// tell sends an event of the operation, and ends it with the last. It does nothing when the operation has ended. Called with mu held.
func (o *operation) tell(e event) {
	if o.host.ops[o.id] != o {
		return
	}
	e.ID = o.id
	if e.Flags&abi.EventError != 0 {
		e.Flags |= abi.EventEnd
	}
	if e.Flags&abi.EventEnd != 0 {
		o.host.endOp(o.id)
	}
	o.host.push(e)
}

func failure(kind abi.Kind, code abi.Code, text string) event {
	return event{Event: abi.Event{Kind: kind, Flags: abi.EventError, Code: uint32(code)}, rest: []byte(text)}
}

// sleep is the operation SLEEP.
func (h *Host) sleep(op *bridge.Op) abi.Code {
	o, code := h.add(op)
	if code != abi.OK {
		return code
	}
	timer := time.AfterFunc(time.Duration(op.Arg64), func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		o.tell(event{Event: abi.Event{Kind: abi.Done, Flags: abi.EventEnd}})
	})
	o.cancel = func() { timer.Stop() }
	return abi.OK
}

// fetch is the operation FETCH.
func (h *Host) fetch(op *bridge.Op) abi.Code {
	fields, err := abi.ParseBlock(op.Fields)
	if err != nil || len(op.Body) > abi.MaxFetchBody {
		return abi.Invalid
	}
	if op.Arg > abi.MaxCredit {
		return abi.Limit
	}
	o, code := h.add(op)
	if code != abi.OK {
		return code
	}
	o.credit, o.opened = int(op.Arg), op.Arg > 0
	follow, fail := redirects(fields)
	var req *http.Request
	if fail == nil {
		req, fail = h.request(fields, op, op.Name)
	}
	if fail != nil {
		o.tell(failure(abi.Done, fail.Code, fail.Text))
		return abi.OK
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	o.cancel = func() { cancel(context.Canceled) }
	req = req.WithContext(ctx)
	if op.Flags&abi.OpEnd == 0 {
		if len(op.Body) > 0 {
			o.up = append(o.up, bytes.Clone(op.Body))
		}
		o.upCredit = abi.SendCredit
		req.Body, req.ContentLength = io.NopCloser(&sending{o}), -1
	}
	timeout := time.Duration(op.Arg64) * time.Millisecond
	h.work.Add(1)
	go h.call(o, newHop(h, req, fields, op, follow), timeout, cancel)
	return abi.OK
}

// request is the call as a request to the upstream's loopback server, or why it is not made.
func (h *Host) request(fields []abi.Field, op *bridge.Op, secret string) (*http.Request, *abi.Error) {
	method, rawURL := abi.Get(fields, ":method"), abi.Get(fields, ":url")
	at, err := url.Parse(rawURL)
	if err != nil || at.Host == "" {
		return nil, &abi.Error{Code: abi.Invalid, Text: fmt.Sprintf("fetch %q: not a URL with a scheme and a host", rawURL)}
	}
	u, rest := h.find(rawURL)
	if u == nil {
		what := "host"
		if at.Scheme == "upstream" {
			what = "upstream"
		}
		return nil, &abi.Error{Code: abi.Denied, Text: fmt.Sprintf("no grant allows %s %s://%s%s; add to grant.fetch: {%s: %s, methods: [%s], paths: [%s]} (in a test: the option plugintest.Upstream)",
			method, at.Scheme, at.Host, at.Path, what, at.Host, method, at.Path)}
	}
	var body io.Reader
	if len(op.Body) > 0 && op.Flags&abi.OpEnd != 0 {
		body = bytes.NewReader(bytes.Clone(op.Body))
	}
	if rest == "" || rest[0] != '/' {
		rest = "/" + rest
	}
	req, err := http.NewRequest(method, u.server.URL+rest, body)
	if err != nil {
		return nil, &abi.Error{Code: abi.Invalid, Text: err.Error()}
	}
	req.Host = at.Host
	for _, f := range fields {
		if abi.HostHeader(f.Name) {
			return nil, &abi.Error{Code: abi.Invalid, Text: fmt.Sprintf("fetch: the header %q is the host's to set: leave it out", f.Name)}
		}
		if !strings.HasPrefix(f.Name, ":") {
			req.Header.Add(f.Name, f.Value)
		}
	}
	if secret != "" {
		value := abi.Get(h.secrets, secret)
		if value == "" {
			return nil, &abi.Error{Code: abi.Denied, Text: fmt.Sprintf("no grant allows the secret %q (in a test: the option plugintest.Secret)", secret)}
		}
		req.Header.Set("Authorization", "Bearer "+value)
	}
	return req, nil
}

// sending is the body of a call's request while the guest sends it.
type sending struct{ o *operation }

func (s *sending) Read(p []byte) (int, error) {
	o, h := s.o, s.o.host
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(o.up) == 0 {
		if o.upEnd {
			return 0, io.EOF
		}
		if h.ops[o.id] != o {
			return 0, context.Canceled
		}
		h.cond.Wait()
	}
	n := copy(p, o.up[0])
	if o.up[0] = o.up[0][n:]; len(o.up[0]) == 0 {
		o.up = o.up[1:]
	}
	if h.ops[o.id] == o && !o.upEnd {
		o.upCredit += n
		h.push(event{Event: abi.Event{Kind: abi.Credit, Flags: abi.EventOperation, ID: o.id, Arg: uint32(n)}})
	}
	return n, nil
}

// send is the operation SEND.
func (h *Host) send(op *bridge.Op) abi.Code {
	o := h.ops[op.ID]
	switch {
	case o == nil:
		return abi.NotFound
	case o.upEnd:
		return abi.State
	case len(op.Body) > o.upCredit:
		return abi.NoCredit
	}
	o.upCredit -= len(op.Body)
	if len(op.Body) > 0 {
		o.up = append(o.up, bytes.Clone(op.Body))
	}
	o.upEnd = op.Flags&abi.OpEnd != 0
	h.cond.Broadcast()
	return abi.OK
}

// call makes the call and delivers what comes.
func (h *Host) call(o *operation, at *hop, timeout time.Duration, cancel context.CancelCauseFunc) {
	defer h.work.Done()
	if timeout > 0 {
		timer := time.AfterFunc(timeout, func() { cancel(context.DeadlineExceeded) })
		defer timer.Stop()
	}
	res, fail, err := at.follow()
	if fail != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		o.tell(failure(abi.Done, fail.Code, fail.Text))
		return
	}
	if err != nil {
		code := abi.Connect
		if context.Cause(at.req.Context()) == context.DeadlineExceeded {
			code = abi.Timeout
		} else if errors.Is(err, io.EOF) || strings.Contains(err.Error(), "reset") {
			code = abi.Reset
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		o.tell(failure(abi.Done, code, "fetch: "+code.String()))
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	head := event{Event: abi.Event{Kind: abi.Done, Code: uint32(res.StatusCode)}, fields: headerBlock(res.Header, at.from)}
	if size := res.ContentLength; size >= 0 && size <= int64(min(o.credit, maxPiece)) { // small: all in one
		h.mu.Unlock()
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		h.mu.Lock()
		if err == nil {
			head.Flags, head.rest = abi.EventEnd, b
			o.tell(head)
		} else {
			o.tell(head)
			o.tell(failure(abi.Chunk, abi.Reset, "the upstream broke off its answer"))
		}
		return
	}
	o.res = res
	o.tell(head)
	h.deliver(o)
}

// deliver sends the body of an answer under credit, until a pipe takes it over. Called with mu held.
func (h *Host) deliver(o *operation) {
	buf := make([]byte, maxPiece)
	for {
		for o.credit == 0 && !o.piped && h.ops[o.id] == o {
			h.cond.Wait()
		}
		if o.piped {
			return // the body is the pipe's
		}
		if h.ops[o.id] != o {
			o.res.Body.Close()
			return
		}
		n := min(o.credit, len(buf))
		h.mu.Unlock()
		n, err := o.res.Body.Read(buf[:n])
		h.mu.Lock()
		o.credit -= n
		e := event{Event: abi.Event{Kind: abi.Chunk}, rest: bytes.Clone(buf[:n])}
		switch {
		case err == io.EOF:
			e.Flags = abi.EventEnd
		case err != nil && n > 0:
			o.tell(e)
			e = failure(abi.Chunk, abi.Reset, "the upstream broke off its answer")
		case err != nil:
			e = failure(abi.Chunk, abi.Reset, "the upstream broke off its answer")
		}
		o.tell(e)
	}
}

func headerBlock(header http.Header, from string) []byte {
	var fields []abi.Field
	for name, values := range header {
		for _, v := range values {
			fields = append(fields, abi.Field{Name: strings.ToLower(name), Value: v})
		}
	}
	if from != "" {
		fields = append(fields, abi.Field{Name: ":url", Value: from})
	}
	return abi.AppendBlock(nil, fields)
}
