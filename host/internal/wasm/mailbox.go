package wasm

import (
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// event waits in a worker's mailbox. An event of a call or an operation that has ended is dropped when it is taken.
type event struct {
	kind   abi.Kind
	flags  uint16
	code   uint32
	id     uint64
	arg    uint32
	fields []abi.Field
	body   []byte
	call   *call      // whose end voids the event; nil for none
	op     *operation // likewise; it is forgotten when an event of it with END was taken
}

const (
	maxTake     = 16      // events in one take: few enough that together they are one burst of work, not many
	maxWaiting  = 1 << 18 // events that may lie there when a poll ends; a guest that keeps up leaves none
	maxTakes    = 64      // takes with events in one poll: then the poll has to return, so that whoever runs it can leave
	compactFrom = 1024
)

// mailbox is a queue whose memory is used again. Its events are bounded by what its calls may have under way: operations per request,
// requests in flight. Their bodies are bounded by the worker's room.
type mailbox struct {
	events  []event
	first   int
	dropped int   // ever
	bytes   int64 // of bodies
}

func (m *mailbox) put(e event) {
	m.bytes += int64(len(e.body))
	m.events = append(m.events, e)
}

func (m *mailbox) len() int { return len(m.events) - m.first }

func (m *mailbox) head() *event { return &m.events[m.first] }

func (m *mailbox) drop() {
	m.dropped++
	m.bytes -= int64(len(m.events[m.first].body))
	m.events[m.first] = event{}
	m.first++
	switch {
	case m.first == len(m.events):
		m.events, m.first = m.events[:0], 0
	case m.first >= compactFrom && m.first*2 >= len(m.events):
		n := copy(m.events, m.events[m.first:])
		clear(m.events[n:])
		m.events, m.first = m.events[:n], 0
	}
}

// take moves events into the guest's buffers until one does not fit, and says how many.
func (w *worker) take(records, data []byte) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.takes == maxTakes || w.box.len() == 0 {
		return 0
	}
	now := w.pool.module.engine.nanotime()
	most := min(len(records)/abi.EventSize, w.gauge.next(now, w.cpuLimit))
	count, used := 0, 0
	for count < most && w.box.len() > 0 {
		e := w.box.head()
		if e.call != nil && e.call.ended || e.op != nil && e.op.ended {
			w.box.drop()
			continue
		}
		block := 0
		if e.fields != nil {
			block = abi.BlockSize(e.fields)
		}
		if used+block+len(e.body) > len(data) {
			break
		}
		r := abi.Event{
			Kind: e.kind, Flags: e.flags, Code: e.code, ID: e.id, Arg: e.arg,
			Data: uint32(used), Len: uint32(block + len(e.body)), Fields: uint32(block),
		}
		if block > 0 {
			abi.AppendBlock(data[used:used], e.fields)
		}
		copy(data[used+block:], e.body)
		used += block + len(e.body)
		r.Put(records[count*abi.EventSize:])
		count++
		if e.kind == abi.Request {
			e.call.delivered = true
		}
		if e.op != nil && e.flags&abi.EventEnd != 0 {
			w.forget(e.op)
		}
		w.box.drop()
	}
	if count > 0 {
		w.takes++
		w.gauge.took(now, count)
	}
	if w.box.len() == 0 {
		w.waiting = 0
	}
	w.letIn()
	return count
}
