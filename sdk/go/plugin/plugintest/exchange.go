package plugintest

import (
	"errors"
	"io"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
	"github.com/patchbay-run/patchbay/sdk/go/internal/bridge"
	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// exchange is one request with its answer. All of it is guarded by Host.mu.
type exchange struct {
	id     uint64
	host   *Host
	events bool // the client asked for errors as events

	in       io.Reader // the rest of the request's body; nil when there is none
	inCredit int

	stage   stage
	status  int
	header  plugin.Header
	out     [][]byte // sent by the guest, not read by the client
	outSize int
	credit  int // that the guest has left
	owed    int // read by the client since the last CREDIT
	aborted error
	timer   *time.Timer
}

type stage uint8

const (
	waiting stage = iota
	held          // a lazy head
	sent
	ended
)

// ErrAborted says that the connection was closed within an answer.
var ErrAborted = errors.New("the connection was aborted")

// open starts a request. Called with mu held.
func (h *Host) open(x *exchange, routeIndex int, fields []abi.Field, first []byte) {
	slot := len(h.slots)
	for i := range h.slots {
		if h.slots[i] == nil {
			slot = i
			break
		}
	}
	if slot == len(h.slots) {
		h.slots = append(h.slots, nil)
	}
	h.generation++
	x.id = h.generation<<32 | uint64(slot)
	h.slots[slot] = x
	e := event{Event: abi.Event{Kind: abi.Request, Code: uint32(routeIndex), ID: x.id}, fields: abi.AppendBlock(nil, fields), rest: first}
	if x.in == nil {
		e.Flags = abi.EventEnd
	} else {
		h.work.Add(1)
		go h.feed(x)
	}
	if h.timeout > 0 {
		e.Arg = uint32(h.timeout / time.Millisecond)
		x.timer = time.AfterFunc(h.timeout, func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			if x.stage < sent {
				h.cancel(x, abi.OutOfTime)
				x.fail(504, "The plugin did not answer in time.")
			}
		})
	}
	h.push(e)
}

// exchange is the request of that id, or nil. Called with mu held.
func (h *Host) exchange(id uint64) *exchange {
	if slot := id & 0xffffffff; slot < uint64(len(h.slots)) {
		if x := h.slots[slot]; x != nil && x.id == id {
			return x
		}
	}
	return nil
}

// release ends the request with its operations. Called with mu held.
func (h *Host) release(x *exchange) {
	if h.exchange(x.id) != x {
		return
	}
	h.slots[x.id&0xffffffff] = nil
	if x.timer != nil {
		x.timer.Stop()
	}
	for id, op := range h.ops {
		if op.request == x.id {
			h.endOp(id)
		}
	}
	h.cond.Broadcast()
}

// cancel ends the request from the host's side. Called with mu held.
func (h *Host) cancel(x *exchange, reason uint32) {
	if h.exchange(x.id) != x {
		return
	}
	h.release(x)
	h.push(event{Event: abi.Event{Kind: abi.Cancel, Code: reason, ID: x.id}})
	if x.stage != ended {
		x.stage, x.aborted = ended, ErrAborted
	}
}

// fail is the host's own answer. Called with mu held.
func (x *exchange) fail(status int, detail string) {
	x.stage, x.status, x.aborted = ended, status, nil
	x.header = plugin.Header{{Name: "content-type", Value: "application/json"}}
	x.put([]byte(`{"detail":"` + detail + `"}`))
}

// put gives the client bytes. Called with mu held.
func (x *exchange) put(p []byte) {
	if len(p) > 0 {
		x.out = append(x.out, append([]byte(nil), p...))
		x.outSize += len(p)
	}
	x.host.cond.Broadcast()
}

// feed sends the rest of a request's body under credit.
func (h *Host) feed(x *exchange) {
	defer h.work.Done()
	buf := make([]byte, maxPiece)
	for {
		h.mu.Lock()
		for x.inCredit == 0 && h.exchange(x.id) == x {
			h.cond.Wait()
		}
		n, live := min(x.inCredit, len(buf)), h.exchange(x.id) == x
		h.mu.Unlock()
		if !live {
			return
		}
		n, err := x.in.Read(buf[:n])
		h.mu.Lock()
		if h.exchange(x.id) != x {
			h.mu.Unlock()
			return
		}
		e := event{Event: abi.Event{Kind: abi.Body, ID: x.id}, rest: append([]byte(nil), buf[:n]...)}
		x.inCredit -= n
		if err == io.EOF {
			e.Flags = abi.EventEnd
		} else if err != nil {
			e.Flags, e.Code, e.rest = abi.EventError, uint32(abi.Reset), []byte(err.Error())
		}
		h.push(e)
		h.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// head is the operation HEAD.
func (h *Host) head(op *bridge.Op) abi.Code {
	x := h.exchange(op.Request)
	fields, err := abi.ParseBlock(op.Fields)
	switch {
	case x == nil:
		return abi.NotFound
	case x.stage >= sent:
		return abi.State
	case err != nil, op.Arg < 200, op.Arg > 599:
		return abi.Invalid
	case len(op.Body) > x.credit:
		return abi.NoCredit
	}
	x.status, x.header, x.stage = int(op.Arg), plugin.Header(fields), sent
	if op.Flags&abi.OpLazy != 0 && len(op.Body) == 0 && op.Flags&abi.OpEnd == 0 {
		x.stage = held
	}
	x.credit -= len(op.Body)
	h.sentTo(x, op)
	return abi.OK
}

// write is the operation WRITE.
func (h *Host) write(op *bridge.Op) abi.Code {
	x := h.exchange(op.Request)
	switch {
	case x == nil:
		return abi.NotFound
	case x.stage == waiting || x.stage == ended:
		return abi.State
	case len(op.Body) > x.credit:
		return abi.NoCredit
	}
	if len(op.Body) > 0 || op.Flags != 0 {
		x.stage = sent
	}
	x.credit -= len(op.Body)
	h.sentTo(x, op)
	return abi.OK
}

// sentTo gives the client what an operation brought.
func (h *Host) sentTo(x *exchange, op *bridge.Op) {
	x.put(op.Body)
	if op.Flags&abi.OpEnd != 0 {
		x.stage = ended
		h.release(x)
	}
}

// read is the operation READ.
func (h *Host) read(op *bridge.Op) abi.Code {
	defer h.cond.Broadcast()
	if op.ID == 0 {
		x := h.exchange(op.Request)
		if x == nil {
			return abi.NotFound
		}
		if x.inCredit+int(op.Arg) > abi.MaxCredit {
			return abi.Limit
		}
		x.inCredit += int(op.Arg)
		return abi.OK
	}
	o := h.ops[op.ID]
	switch {
	case o == nil:
		return abi.NotFound
	case o.piped:
		return abi.State
	case o.credit+int(op.Arg) > abi.MaxCredit:
		return abi.Limit
	}
	o.credit += int(op.Arg)
	o.opened = true
	return abi.OK
}

// cancelOp is the operation CANCEL.
func (h *Host) cancelOp(op *bridge.Op) abi.Code {
	if op.ID != 0 {
		if h.ops[op.ID] == nil {
			return abi.NotFound
		}
		h.endOp(op.ID)
		return abi.OK
	}
	x := h.exchange(op.Request)
	if x == nil {
		return abi.NotFound
	}
	h.release(x)
	if x.stage < sent {
		x.fail(502, "The plugin gave up.")
	} else {
		x.stage, x.aborted = ended, ErrAborted
	}
	return abi.OK
}
