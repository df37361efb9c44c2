package wasm

import (
	"io"
	"sync"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// sender is the body of a fetch that the guest sends in pieces: the guest's SEND fills it, the capability reads it.
type sender struct {
	w  *worker
	op *operation

	mu     sync.Mutex
	wake   *sync.Cond
	data   []byte
	window int // what the guest may still send
	end    bool
	closed bool
}

func newSender(w *worker, op *operation, first []byte) *sender {
	s := &sender{w: w, op: op, data: first, window: abi.SendCredit}
	s.wake = sync.NewCond(&s.mu)
	return s
}

func (w *worker) send(id uint64, body []byte, end bool) abi.Code {
	w.mu.Lock()
	op := w.ops[id]
	w.mu.Unlock()
	if op == nil {
		return abi.NotFound
	}
	s := op.sending
	if s == nil {
		return abi.State
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.end:
		return abi.State
	case s.closed: // the capability wants no more; what it has to say about that comes as the result
		return abi.OK
	case len(body) > s.window:
		return abi.NoCredit
	}
	s.window -= len(body)
	w.outbound.add(len(body))
	s.data = append(s.data, body...)
	s.end = end
	s.wake.Broadcast()
	return abi.OK
}

// Read gives what the guest has sent and grants it credit for as much again.
func (s *sender) Read(p []byte) (int, error) {
	s.mu.Lock()
	for len(s.data) == 0 && !s.end && !s.closed {
		s.wake.Wait()
	}
	if s.closed {
		s.mu.Unlock()
		return 0, io.ErrClosedPipe
	}
	if len(s.data) == 0 {
		s.mu.Unlock()
		return 0, io.EOF
	}
	n := copy(p, s.data)
	s.data = s.data[:copy(s.data, s.data[n:])]
	s.w.outbound.give(n)
	back := min(n, abi.SendCredit-s.window)
	s.window += back
	end := s.end
	s.mu.Unlock()
	if back > 0 && !end && s.w.push(event{kind: abi.Credit, flags: abi.EventOperation, id: s.op.id, arg: uint32(back), call: s.op.call, op: s.op}) {
		s.w.kick()
	}
	return n, nil
}

func (s *sender) close() {
	s.mu.Lock()
	s.closed = true
	s.w.outbound.give(len(s.data))
	s.data = nil
	s.wake.Broadcast()
	s.mu.Unlock()
}
