package plugin

import (
	"context"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// operation is one that ends with an event: a fetch or a pipe. Its body is that of the result.
type operation struct {
	body
	next, prev *operation // of the same scope
	sendCredit int        // bytes of a fetch's request that may be sent
	reply      Reply
	arg        uint32      // of the event with the result
	flags      uint16      // likewise
	done       bool        // its result is there
	stop       func() bool // ends the watch of a context that is not the scope's own
}

// finish is the event DONE. Called with mu held.
func (op *operation) finish(e *abi.Event, fields, first []byte) {
	op.done, op.arg, op.flags = true, e.Arg, e.Flags
	if e.Flags&abi.EventError == 0 {
		headers, err := abi.ParseBlock(fields)
		if err == nil {
			op.reply.Status, op.reply.Header = int(e.Code), headers
			if n := len(headers) - 1; n >= 0 && headers[n].Name == ":url" { // the host puts it last
				op.reply.URL, op.reply.Header = headers[n].Value, headers[:n]
			}
		} else {
			op.err = &FetchError{Code: abi.Internal, Text: "headers of the answer: " + err.Error()}
		}
	}
	op.deliver(e, first)
	if e.Flags&(abi.EventEnd|abi.EventError) != 0 {
		op.detach()
	}
}

// fail ends the operation with err and forgets it. Called with mu held.
func (op *operation) fail(err error) {
	op.detach()
	if op.err == nil && !op.end {
		op.err = err
	}
	op.scope.rt.wake(&op.wait)
}

// detach takes the operation, of which no further event comes, out of the table and its scope. Called with mu held.
func (op *operation) detach() {
	rt := op.scope.rt
	if rt.operation(op.id) != op {
		return
	}
	slot := uint32(op.id)
	rt.slots[slot].op = nil
	rt.free = append(rt.free, slot)
	if op.prev != nil {
		op.prev.next = op.next
	} else {
		op.scope.ops = op.next
	}
	if op.next != nil {
		op.next.prev = op.prev
	}
	op.next, op.prev = nil, nil
	rt.wake(&op.wait)
}

// cancel ends the operation from our side. Called with mu held.
func (op *operation) cancel(err error) {
	rt := op.scope.rt
	if rt.operation(op.id) == op {
		rt.record(abi.OpCancel, op.scope.request, op.id)
		rt.submit()
	}
	op.fail(err)
}

// follow lets ctx, which is not the scope's own, end the operation.
func (op *operation) follow(ctx context.Context) {
	rt := op.scope.rt
	stop := context.AfterFunc(ctx, func() {
		rt.mu.Lock()
		op.cancel(scopeError(ctx.Err()))
		rt.mu.Unlock()
	})
	rt.mu.Lock()
	op.stop = stop
	rt.checked = true // it may have a timer that the host does not know of
	rt.mu.Unlock()
}

// Close ends the operation: what is left of its result is not wanted.
func (op *operation) Close() error {
	rt := op.scope.rt
	rt.mu.Lock()
	op.cancel(errClosed)
	op.cur, op.more, op.err = nil, nil, errClosed
	stop := op.stop
	rt.mu.Unlock()
	if stop != nil {
		stop()
	}
	return nil
}
