package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// ForPipe is the Window of a Call whose reply goes to Response.Pipe: nothing of its body is delivered before it is asked for.
const ForPipe = -1

// NoRedirects is the Redirects of a Call whose redirects are replies.
const NoRedirects = -1

const (
	defaultWindow    = 64 << 10
	defaultRedirects = 10
)

// Call is an HTTP call.
type Call struct {
	Method string // GET when empty
	URL    string // https://…, http://…, or upstream://NAME/path
	Header Header
	Body   []byte    // the whole body, at most 8 MiB
	Stream io.Reader // in the place of Body: sent as it is read, on a goroutine of its own; it is not closed

	// Secret is the name of the secret that the host puts in; the plugin never sees it.
	Secret string
	// Idempotent says that sending the call twice does no harm: of an upstream the host may then retry it, as it does GET, HEAD and
	// OPTIONS. A call with a Stream is never retried.
	Idempotent bool
	// Timeout is for the head of the reply, rounded up to milliseconds; 0 is the host's limit.
	Timeout time.Duration
	// Window is how many bytes of the reply's body may wait in the plugin's memory; 0 is 64 KiB, the most is 1 MiB. See ForPipe.
	Window int
	// Redirects is how many redirects the host follows, at most 20, each as a call of its own by the plugin's grant: a Secret goes only
	// where it is granted and bound, Header stays with its server but for what says what is understood, and a body is never sent
	// elsewhere. 0 is 10 for GET and HEAD, and none for other methods, which a redirect may change. See NoRedirects.
	Redirects int
}

// Reply is the answer to a Call.
type Reply struct {
	Status int
	Header Header
	// URL is where the reply came from, when that is not the Call's: redirects were followed.
	URL string
	// Body is the answer's body. Read waits for bytes without holding up other requests, and fails with a *FetchError.
	// Close cancels what is left; it is called when the handler returns.
	Body io.ReadCloser

	op *operation
}

// Fetch makes an HTTP call and waits, without holding up other requests, until the head of its reply is there.
// ctx must descend from Request.Context or Plugin.Context; when it ends, so does the call, the reading of the reply's body included.
// A reply with any status is no error. Errors are *FetchError; what no grant allows is ErrDenied.
func Fetch(ctx context.Context, c *Call) (*Reply, error) {
	s := scopeOf(ctx)
	if err := c.check(s); err != nil {
		return nil, err
	}
	derived := ctx != context.Context(s)
	if derived && ctx.Err() != nil {
		return nil, scopeError(ctx.Err())
	}
	op := newFetch(s, c.Window)
	s.rt.mu.Lock()
	err := op.describe(c)
	if err == nil {
		err = op.start(c)
	}
	if err != nil {
		s.rt.mu.Unlock()
		return nil, err
	}
	if c.Stream != nil {
		op.stream(c.Stream)
	}
	if derived {
		s.rt.mu.Unlock()
		op.follow(ctx)
		s.rt.mu.Lock()
	}
	return op.await()
}

// check is what is wrong with the call before anybody is asked. The steps of Fetch are functions of their own so that a goroutine waits with
// little on its stack: 20,000 of them may.
func (c *Call) check(s *scope) error {
	switch {
	case s == nil:
		return &FetchError{Code: abi.Invalid, Text: "fetch: the context descends neither from Request.Context nor from Plugin.Context"}
	case c.Stream != nil && c.Body != nil:
		return &FetchError{Code: abi.Invalid, Text: "fetch: a call has a Body or a Stream, not both"}
	case len(c.Body) > abi.MaxFetchBody:
		return &FetchError{Code: abi.TooLarge, Text: "fetch: a Body is at most 8 MiB; use Stream for more"}
	}
	return nil
}

func newFetch(s *scope, window int) *operation {
	op := &operation{body: body{scope: s, window: defaultWindow}}
	if window >= 0 {
		op.opened = true
		if window > 0 {
			op.window = min(window, abi.MaxCredit)
		}
	}
	return op
}

// describe makes the call's fields. Called with mu held.
func (op *operation) describe(c *Call) error {
	if op.scope.err != nil {
		return scopeError(op.scope.err)
	}
	if !op.scope.rt.encodeCall(c) {
		return &FetchError{Code: abi.Invalid, Text: "fetch: the URL and the headers are over 64 KiB, or over 1024 headers"}
	}
	return nil
}

// start submits the call that was described. Called with mu held.
func (op *operation) start(c *Call) error {
	rt := op.scope.rt
	if !rt.attach(op) {
		return &FetchError{Code: abi.Limit, Text: "fetch: too many operations"}
	}
	record := rt.record(abi.OpFetch, op.scope.request, op.id)
	record.Fields, record.Body, record.Name = rt.block, c.Body, c.Secret
	if op.opened {
		record.Arg = uint32(op.window)
	}
	if c.Timeout > 0 {
		record.Arg64 = uint64((c.Timeout + time.Millisecond - 1) / time.Millisecond)
	}
	if c.Stream == nil {
		record.Flags = abi.OpEnd
	}
	if code := rt.submit(); code != abi.OK {
		err := op.scope.refused("fetch", code)
		if code == abi.Limit {
			err = &FetchError{Code: code, Text: "fetch: over limits.fetches of the plugin, or over limits.memory with what it sends, or over 256 operations of one request"}
		}
		op.fail(err)
		return err
	}
	return nil
}

// await waits for the head of the reply. Called with mu held, which it lets go of.
func (op *operation) await() (*Reply, error) {
	rt := op.scope.rt
	for !op.done && op.err == nil {
		rt.park(&op.wait)
	}
	err := op.err
	rt.mu.Unlock()
	if err != nil && op.reply.Status == 0 { // with a status, it broke off later: reading will say so
		op.Close()
		return nil, err
	}
	op.reply.op, op.reply.Body = op, op
	return &op.reply, nil
}

// stream starts the sending of a call's stream. Called with mu held.
func (op *operation) stream(r io.Reader) {
	op.sendCredit += abi.SendCredit
	op.scope.rt.spawn(func() { op.pump(r) })
}

// encodeCall makes the field block of c in the runtime's scratch. Called with mu held.
func (rt *runtime) encodeCall(c *Call) bool {
	method := c.Method
	if method == "" {
		method = "GET"
	}
	rt.field(":method", method)
	rt.field(":url", c.URL)
	redirects := c.Redirects
	if redirects == 0 && (method == "GET" || method == "HEAD") {
		redirects = defaultRedirects
	}
	if redirects > 0 {
		rt.field(":redirects", strconv.Itoa(redirects))
	}
	if c.Idempotent {
		rt.field(":idempotent", "1")
	}
	return rt.encode(c.Header)
}

// field adds one to the scratch. Called with mu held.
//
//go:noinline
func (rt *runtime) field(name, value string) {
	rt.fields = append(rt.fields, abi.Field{Name: name, Value: value})
}

// encode makes the field block of rt.fields and header in the runtime's scratch. It reports false when that is over the limits. Called with mu held.
func (rt *runtime) encode(header Header) bool {
	for i := range header {
		rt.field(strings.ToLower(header[i].Name), header[i].Value)
	}
	fits := len(rt.fields) <= abi.MaxFields && abi.BlockSize(rt.fields) <= abi.MaxBlock
	rt.block = rt.block[:0]
	if fits && len(rt.fields) > 0 {
		rt.block = abi.AppendBlock(rt.block, rt.fields)
	}
	if len(rt.fields) > 0 {
		clear(rt.fields) // so that the scratch keeps no text alive
		rt.fields = rt.fields[:0]
	}
	return fits
}

// pump sends a call's stream as it is read. A failure of the stream is the failure of the call.
func (op *operation) pump(stream io.Reader) {
	defer func() {
		if v := recover(); v != nil { // else a fault of one stream would end the worker
			op.pumpFailed(fmt.Errorf("it panicked: %v", v))
		}
	}()
	buf := make([]byte, 16<<10)
	for {
		n, err := stream.Read(buf)
		var flags uint16
		if err == io.EOF {
			flags = abi.OpEnd
		}
		if (n > 0 || flags != 0) && !op.sendPart(buf[:n], flags) || flags != 0 {
			return
		}
		if err != nil {
			op.pumpFailed(err)
			return
		}
	}
}

func (op *operation) pumpFailed(err error) {
	rt := op.scope.rt
	rt.mu.Lock()
	defer rt.mu.Unlock()
	op.cancel(&FetchError{Code: abi.Cancelled, Text: "fetch: read the call's Stream: " + err.Error(), cause: err})
}

// sendPart sends p under credit. It reports whether the call still wants more.
func (op *operation) sendPart(p []byte, flags uint16) bool {
	rt := op.scope.rt
	rt.mu.Lock()
	defer rt.mu.Unlock()
	for rt.operation(op.id) == op {
		if n := min(len(p), op.sendCredit); n > 0 || len(p) == 0 {
			record := rt.record(abi.OpSend, op.scope.request, op.id)
			record.Body = p[:n]
			if n == len(p) {
				record.Flags = flags
			}
			if rt.submit() != abi.OK {
				return false // the call has ended, and its event is on its way
			}
			op.sendCredit -= n
			if p = p[n:]; len(p) == 0 {
				return true
			}
			continue
		}
		rt.park(&op.wait)
	}
	return false
}

// Bytes reads the whole body and closes it. It is ErrTooLarge when the body is over limit bytes.
func (r *Reply) Bytes(limit int64) ([]byte, error) {
	defer r.Body.Close()
	var b []byte
	var err error
	if r.op != nil {
		size, _ := strconv.ParseInt(r.Header.Get("content-length"), 10, 64)
		b, err = r.op.all(limit, size)
	} else {
		b, err = readAll(r.Body, limit)
	}
	if errors.Is(err, errTooLong) {
		return nil, &FetchError{Code: abi.TooLarge, Text: "the reply's body is over " + strconv.FormatInt(limit, 10) + " bytes"}
	}
	return b, err
}

// JSON reads the whole body as one JSON value into v, and closes it. It fails as Bytes does, and with ErrReply when it is not such JSON.
func (r *Reply) JSON(v any, limit int64) error {
	b, err := r.Bytes(limit)
	if err != nil {
		return err
	}
	if err := unmarshal(b, v); err != nil {
		return &replyError{err}
	}
	return nil
}
