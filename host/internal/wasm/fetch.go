package wasm

import (
	"bytes"
	"context"
	"io"
	"math"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

const chunkSize = 32 << 10 // what is read of a body at once, in bytes

// start hands a fetch to its capability, on a goroutine of its own.
func (w *worker) start(o *abi.Op, block, body []byte, name string) abi.Code {
	capability := w.pool.options.Capabilities[o.Code]
	if capability == nil {
		return abi.Denied
	}
	fields, err := abi.ParseBlock(block)
	if err != nil || o.Arg > abi.MaxCredit || len(body) > abi.MaxFetchBody {
		return abi.Invalid
	}
	if code := w.charge(len(body)); code != abi.OK {
		return code
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	op, code := w.register(o)
	if code != abi.OK {
		w.settle(len(body))
		return code
	}
	in := &Operation{
		Code: o.Code, Fields: fields, Name: name,
		Body:    bytes.Clone(body),
		Timeout: time.Duration(min(o.Arg64, uint64(24*time.Hour/time.Millisecond))) * time.Millisecond,
	}
	if op.call != nil {
		in.RequestID = op.call.req.ID
		in.Timeout = op.call.within(in.Timeout)
	}
	op.credit = int(o.Arg)
	op.ctx, op.stop = context.WithCancelCause(w.contextOf(op))
	in.Stop = op.stop
	if o.Flags&abi.OpEnd == 0 {
		sending := newSender(w, op, in.Body)
		op.sending, op.cancel = sending, sending.close
		in.Body, in.Stream = nil, sending
	}
	w.pool.background.Add(1)
	go func() {
		defer w.pool.background.Done()
		_ = deepen(0)
		w.perform(op.ctx, op, capability, in)
	}()
	return abi.OK
}

// deepen grows the stack of a goroutine that is about to go deep into net/http, and then into a guest: at once, and while there is
// nothing on it that would have to be copied. i is below 4096.
//
//go:noinline
func deepen(i int) byte {
	var room [4 << 10]byte
	return room[i]
}

// perform runs a capability and delivers its reply.
func (w *worker) perform(ctx context.Context, op *operation, capability Capability, in *Operation) {
	reply, err := capability(ctx, in)
	if err != nil {
		w.settle(len(in.Body))
		w.failed(ctx, op, abi.Done, err)
		return
	}
	if reply.Body == nil {
		reply.Body, reply.Length = io.NopCloser(bytes.NewReader(nil)), 0
	}
	body := &underWay{ReadCloser: reply.Body, w: w, sent: len(in.Body)}
	if n := abi.BlockSize(reply.Fields); n > abi.MaxBlock || len(reply.Fields) > abi.MaxFields {
		body.Close()
		w.failed(ctx, op, abi.Done, &abi.Error{Code: abi.TooLarge, Text: "the headers of the answer are over 64 KiB"})
		return
	}
	w.deliver(ctx, op, reply, body)
}

// failed is the last event of an operation that did not go well. A guest does not hear of one that failed because the client
// left: its CANCEL is on its way.
func (w *worker) failed(ctx context.Context, op *operation, kind abi.Kind, err error) {
	if op.call != nil && op.call.ctx.Err() != nil {
		return
	}
	if w.push(op.failure(kind, asCode(ctx, err))) {
		w.kick()
	}
}

// failure is the last event of an operation, with its error.
func (op *operation) failure(kind abi.Kind, e *abi.Error) event {
	again := uint32(min((e.Retry+time.Millisecond-1)/time.Millisecond, math.MaxUint32))
	text := e.Text[:min(len(e.Text), maxLogLine)]
	return event{kind: kind, flags: abi.EventEnd | abi.EventError, code: uint32(e.Code), arg: again, id: op.id, body: []byte(text), call: op.call, op: op}
}

// deliver passes a reply and then its body, as far as there is credit for it. A short body whose length is known comes with its head,
// so that a small answer is one event.
func (w *worker) deliver(ctx context.Context, op *operation, reply *Reply, body *underWay) {
	done := event{kind: abi.Done, flags: reply.Flags, code: uint32(reply.Status), id: op.id, arg: reply.Arg, fields: reply.Fields, call: op.call, op: op}
	if done.fields == nil {
		done.fields = []abi.Field{}
	}
	w.mu.Lock()
	credit := op.credit
	w.mu.Unlock()
	if reply.Length >= 0 && reply.Length <= int64(min(credit, abi.MinData-abi.MaxBlock)) {
		first := make([]byte, reply.Length, reply.Length+1)
		if _, err := io.ReadFull(body, first); err != nil {
			body.Close()
			w.failed(ctx, op, abi.Done, err)
			return
		}
		// The end is behind the last byte: reading it lets the connection go back to its pool.
		_, _ = body.Read(first[reply.Length : reply.Length+1])
		body.Close()
		done.body, done.flags = first, done.flags|abi.EventEnd
		w.mu.Lock()
		ok := w.makeRoom(len(first), func() bool { return op.ended }, op.grant, ctx.Done()) && w.pushLocked(done)
		w.mu.Unlock()
		if ok {
			w.kick()
		}
		return
	}
	w.mu.Lock()
	op.body, op.grant, op.handover = true, make(chan struct{}, 1), make(chan io.ReadCloser)
	ok := w.pushLocked(done)
	w.mu.Unlock()
	if !ok {
		body.Close()
		return
	}
	w.kick()
	w.pump(ctx, op, body)
}

// pump reads a body under credit until its end, or until a pipe takes it over.
func (w *worker) pump(ctx context.Context, op *operation, body *underWay) {
	buffer := w.pool.module.engine.buffer()
	defer w.pool.module.engine.reuse(buffer)
	for {
		w.mu.Lock()
		credit, piped, ended := op.credit, op.piped, op.ended
		w.mu.Unlock()
		switch {
		case piped:
			op.handOver(body)
			return
		case ended:
			body.Close()
			return
		case credit == 0:
			select {
			case <-op.grant:
			case <-ctx.Done():
				body.Close()
				return
			}
			continue
		}
		n, err := body.Read(buffer[:min(credit, len(buffer))])
		w.mu.Lock()
		wanted := w.makeRoom(n, func() bool { return op.piped || op.ended }, op.grant, ctx.Done())
		switch {
		case op.piped: // it was taken over while this read was under way
			w.mu.Unlock()
			op.handOver(&unread{first: bytes.Clone(buffer[:n]), err: err, rest: body})
			return
		case !wanted:
			w.mu.Unlock()
			body.Close()
			return
		}
		op.credit -= n
		e := event{kind: abi.Chunk, id: op.id, call: op.call, op: op, body: bytes.Clone(buffer[:n])}
		switch {
		case err == io.EOF:
			e.flags = abi.EventEnd
			body.end()
		case err != nil && n == 0:
			w.mu.Unlock()
			body.Close()
			w.failed(ctx, op, abi.Chunk, err)
			return
		}
		ok := w.pushLocked(e)
		w.mu.Unlock()
		if ok {
			w.kick()
		}
		if err == io.EOF || !ok {
			body.Close()
			return
		}
	}
}

// handOver gives the rest of a body to the pipe that asked for it, or closes it when that is over.
func (op *operation) handOver(body io.ReadCloser) {
	select {
	case op.handover <- body:
	case <-op.ctx.Done():
		body.Close()
	}
}

// unread is a body of which some bytes, and perhaps its end, were read already.
type unread struct {
	first []byte
	err   error
	rest  io.ReadCloser
}

func (u *unread) Read(p []byte) (int, error) {
	if len(u.first) > 0 {
		n := copy(p, u.first)
		u.first = u.first[n:]
		return n, nil
	}
	if u.err != nil {
		return 0, u.err
	}
	return u.rest.Read(p)
}

func (u *unread) Close() error { return u.rest.Close() }
