package plugin

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

const (
	maxWhole  = 64 << 10 // an answer up to this waits for the handler's return and goes out in one piece
	maxStream = 16 << 10 // once the head is out, this much is collected before it is sent
)

// Response is the answer to a request. Up to 64 KiB it is kept until the handler returns, then sent whole; an error can still take its place.
// Above that, or after Flush, it streams: Write waits until the client has taken enough, without holding up other requests.
// It is not safe for use by several goroutines at once, nor after the handler has returned.
type Response struct {
	x      *exchange
	header Header
	first  [1]Field // where header begins: most answers have a content type and nothing else
	status int      // 0: not set
	buf    []byte   // written, not sent
	stage  stage
}

type stage uint8

const (
	open  stage = iota // nothing was sent
	held               // the host holds a lazy head: it may still be replaced
	sent               // the head is out
	ended              // so is the last byte
)

// Header is the headers to send. After the first byte was sent, changes have no effect.
func (w *Response) Header() *Header { return &w.header }

// WriteHeader sets the status, 200 when it is not called. Only the first call counts. It panics when status is not within 200 to 599.
func (w *Response) WriteHeader(status int) {
	if status < 200 || status > 599 {
		panic(fmt.Sprintf("plugin: WriteHeader(%d): a status is from 200 to 599", status))
	}
	if w.status == 0 {
		w.status = status
	}
}

// Status is the status that was set, or 0.
func (w *Response) Status() int { return w.status }

// Sent reports whether the client may have seen a part of the answer, so that no other can take its place.
func (w *Response) Sent() bool { return w.stage >= sent }

// bodyless reports whether what is written is dropped because the answer can have no body.
func (w *Response) bodyless() bool {
	return w.x.req.Method == "HEAD" || w.status == 204 || w.status == 304
}

// Write adds to the body. It fails when the request was cancelled, with a FetchError of ErrCancelled.
// For an answer that has no body (to HEAD; 204, 304) it does nothing.
func (w *Response) Write(p []byte) (int, error) {
	if w.stage == ended {
		return 0, errors.New("write after the end of the answer")
	}
	if w.bodyless() {
		return len(p), nil
	}
	if len(w.buf)+len(p) <= w.room() {
		w.grow()
		w.buf = append(w.buf, p...)
		return len(p), nil
	}
	if len(w.buf) > 0 {
		if err := w.drain(0); err != nil {
			return 0, err
		}
	}
	if len(p) <= w.room() {
		w.buf = append(w.buf, p...)
		return len(p), nil
	}
	if err := w.send(p, 0); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteString is Write of s.
func (w *Response) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// room is how much is collected before it is sent.
func (w *Response) room() int {
	if w.stage < sent {
		return maxWhole
	}
	return maxStream
}

func (w *Response) grow() {
	if w.buf == nil {
		w.buf = w.x.rt.buffer()
	}
}

// Flush sends the status, the headers and what was written, now. The answer streams from here on. It fails as Write does.
func (w *Response) Flush() error {
	if w.stage == ended {
		return errors.New("flush after the end of the answer")
	}
	return w.drain(abi.OpFlush)
}

// JSON sets the status and the content type, and writes v as JSON, without HTML escapes and without a newline at the end.
func (w *Response) JSON(status int, v any) error {
	w.grow()
	before := len(w.buf)
	b, err := marshal(w.buf, v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	w.WriteHeader(status)
	if w.stage < sent {
		w.header.Set("content-type", "application/json")
	}
	if w.bodyless() || w.stage == ended {
		w.buf = b[:before]
		return nil
	}
	w.buf = b
	if len(w.buf) > w.room() {
		return w.drain(0)
	}
	return nil
}

// drain sends what was collected.
func (w *Response) drain(flags uint16) error {
	err := w.send(w.buf, flags)
	w.buf = w.buf[:0]
	return err
}

// close ends the answer: in one piece when nothing was sent yet. Called with mu held.
func (w *Response) close() error {
	if w.stage == ended {
		return nil
	}
	w.settle()
	if w.stage < sent {
		rt := w.x.rt
		code := abi.Limit
		if rt.encode(w.header) {
			code = rt.host.Respond(w.x.request, w.status, rt.block, w.buf)
		}
		switch code {
		case abi.OK:
			w.stage = ended
			return nil
		case abi.NoCredit:
		default:
			return w.refused("respond", code)
		}
	}
	return w.push(w.buf, abi.OpEnd)
}

// settle gives the answer its status, and drops a body that came before a status that allows none.
func (w *Response) settle() {
	if w.status == 0 {
		w.status = 200
	}
	if w.bodyless() {
		w.buf = w.buf[:0]
	}
}

// fail makes an error the answer. What was sent cannot be taken back: then the connection is aborted.
func (w *Response) fail(err error) error {
	if w.stage == ended {
		return nil
	}
	if w.stage == sent {
		w.x.rt.mu.Lock()
		w.x.abort()
		w.x.rt.mu.Unlock()
		w.stage = ended
		return nil
	}
	e := AsError(err)
	w.header, w.status, w.buf = nil, 0, w.buf[:0]
	if e.RetryAfter > 0 {
		seconds := int64((e.RetryAfter + time.Second - 1) / time.Second)
		w.header.Set("retry-after", strconv.FormatInt(seconds, 10))
	}
	return w.JSON(e.Status, errorBody{e.Detail})
}

// errorBody is the shape of every error that a client reads.
type errorBody struct {
	Detail string `json:"detail"`
}

// send sends p, with the head before it if that is not out, within the credit that there is; for more it waits.
func (w *Response) send(p []byte, flags uint16) error {
	w.settle()
	w.x.rt.mu.Lock()
	defer w.x.rt.mu.Unlock()
	return w.push(p, flags)
}

// push is send, called with mu held.
func (w *Response) push(p []byte, flags uint16) error {
	x, rt := w.x, w.x.rt
	if w.bodyless() {
		p = nil
	}
	for {
		if x.err != nil {
			return scopeError(x.err)
		}
		n := min(len(p), x.credit)
		if n == 0 && len(p) > 0 {
			rt.park(&x.wait)
			continue
		}
		last := n == len(p)
		head := w.stage < sent
		if err := w.part(p[:n], flags, last); err != nil {
			return err
		}
		x.credit -= n
		if p = p[n:]; last && !(head && flags&abi.OpFlush != 0) {
			return nil
		}
	}
}

// part submits one piece, the head with it if that is not out. Flags are for the last. A head cannot flush: a write without bytes follows it.
func (w *Response) part(p []byte, flags uint16, last bool) error {
	rt := w.x.rt
	code := abi.OpWrite
	if w.stage < sent {
		code, flags = abi.OpHead, flags&^abi.OpFlush
		if !rt.encode(w.header) {
			return w.refused("head", abi.Limit)
		}
	}
	op := rt.record(code, w.x.request, 0)
	op.Body = p
	if code == abi.OpHead {
		op.Arg, op.Fields = uint32(w.status), rt.block
	}
	if last {
		op.Flags = flags
	}
	if code := rt.submit(); code != abi.OK {
		return w.refused("write", code)
	}
	w.stage = sent
	if last && flags&abi.OpEnd != 0 {
		w.stage = ended
	}
	return nil
}

// refused is the error for an operation of this response that the host did not take.
func (w *Response) refused(what string, code abi.Code) error {
	if code == abi.Invalid || code == abi.Limit {
		what += ", status or headers"
	}
	return w.x.scope.refused(what, code)
}
