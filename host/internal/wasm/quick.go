package wasm

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// quick hands an operation to a capability that never blocks. It runs within a poll.
func (w *worker) quick(o *abi.Op, q Quick, block, body []byte, name string) abi.Code {
	fields, err := abi.ParseBlock(block)
	if err != nil || len(body) > abi.MaxFetchBody || q.Headers && !validHeaders(fields) {
		return abi.Invalid
	}
	in := &Operation{Code: o.Code, Fields: fields, Name: name, Flags: o.Flags, Arg: o.Arg, Arg64: o.Arg64, Alone: w.fresh}
	answers := o.Flags&abi.OpAnswer != 0
	if len(body) > 0 && !answers {
		in.Body = bytes.Clone(body)
	}
	c := w.call(o.Request)
	switch {
	case c != nil:
		in.RequestID, in.Context = c.req.ID, c.ctx
	case o.Request != 0:
		return abi.NotFound
	}
	if answers {
		if c == nil {
			return abi.Invalid
		}
		if code := c.answerable(len(body)); code != abi.OK {
			return code
		}
	}
	switch {
	case q.Begin != nil:
		return w.startQuick(o, q, in, body)
	case o.ID != 0:
		return w.tell(o.ID, in)
	}
	code := codeOf(q.Do(in))
	if code == abi.Limit && o.Code == abi.OpPublish {
		w.pool.limits.hit(limitEvents)
	}
	return code
}

// startQuick starts an operation that ends with an event, or with the answer to its request, which begins with first.
func (w *worker) startQuick(o *abi.Op, q Quick, in *Operation, first []byte) abi.Code {
	if o.Arg > abi.MaxCredit {
		return abi.Invalid
	}
	w.mu.Lock()
	op, code := w.register(o)
	if code != abi.OK {
		w.mu.Unlock()
		return code
	}
	op.credit = int(o.Arg)
	w.mu.Unlock()
	reply, session, err := q.Begin(in, func(reply *Reply, err error) {
		w.answered(op, reply, err)
		w.rouse()
	})
	if reply != nil && reply.Answer != nil && op.call.answerWith(reply.Answer, first, reply.Data) {
		w.mu.Lock()
		w.forget(op)
		w.mu.Unlock()
		return abi.Answered
	}
	if session != nil {
		w.mu.Lock()
		ended := op.ended
		if !ended {
			op.session, op.cancel = session, session.End
		}
		w.mu.Unlock()
		if ended { // its request ended meanwhile
			session.End()
		}
	}
	if reply != nil || err != nil {
		w.answered(op, reply, err) // the guest takes it within this poll, or the next: nobody needs to be woken
	}
	return abi.OK
}

// tell brings something to an operation that goes on.
func (w *worker) tell(id uint64, in *Operation) abi.Code {
	w.mu.Lock()
	op := w.ops[id]
	w.mu.Unlock()
	if op == nil || op.session == nil { // only the goroutine that polls sets it
		return abi.NotFound
	}
	over, err := op.session.Tell(in)
	if over {
		w.mu.Lock()
		w.forget(op)
		w.mu.Unlock()
	}
	return codeOf(err)
}

// answered puts the reply into the mailbox: as one event when it fits, else by a goroutine, under credit.
func (w *worker) answered(op *operation, reply *Reply, err error) {
	if err != nil {
		w.push(op.failure(abi.Done, asCode(w.ctx, err)))
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case op.ended:
		return
	case abi.BlockSize(reply.Fields)+len(reply.Data) > abi.MinData || len(reply.Data) > op.credit || !w.fits(len(reply.Data)):
		w.deliverLater(op, reply)
		return
	}
	e := event{kind: abi.Done, flags: abi.EventEnd, id: op.id, call: op.call, op: op}
	if reply.Open {
		e.flags = 0
	}
	e.flags |= reply.Flags
	e.code, e.arg, e.fields, e.body = uint32(reply.Status), reply.Arg, reply.Fields, reply.Data
	w.pushLocked(e)
}

// deliverLater sends a reply as the body of a fetch is sent, and counts it as one: the host may be the last that holds those bytes. w.mu is held.
func (w *worker) deliverLater(op *operation, reply *Reply) {
	if code := w.charge(len(reply.Data)); code != abi.OK {
		w.pushLocked(op.failure(abi.Done, &abi.Error{Code: code, Text: "more values wait for this worker than limits.memory or limits.fetches allow"}))
		return
	}
	op.ctx, op.stop = context.WithCancelCause(w.contextOf(op))
	reply.Length = -1
	body := &underWay{ReadCloser: io.NopCloser(bytes.NewReader(reply.Data)), w: w, sent: len(reply.Data)}
	w.pool.background.Add(1)
	go func() {
		defer w.pool.background.Done()
		w.deliver(op.ctx, op, reply, body)
	}()
}

// rouse is kick for who may be within the poll of another worker: that one's guest must not run inside this one's.
func (w *worker) rouse() {
	for {
		switch w.state.Load() {
		case idle:
			if w.state.CompareAndSwap(idle, running) {
				go w.run(0)
				return
			}
		case running:
			if w.state.CompareAndSwap(running, again) {
				return
			}
		default:
			return
		}
	}
}

func codeOf(err error) abi.Code {
	var e *abi.Error
	switch {
	case err == nil:
		return abi.OK
	case errors.As(err, &e):
		return e.Code
	}
	return abi.Internal
}
