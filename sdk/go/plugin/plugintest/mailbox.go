package plugintest

import (
	"fmt"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
	"github.com/patchbay-run/patchbay/sdk/go/internal/bridge"
)

// maxPiece is the most bytes of a body in one event.
const maxPiece = 32 << 10

// event is one that waits to be taken.
type event struct {
	abi.Event
	fields, rest []byte
}

// push puts e into the mailbox. Called with mu held.
func (h *Host) push(e event) {
	h.mail = append(h.mail, e)
	h.cond.Broadcast()
}

// imports is the host as the guest sees it, apart from what tests see.
type imports struct{ *Host }

var _ bridge.Host = imports{}

// Take gives events as the import does.
func (h imports) Take(events, data []byte) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n, used := 0, 0
	for n < len(h.mail) && (n+1)*abi.EventSize <= len(events) {
		e := &h.mail[n]
		size := len(e.fields) + len(e.rest)
		if used+size > len(data) {
			break
		}
		e.Data, e.Len, e.Fields = uint32(used), uint32(size), uint32(len(e.fields))
		used += copy(data[used:], e.fields)
		used += copy(data[used:], e.rest)
		e.Put(events[n*abi.EventSize:])
		n++
	}
	h.mail = append([]event(nil), h.mail[n:]...)
	return n
}

// Log takes a line.
func (h imports) Log(request uint64, level int32, text string) { h.log(request, level, flat(text)) }

// Respond takes a whole answer.
func (h imports) Respond(request uint64, status int, fields, body []byte) abi.Code {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.head(&bridge.Op{Code: abi.OpHead, Flags: abi.OpEnd, Request: request, Arg: uint32(status), Fields: fields, Body: body})
}

// Submit takes an operation.
func (h imports) Submit(op *bridge.Op) abi.Code {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return abi.State
	}
	switch op.Code {
	case abi.OpReady:
		if op.Arg != 0 {
			h.setupError = fmt.Errorf("%s", op.Body)
		}
		h.ready = true
		h.cond.Broadcast()
		return abi.OK
	case abi.OpFetch:
		return h.fetch(op)
	case abi.OpSend:
		return h.send(op)
	case abi.OpRead:
		return h.read(op)
	case abi.OpHead:
		return h.head(op)
	case abi.OpWrite:
		return h.write(op)
	case abi.OpPipe:
		return h.pipe(op)
	case abi.OpSleep:
		return h.sleep(op)
	case abi.OpCancel:
		return h.cancelOp(op)
	case abi.OpCacheGet, abi.OpCacheOnce, abi.OpCachePut, abi.OpCacheDelete:
		return h.cacheOp(op)
	case abi.OpPublish:
		return h.publish(op)
	}
	return abi.Unsupported
}
