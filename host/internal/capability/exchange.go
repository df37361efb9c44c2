package capability

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/genai"
	"github.com/patchbay-run/patchbay/host/internal/telemetry"
	"github.com/patchbay-run/patchbay/host/internal/trace"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// exchange is one fetch as the access line and the traces see it: from its begin to the last byte of its answer, whose body it is. It watches
// bytes pass and holds none of them up.
type exchange struct {
	ctx       context.Context
	began     time.Time
	call      trace.Call
	operation string // what is asked of a model; "" is nothing
	provider  string // of that model
	sent      bool   // it was allowed
	attempts  int
	body      io.ReadCloser // of the answer

	mu     sync.Mutex     // guards what follows: a body is closed while it is read
	asked  *genai.Request // nil is not read
	answer *genai.Answer  // nil is none of a chat
	first  time.Duration  // until the first text; 0 is not yet
	size   int64          // of the answer's body, in bytes
	ended  bool
}

// watch begins to look at a call.
func (f *fetch) watch(ctx context.Context, in *wasm.Operation, h *hop) *exchange {
	x := &exchange{ctx: ctx, began: time.Now(), call: f.host.Parts().Traces.Begin(ctx, h.target.method), operation: genai.Operation(h.target.method, h.target.path)}
	if x.operation == "" || !x.call.Recording() {
		return x
	}
	x.asked = &genai.Request{}
	if h.stream != nil {
		h.stream = io.TeeReader(h.stream, writer(x.ask))
	} else {
		x.asked.Write(in.Body)
	}
	return x
}

// writer is a function as an io.Writer that takes everything.
type writer func([]byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}

func (x *exchange) ask(p []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.asked.Write(p)
}

// allowed says that a request goes out, by a line of the grant.
func (x *exchange) allowed(req *http.Request, t *target, grant *config.Fetch) *http.Request {
	x.call.Propagate(req.Header, t.upstream != "")
	first := !x.sent
	x.sent = true
	if !x.call.Recording() {
		return req
	}
	if first { // and where it is redirected to does not change what was asked for
		x.provider = t.upstream
		if t.upstream == "" {
			x.provider = t.host
		}
		x.call.Target(t.method, pattern(grant, t.path), t.upstream, t.host, t.port)
	}
	return req.WithContext(upstream.Observe(req.Context(), x.attempted))
}

// pattern is the path of the grant that covers a path.
func pattern(grant *config.Fetch, path string) string {
	for _, p := range grant.Paths {
		if under(p, path) {
			return p
		}
	}
	return ""
}

func (x *exchange) attempted(a upstream.Attempt) {
	x.attempts++
	x.call.Peer(a.Addr)
	switch {
	case a.Err != nil:
		x.call.Attempt(x.attempts, a.Addr, codeWord(coded(a.Err, nil)))
	case a.Status >= http.StatusInternalServerError, a.Status == http.StatusTooManyRequests:
		x.call.Attempt(x.attempts, a.Addr, strconv.Itoa(a.Status))
	}
}

// answered looks on while the answer is read.
func (x *exchange) answered(reply *wasm.Reply) *wasm.Reply {
	if x.call.Recording() {
		x.call.Status(reply.Status, x.attempts)
	}
	if x.operation != "" {
		x.answer = genai.NewAnswer(abi.Get(reply.Fields, "content-type"))
	}
	x.body, reply.Body = reply.Body, x
	return reply
}

// Read reads the answer's body.
func (x *exchange) Read(p []byte) (int, error) {
	n, err := x.body.Read(p)
	x.read(p[:n], err)
	return n, err
}

// Close may be called while a Read waits.
func (x *exchange) Close() error {
	err := x.body.Close()
	x.end(nil)
	return err
}

func (x *exchange) read(p []byte, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended {
		return
	}
	x.size += int64(len(p))
	if x.answer != nil && len(p) > 0 && x.answer.Write(p) && x.first == 0 {
		x.first = time.Since(x.began)
		telemetry.AddUsage(x.ctx, telemetry.Usage{Model: x.answer.Model(), FirstToken: x.first}) // the client may leave before the end
	}
	switch {
	case err == io.EOF:
		x.endLocked(nil)
	case err != nil:
		x.endLocked(err)
	}
}

// end is the end of the call, whoever comes first. err is why, nil when all is well or nobody wanted the rest.
func (x *exchange) end(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.endLocked(err)
}

func (x *exchange) endLocked(err error) {
	if x.ended {
		return
	}
	x.ended = true
	if x.sent {
		telemetry.AddUpstream(x.ctx, time.Since(x.began))
	}
	if x.answer != nil {
		input, output := x.answer.Tokens()
		telemetry.AddUsage(x.ctx, telemetry.Usage{Model: x.answer.Model(), InputTokens: input, OutputTokens: output})
	}
	if !x.call.Recording() {
		return
	}
	if x.operation != "" && x.sent {
		x.call.Chat(x.chat())
	}
	kind, text := "", ""
	switch {
	case err != nil:
		kind, text = codeWord(err), explanation(err)
	case x.ctx.Err() != nil:
		kind = abi.Cancelled.String()
	}
	x.call.End(x.size, kind, text)
}

func (x *exchange) chat() trace.Chat {
	c := trace.Chat{Operation: x.operation, Provider: x.provider, RequestModel: x.asked.Model()}
	if a := x.answer; a != nil {
		c.Model, c.FinishReasons, c.Failed = a.Model(), a.FinishReasons(), a.Failed()
		c.InputTokens, c.OutputTokens = a.Tokens()
		if a.Streams() {
			c.FirstText = x.first
		}
	}
	return c
}

// explanation is the text of an error that a span may show: what happened to a connection. Why a call is refused tells its address.
func explanation(err error) string {
	var e *abi.Error
	if errors.As(err, &e) {
		switch e.Code {
		case abi.Connect, abi.Timeout, abi.Reset, abi.Pool, abi.Unavailable:
			return e.Text
		}
	}
	return ""
}

// codeWord is the code of an error that a guest is told.
func codeWord(err error) string {
	var e *abi.Error
	if errors.As(err, &e) {
		return e.Code.String()
	}
	return abi.Reset.String()
}
