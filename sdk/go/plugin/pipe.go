package plugin

import (
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// PipeOptions say how a reply's body is piped.
type PipeOptions struct {
	// SSE reads the body as an event stream: each event is sent by itself, at once, and in ASCII.
	SSE bool
	// Idle is the longest pause between two chunks of the body, rounded up to milliseconds; 0 is the host's limit.
	Idle time.Duration
	// Watch, only with SSE, sees the data of the events that contain Match (of all, when that is empty), on the handler's goroutine.
	// The stream waits for it when it is slow. data is valid until it returns.
	Watch func(data []byte)
	Match string
}

// PipeError is why a pipe failed.
type PipeError struct {
	Sent bool // something was sent: no other answer can be given, and the host has ended this one
	Code abi.Code
	Text string
}

// Error is the text, or the code in words.
func (e *PipeError) Error() string {
	text := e.Text
	if text == "" {
		text = e.Code.String()
	}
	return "pipe: " + text
}

// Is reports whether target is the sentinel of the same code, such as ErrReset.
func (e *PipeError) Is(target error) bool {
	t, ok := target.(*FetchError)
	return ok && t.Text == "" && t.cause == nil && t.Code == e.Code
}

// watchWindow is how many bytes of watched events may wait in the plugin's memory.
const watchWindow = 64 << 10

// Pipe sends the body of reply, fetched with Window ForPipe, as the body of this answer, after what was written to it. The host does the work:
// the handler only waits. The status and headers are those set on w; none are copied from reply. When it returns nil the answer is complete.
//
// A failure before the first byte (with SSE also a first event that is an error) is a *PipeError with Sent false:
// then w is as if nothing had been written, and the handler may answer something else, or return the error.
// When the request is cancelled, so is the pipe: a *PipeError with Sent true.
func (w *Response) Pipe(reply *Reply, o PipeOptions) error {
	from := reply.op
	if from == nil || from.scope != &w.x.scope {
		return &PipeError{Sent: w.Sent(), Code: abi.Invalid, Text: "the reply is not of a Fetch within this request"}
	}
	if w.stage == ended || w.bodyless() {
		reply.Body.Close()
		return nil
	}
	if len(w.buf) > 0 {
		if err := w.drain(0); err != nil {
			return w.pipeFailed(err)
		}
	}
	op := &operation{body: body{scope: from.scope, window: watchWindow, opened: true}}
	if err := w.splice(op, from, &o); err != nil {
		return w.pipeFailed(err)
	}
	if err := op.watch(o.Watch); err != nil {
		return w.pipeFailed(err)
	}
	w.stage = ended
	return nil
}

// splice submits the lazy head, if none is out, and the pipe.
func (w *Response) splice(op, from *operation, o *PipeOptions) error {
	rt, x := w.x.rt, w.x
	w.settle()
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if x.err != nil {
		return scopeError(x.err)
	}
	if from.opened {
		return &FetchError{Code: abi.State, Text: "its body is being read: fetch with Window: plugin.ForPipe"}
	}
	if w.stage < sent {
		if err := w.hold(); err != nil {
			return err
		}
	}
	if !rt.attach(op) {
		return &FetchError{Code: abi.Limit, Text: "too many operations"}
	}
	from.opened = true // whoever reads it now gets nothing
	record := rt.record(abi.OpPipe, x.request, op.id)
	record.Arg64, record.Name = from.id, o.Match
	record.Arg = uint32(min((o.Idle+time.Millisecond-1)/time.Millisecond, 1<<31))
	if o.SSE {
		record.Flags |= abi.OpSSE
		if o.Watch != nil {
			record.Flags |= abi.OpWatch
		}
	}
	watches := record.Flags&abi.OpWatch != 0
	if code := rt.submit(); code != abi.OK {
		err := x.refused("splice", code)
		op.fail(err)
		return err
	}
	if watches {
		op.grant(watchWindow)
	}
	return nil
}

// hold gives the host a head to send with the first byte. Called with mu held.
func (w *Response) hold() error {
	rt := w.x.rt
	code := abi.Limit
	if rt.encode(w.header) {
		head := rt.record(abi.OpHead, w.x.request, 0)
		head.Flags, head.Arg, head.Fields = abi.OpLazy, uint32(w.status), rt.block
		code = rt.submit()
	}
	if code != abi.OK {
		return w.refused("head", code)
	}
	w.stage = held
	return nil
}

// watch waits for the end of a pipe and shows what comes meanwhile. An event that was cut for its size is put together again.
func (op *operation) watch(f func([]byte)) error {
	for {
		data, err := op.watched()
		if data == nil {
			return err
		}
		f(data) // without the lock: it is the author's code
	}
}

// watched is the next watched event, or nil when the pipe has ended, with its error.
func (op *operation) watched() ([]byte, error) {
	rt := op.scope.rt
	rt.mu.Lock()
	defer rt.mu.Unlock()
	for op.cur == nil {
		if op.err != nil {
			return nil, op.err
		}
		if op.end {
			return nil, nil
		}
		rt.park(&op.wait)
	}
	data := op.cur
	op.consume(len(data))
	return data, nil
}

// pipeFailed is err as a PipeError. Only the host knows whether something was sent: while it takes another head for the one it held, nothing was.
func (w *Response) pipeFailed(err error) error {
	failure := &PipeError{Sent: true, Code: abi.Internal, Text: err.Error()}
	if e, ok := err.(*FetchError); ok {
		failure.Code = e.Code
	}
	rt := w.x.rt
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if w.x.err != nil {
		return failure
	}
	if w.stage == held && w.hold() == nil || w.stage == open {
		failure.Sent = false
		w.header, w.status, w.buf = nil, 0, w.buf[:0]
		return failure
	}
	if w.stage == held {
		w.stage = ended // the host has ended it
	}
	return failure
}
