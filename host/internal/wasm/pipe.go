package wasm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

const (
	drainTime  = time.Second
	drainWait  = 20 * time.Millisecond
	drainBytes = 4 << 10
)

// pipe splices the body of a fetch into an answer. The goroutine of Serve runs it, so nothing is woken and nothing is
// copied between two others.
type pipe struct {
	op    *operation // the pipe's own
	fetch *operation
	ctx   context.Context // while it runs
	first *handedBack
	sse   bool
	watch bool
	match []byte
	idle  time.Duration
}

// startPipe checks a PIPE and leaves it to the goroutine that serves the call.
func (w *worker) startPipe(c *call, o *abi.Op, first []byte, match string) abi.Code {
	c.mu.Lock()
	ready := c.status != 0 && !c.end && c.pipe == nil && c.fault == nil
	c.mu.Unlock()
	if !ready {
		return abi.State
	}
	if len(first) > abi.MaxCredit {
		return abi.Invalid
	}
	w.mu.Lock()
	fetch := w.ops[o.Arg64]
	if fetch == nil || fetch.call != c {
		w.mu.Unlock()
		return abi.NotFound
	}
	if !fetch.body || fetch.piped {
		w.mu.Unlock()
		return abi.State
	}
	if !w.outbound.take(len(first)) {
		w.mu.Unlock()
		w.pool.hit(limitBodies)
		return abi.Limit
	}
	op, code := w.register(o)
	if code != abi.OK {
		w.mu.Unlock()
		w.outbound.give(len(first))
		return code
	}
	op.grant = make(chan struct{}, 1)
	fetch.piped = true
	withdrawn := w.withdraw(fetch)
	w.outbound.add(len(withdrawn))
	op.holds = len(first) + len(withdrawn)
	p := &pipe{
		op: op, fetch: fetch,
		first: &handedBack{w: w, op: op, bytes: append(bytes.Clone(first), withdrawn...)},
		sse:   o.Flags&abi.OpSSE != 0,
		watch: o.Flags&abi.OpWatch != 0, match: []byte(match),
		idle: time.Duration(o.Arg) * time.Millisecond,
	}
	signal(fetch.grant)
	w.letIn()
	w.mu.Unlock()
	c.mu.Lock()
	c.pipe = p
	c.mu.Unlock()
	c.wake()
	return abi.OK
}

// withdraw takes the chunks of an operation that the guest has not taken out of the mailbox. w.mu is held.
func (w *worker) withdraw(op *operation) []byte {
	var taken []byte
	for i := w.box.first; i < len(w.box.events); i++ {
		if e := &w.box.events[i]; e.op == op && e.kind == abi.Chunk {
			taken = append(taken, e.body...)
			w.box.bytes -= int64(len(e.body))
			e.op, e.body, e.call = &operation{ended: true}, nil, nil
		}
	}
	return taken
}

// runPipe copies until the stream's end. done is false with no error when the stream failed before its first byte: then the answer
// is the guest's again.
func (c *call) runPipe(ctx context.Context, sink Sink, p *pipe, sent *bool, before []byte) (done bool, err error) {
	var end context.CancelCauseFunc
	p.ctx, end = context.WithCancelCause(ctx)
	defer end(nil)
	// Who reads the body now may be within a read that gives nothing for long: these bound the wait for it too.
	stopAll := func(why error) {
		end(why)
		p.fetch.stop(why)
	}
	if valid := c.req.Valid; valid != nil {
		defer context.AfterFunc(valid, func() { stopAll(ErrWithdrawn) })()
	}
	out := &pipeOut{call: c, sink: sink, pipe: p, sent: sent}
	if !*sent && !c.due.IsZero() {
		out.due = time.AfterFunc(time.Until(c.due), func() { stopAll(ErrTimeout) })
		defer out.due.Stop()
	}
	var body io.ReadCloser
	select {
	case body = <-p.fetch.handover:
	case <-p.fetch.ctx.Done(): // the guest cancelled it, its worker died, or the call is over
		body = &unread{err: &abi.Error{Code: abi.Cancelled}, rest: io.NopCloser(nil)}
	case <-ctx.Done():
		return false, ErrGone
	}
	stop := context.AfterFunc(p.ctx, func() { body.Close() })
	defer stop()
	if len(before) > 0 { // what the guest wrote itself goes first
		err = out.write(before)
	}
	source := io.MultiReader(p.first, body)
	source = &idleReader{source: source, body: body, limit: p.idle}
	switch {
	case err != nil:
	case p.sse:
		err = copyEvents(source, out)
	default:
		err = copyBytes(source, out, c.worker.pool.module.engine)
	}
	w := c.worker
	if err == nil {
		if p.sse {
			w.pool.drainBody(body)
		} else { // it was read to its end
			body.Close()
		}
		c.mu.Lock()
		c.end = true
		c.sent = true
		c.mu.Unlock()
		if !*sent { // an empty body
			if err := out.head(0); err != nil {
				return false, ErrGone
			}
		}
		w.mu.Lock()
		p.op.last = true
		ok := w.pushLocked(event{kind: abi.Done, flags: abi.EventEnd, id: p.op.id, op: p.op})
		w.mu.Unlock()
		if ok {
			w.kick()
		}
		return true, nil
	}
	body.Close()
	if ctx.Err() != nil || errors.Is(err, ErrGone) {
		return false, ErrGone
	}
	if context.Cause(p.ctx) == ErrWithdrawn {
		return false, c.withdrawn()
	}
	if !*sent && context.Cause(p.ctx) == ErrTimeout {
		return false, ErrTimeout
	}
	if c.isFailed() {
		return false, nil // the worker died meanwhile; the next advance says why
	}
	if !*sent {
		c.mu.Lock()
		c.pipe, c.lazy = nil, true
		c.mu.Unlock()
		w.failed(p.ctx, p.op, abi.Done, err)
		return false, nil
	}
	w.failed(p.ctx, p.op, abi.Done, err)
	if c.req.ErrorEvents && p.sse {
		if out.errorEvent(err) != nil {
			return false, ErrGone
		}
		return true, nil
	}
	return false, &PipeError{err}
}

func (c *call) isFailed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fault != nil
}

// drainBody reads the little that stands behind a stream's last event, so that its connection can be used again, and
// closes it. It waits a moment for that, before the client is told that this was all: a client that asks again at once
// must find the connection free.
func (p *Pool) drainBody(body io.ReadCloser) {
	drained := make(chan struct{})
	p.background.Add(1)
	go func() {
		defer p.background.Done()
		defer close(drained)
		timer := time.AfterFunc(drainTime, func() { body.Close() })
		defer timer.Stop()
		_, _ = io.CopyN(io.Discard, body, drainBytes)
		body.Close()
	}()
	wait := time.NewTimer(drainWait)
	defer wait.Stop()
	select {
	case <-drained:
	case <-wait.C:
	}
}

// idleReader fails when the source gives nothing for limit; 0 is no limit.
type idleReader struct {
	source io.Reader
	body   io.Closer
	limit  time.Duration
}

func (r *idleReader) Read(b []byte) (int, error) {
	if r.limit == 0 {
		return r.source.Read(b)
	}
	timer := time.AfterFunc(r.limit, func() { r.body.Close() })
	n, err := r.source.Read(b)
	if !timer.Stop() && err != nil {
		err = &abi.Error{Code: abi.Timeout, Text: fmt.Sprintf("the stream gave nothing for %v", r.limit)}
	}
	return n, err
}

func copyBytes(source io.Reader, out *pipeOut, e *Engine) error {
	buffer := e.buffer()
	defer e.reuse(buffer)
	for {
		n, err := source.Read(buffer)
		if n > 0 {
			if err := out.write(buffer[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// pipeOut is the client's side of a pipe.
type pipeOut struct {
	call *call
	sink Sink
	pipe *pipe
	sent *bool
	due  *time.Timer // until the head; nil is no limit
}

func (o *pipeOut) head(length int64) error {
	o.call.mu.Lock()
	status, fields := o.call.status, o.call.fields
	o.call.sent = true
	o.call.mu.Unlock()
	*o.sent = true
	if o.due != nil {
		o.due.Stop()
	}
	if err := o.sink.Head(status, fields, length); err != nil {
		return ErrGone
	}
	return nil
}

// write sends b, which is one whole event of an event stream, and flushes.
func (o *pipeOut) write(b []byte) error {
	if !*o.sent {
		if err := o.head(-1); err != nil {
			return err
		}
	}
	if o.sink.Write(b) != nil || o.sink.Flush() != nil {
		return ErrGone
	}
	return nil
}

// saw shows the data of an event to a guest that watches, and waits until it has credit for it.
func (o *pipeOut) saw(data []byte) error {
	p, w := o.pipe, o.call.worker
	if !p.watch || !bytes.Contains(data, p.match) {
		return nil
	}
	for rest := data; ; {
		w.mu.Lock()
		n := min(p.op.credit, len(rest), chunkSize)
		ok := w.makeRoom(n, func() bool { return p.op.ended }, p.op.grant, p.ctx.Done())
		ended := p.op.ended
		if ok && n > 0 {
			p.op.credit -= n
			ok = w.pushLocked(event{kind: abi.Chunk, id: p.op.id, op: p.op, call: o.call, body: bytes.Clone(rest[:n]), arg: uint32(len(rest) - n)})
		}
		w.mu.Unlock()
		if n > 0 && ok && !ended {
			w.kick()
		}
		rest = rest[n:]
		if len(rest) == 0 || ended || !ok {
			return nil
		}
		if n == 0 {
			select {
			case <-p.op.grant:
			case <-p.ctx.Done():
				return context.Cause(p.ctx)
			}
		}
	}
}
