package wasm

import (
	"context"
	"io"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

const (
	maxOpsPerCall = 256 // unfinished operations of one request
	maxOwnOps     = 256 // of the worker itself
)

// operation is one that has a result to come.
type operation struct {
	id     uint64
	call   *call  // nil: the worker's own
	cancel func() // ends what does not end with ctx; nil is nothing

	// Guarded by worker.mu.
	ended  bool
	last   bool          // its last event lies in the mailbox and outlives the call: the answer is complete, the guest is to hear so
	at     int           // where it stands in call.ops
	body   bool          // its body may be read or piped: the reply is there
	piped  bool          // the pipe has its body, or gets it from handover
	credit int           // of its body, granted and unused
	holds  int           // bytes of the guest's that count as outbound
	grant  chan struct{} // capacity 1: credit was added, or piped was set; nil as long as nobody can wait for it

	ctx      context.Context         // of a fetch
	stop     context.CancelCauseFunc // ends ctx
	handover chan io.ReadCloser      // the rest of the body, for the pipe; nobody waits there when ctx has ended
	sending  *sender                 // of a fetch whose request body comes in pieces
	session  Session                 // of a Quick that goes on
}

// submit starts one operation. It runs within a poll.
func (w *worker) submit(m api.Memory, o *abi.Op) abi.Code {
	fields, ok1 := m.Read(o.Fields.Ptr, o.Fields.Len)
	body, ok2 := m.Read(o.Body.Ptr, o.Body.Len)
	name, ok3 := m.Read(o.Name.Ptr, o.Name.Len)
	if !ok1 || !ok2 || !ok3 {
		return abi.Fault
	}
	if len(name) > maxName {
		return abi.Invalid
	}
	switch o.Code {
	case abi.OpReady:
		return w.readied(o.Arg, body)
	case abi.OpHead, abi.OpWrite, abi.OpPipe:
		c := w.call(o.Request)
		if c == nil {
			return abi.NotFound
		}
		switch o.Code {
		case abi.OpHead:
			return c.setHead(o.Arg, fields, body, o.Flags)
		case abi.OpWrite:
			return c.write(body, o.Flags)
		}
		return w.startPipe(c, o, body, string(name))
	case abi.OpSend:
		return w.send(o.ID, body, o.Flags&abi.OpEnd != 0)
	case abi.OpRead:
		return w.read(o)
	case abi.OpSleep:
		return w.sleep(o)
	case abi.OpCancel:
		return w.cancel(o)
	case abi.OpFetch:
		return w.start(o, fields, body, string(name))
	}
	if quick, ok := w.pool.options.Quick[o.Code]; ok {
		return w.quick(o, quick, fields, body, string(name))
	}
	return abi.Unsupported
}

const maxName = 4096

func (w *worker) readied(failed uint32, reason []byte) abi.Code {
	var err error
	if failed != 0 {
		err = &StartError{Reason: string(reason[:min(len(reason), maxLogLine)])}
	}
	if w.readySaid {
		return abi.State
	}
	w.readySaid = true
	w.began(w.mod.Memory().Size())
	w.ready <- err // it has room for the one
	return abi.OK
}

// call finds a request that the guest has taken and that has not ended.
func (w *worker) call(id uint64) *call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.callLocked(id)
}

func (w *worker) callLocked(id uint64) *call {
	i := uint32(id)
	if int(i) >= len(w.slots) {
		return nil
	}
	if c := w.slots[i].call; c != nil && c.id == id && c.delivered && !c.ended {
		return c
	}
	return nil
}

// register makes an operation under its id and, if it belongs to a request, under that. w.mu is held.
func (w *worker) register(o *abi.Op) (*operation, abi.Code) {
	if o.ID == 0 || w.ops[o.ID] != nil {
		return nil, abi.Invalid
	}
	op := &operation{id: o.ID}
	if o.Request != 0 {
		c := w.callLocked(o.Request)
		if c == nil {
			return nil, abi.NotFound
		}
		if len(c.ops) == maxOpsPerCall {
			return nil, abi.Limit
		}
		op.call, op.at = c, len(c.ops)
		c.ops = append(c.ops, op)
	} else {
		if w.ownOps == maxOwnOps {
			return nil, abi.Limit
		}
		w.ownOps++
	}
	w.ops[o.ID] = op
	return op, abi.OK
}

// contextOf is what an operation's own context hangs on.
func (w *worker) contextOf(op *operation) context.Context {
	if op.call != nil {
		return op.call.ctx
	}
	return w.ctx
}

// release ends what an operation runs on. w.mu is held.
func (op *operation) release() {
	if op.stop != nil {
		op.stop(nil)
	}
	if op.cancel != nil {
		op.cancel()
	}
}

// forget ends an operation: no event of it will be taken. w.mu is held.
func (w *worker) forget(op *operation) {
	if op.ended {
		return
	}
	op.ended = true
	signal(op.grant) // whoever waits for credit
	w.giveBack(op, op.holds)
	delete(w.ops, op.id)
	if c := op.call; c != nil {
		end := len(c.ops) - 1
		c.ops[op.at] = c.ops[end]
		c.ops[op.at].at = op.at
		c.ops[end] = nil
		c.ops = c.ops[:end]
	} else {
		w.ownOps--
	}
	op.release()
}

func (w *worker) sleep(o *abi.Op) abi.Code {
	w.mu.Lock()
	defer w.mu.Unlock()
	op, code := w.register(o)
	if code != abi.OK {
		return code
	}
	timer := time.AfterFunc(time.Duration(min(o.Arg64, 1<<62)), func() {
		if w.push(event{kind: abi.Done, flags: abi.EventEnd, id: op.id, call: op.call, op: op}) {
			w.kick()
		}
	})
	op.cancel = func() { timer.Stop() }
	return abi.OK
}

func (w *worker) cancel(o *abi.Op) abi.Code {
	if o.ID == 0 {
		c := w.call(o.Request)
		if c == nil {
			return abi.NotFound
		}
		c.fail(errGuestAborted)
		return abi.OK
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	op := w.ops[o.ID]
	if op == nil {
		return abi.NotFound
	}
	w.forget(op)
	return abi.OK
}

// read is READ: credit for a result's body, or for the request's.
func (w *worker) read(o *abi.Op) abi.Code {
	w.mu.Lock()
	defer w.mu.Unlock()
	credit, grant := (*int)(nil), chan struct{}(nil)
	if o.ID != 0 {
		op := w.ops[o.ID]
		if op == nil {
			return abi.NotFound
		}
		credit, grant = &op.credit, op.grant
	} else {
		c := w.callLocked(o.Request)
		if c == nil {
			return abi.NotFound
		}
		credit, grant = &c.credit, c.grant
	}
	if uint64(*credit)+uint64(o.Arg) > abi.MaxCredit {
		return abi.Limit
	}
	*credit += int(o.Arg)
	signal(grant)
	return abi.OK
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
