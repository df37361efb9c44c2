package plugin

import (
	"context"
	"errors"
	"sync"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
	"github.com/patchbay-run/patchbay/sdk/go/internal/bridge"
)

// Sizes of the loop and its tables.
const (
	takeEvents = 256      // events of one take
	maxSlot    = 1 << 20  // of requests and of operations; far over any limit of a host
	poolBytes  = 64 << 10 // the largest buffer that is kept for another answer
	poolLen    = 16       // how many of them

	blankFields = 64  // the longest slice of a request's fields that is kept
	maxWaiters  = 256 // that are kept
	checkID     = 1   // the SLEEP of the idle detection; ids of other operations begin at 1<<32
)

// runtime is the event loop of a worker with everything in it. The same code runs in a module, where nothing runs in parallel,
// and natively, where everything does.
type runtime struct {
	host     bridge.Host
	setup    func(*Plugin) error
	onMemory func(bytes int64) // told how much memory the worker may have; nil is nobody
	plugin   *Plugin
	back     scope // of the plugin's own operations
	serial   bool  // nothing runs in parallel: runners work off the requests, and who submits an operation may take events

	events [takeEvents * abi.EventSize]byte
	data   [abi.MinData]byte

	mu       sync.Mutex // guards what follows, the scopes, and all that hangs on them; held while calling the host
	active   int        // goroutines of ours that can run
	workers  int        // goroutines of ours in all
	checked  bool       // a timer may have been made, or the host asks for it: look at the scheduler itself
	checking bool       // the SLEEP that leads to such a look is under way
	draining bool
	requests []*exchange // by slot
	live     int         // requests in it
	slots    []opSlot    // operations
	free     []uint32    // slots without an operation
	op       bridge.Op   // the record being submitted
	fields   []abi.Field // scratch of a field block
	block    []byte      // scratch, too
	pool     [][]byte    // empty buffers for answers
	blanks   [][]abi.Field
	unused   *operation // an empty one, to be used again; nil is none
	waiter   *waiter    // the first of some that nobody uses
	waiters  int        // how many they are
	runners
}

type opSlot struct {
	op         *operation
	generation uint32
}

func newRuntime(host bridge.Host, setup func(*Plugin) error) *runtime {
	rt := &runtime{host: host, setup: setup}
	rt.back.rt = rt
	rt.more.L = &rt.mu
	return rt
}

// Attach runs setup and the handlers it registers against a host that lives in the same process. It is there for package plugintest:
// the host's type is internal to this module, so nobody else can call it.
func Attach(host bridge.Host, setup func(*Plugin) error) bridge.Guest {
	return newRuntime(host, setup)
}

// Poll delivers all waiting events.
func (rt *runtime) Poll() {
	for rt.deliver() > 0 {
	}
}

// Goroutines is how many goroutines of the runtime exist.
func (rt *runtime) Goroutines() int {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	return rt.workers
}

// deliver takes one batch of events and acts on them. It returns how many there were.
func (rt *runtime) deliver() int {
	n := rt.host.Take(rt.events[:], rt.data[:])
	if n <= 0 {
		return 0
	}
	rt.mu.Lock()
	var e abi.Event
	for i := range n {
		e.Get(rt.events[i*abi.EventSize:])
		payload := rt.data[e.Data : e.Data+e.Len]
		rt.dispatch(&e, payload[:e.Fields], payload[e.Fields:])
	}
	rt.engage()
	rt.mu.Unlock()
	return n
}

// dispatch acts on one event. The slices are of the data buffer: what is kept must be copied.
// Events for what has ended are dropped; so are those of an unknown kind.
func (rt *runtime) dispatch(e *abi.Event, fields, rest []byte) {
	switch e.Kind {
	case abi.Request:
		rt.begin(e, fields, rest)
	case abi.Body:
		if x := rt.exchange(e.ID); x != nil && x.body != nil {
			x.body.deliver(e, rest)
		}
	case abi.Done:
		if e.ID == checkID {
			rt.checking, rt.checked = false, true
		} else if op := rt.operation(e.ID); op != nil {
			op.finish(e, fields, rest)
		}
	case abi.Chunk:
		if op := rt.operation(e.ID); op != nil {
			op.deliver(e, rest)
			if e.Flags&(abi.EventEnd|abi.EventError) != 0 {
				op.detach()
			}
		}
	case abi.Credit:
		rt.credit(e)
	case abi.Cancel:
		if x := rt.exchange(e.ID); x != nil {
			x.cancelled(e.Code)
		}
	case abi.Config:
		rt.configure(fields)
	case abi.Drain:
		rt.draining = true
		rt.drained()
	}
}

func (rt *runtime) credit(e *abi.Event) {
	if e.Flags&abi.EventOperation != 0 {
		if op := rt.operation(e.ID); op != nil {
			op.sendCredit += int(e.Arg)
			rt.wake(&op.wait)
		}
	} else if x := rt.exchange(e.ID); x != nil {
		x.credit += int(e.Arg)
		rt.wake(&x.wait)
	}
}

// drained ends the plugin's own operations when the host drains the worker and the last request is answered:
// until then a request may wait for one of them.
func (rt *runtime) drained() {
	if rt.draining && rt.live == 0 {
		rt.back.end(context.Canceled)
	}
}

// record is a new operation to fill in before submit. There is one, so that none is copied or allocated. Called with rt.mu held.
func (rt *runtime) record(code abi.OpCode, request, id uint64) *bridge.Op {
	rt.op.Code, rt.op.Request, rt.op.ID = code, request, id // submit has emptied it
	return &rt.op
}

// submit gives the record to the host. Called with rt.mu held.
func (rt *runtime) submit() abi.Code {
	code := rt.host.Submit(&rt.op)
	rt.op = bridge.Op{} // so that the record keeps no body alive
	return code
}

// spawn runs f on a goroutine of the runtime. Called with rt.mu held.
func (rt *runtime) spawn(f func()) {
	rt.workers++
	rt.active++
	go func() {
		defer rt.gone()
		f()
	}()
}

// gone counts off a goroutine of the runtime that ends.
func (rt *runtime) gone() {
	rt.mu.Lock()
	rt.workers--
	rt.active--
	rt.mu.Unlock()
}

// parking is where goroutines wait for something that the loop brings. It is small, because each request and operation has one.
type parking struct{ first *waiter }

// waiter is one goroutine that waits.
type waiter struct {
	cond sync.Cond // on rt.mu
	next *waiter   // at the same place, or among those that are kept
}

// park waits for the next wake. Called with rt.mu held, in a loop that checks what it waits for.
func (rt *runtime) park(p *parking) {
	w := rt.waiter
	if w == nil {
		w = &waiter{cond: sync.Cond{L: &rt.mu}}
	} else {
		rt.waiter = w.next
		rt.waiters--
	}
	w.next, p.first = p.first, w
	rt.active--
	rt.engage()
	w.cond.Wait()
	if rt.waiters < maxWaiters {
		w.next, rt.waiter = rt.waiter, w
		rt.waiters++
	}
}

// wake wakes all that wait. It counts them as running at once: the loop would think itself idle if it had to wait until they notice.
// Called with rt.mu held.
func (rt *runtime) wake(p *parking) {
	for w := p.first; w != nil; w = p.first {
		p.first, w.next = w.next, nil
		rt.active++
		w.cond.Signal()
	}
}

// exchange is the request of that id, or nil when it has ended.
func (rt *runtime) exchange(id uint64) *exchange {
	slot := uint32(id)
	if uint64(slot) >= uint64(len(rt.requests)) {
		return nil
	}
	if x := rt.requests[slot]; x != nil && x.request == id {
		return x
	}
	return nil
}

// admit puts x into the table. It fails only for an id that no host gives. A request that still has the slot has ended for the host,
// which may know it earlier than the handler; its events go nowhere from now on.
func (rt *runtime) admit(x *exchange) error {
	slot := uint32(x.request)
	if x.request == 0 || slot >= maxSlot {
		return errors.New("request id out of range")
	}
	for uint64(len(rt.requests)) <= uint64(slot) {
		rt.requests = append(rt.requests, nil)
	}
	if rt.requests[slot] == nil {
		rt.live++
	}
	rt.requests[slot] = x
	return nil
}

// release takes x out of the table.
func (rt *runtime) release(x *exchange) {
	if rt.exchange(x.request) == x {
		rt.requests[uint32(x.request)] = nil
		rt.live--
		rt.drained()
	}
}

// operation is the unfinished operation of that id, or nil.
func (rt *runtime) operation(id uint64) *operation {
	slot := uint32(id)
	if uint64(slot) >= uint64(len(rt.slots)) {
		return nil
	}
	if s := rt.slots[slot]; s.generation == uint32(id>>32) {
		return s.op
	}
	return nil
}

// attach gives op an id and puts it into the table and under its scope.
func (rt *runtime) attach(op *operation) bool {
	var slot uint32
	if n := len(rt.free); n > 0 {
		slot, rt.free = rt.free[n-1], rt.free[:n-1]
	} else {
		if len(rt.slots) >= maxSlot {
			return false
		}
		slot = uint32(len(rt.slots))
		rt.slots = append(rt.slots, opSlot{})
	}
	s := &rt.slots[slot]
	if s.generation++; s.generation == 0 {
		s.generation = 1
	}
	s.op = op
	op.id = uint64(s.generation)<<32 | uint64(slot)
	op.next = op.scope.ops
	if op.next != nil {
		op.next.prev = op
	}
	op.scope.ops = op
	return true
}

// buffer is an empty buffer for an answer.
func (rt *runtime) buffer() []byte {
	rt.mu.Lock()
	var b []byte
	if n := len(rt.pool); n > 0 {
		b, rt.pool = rt.pool[n-1], rt.pool[:n-1]
	}
	rt.mu.Unlock()
	return b
}

// blank is an empty slice for a request's fields. Called with rt.mu held.
func (rt *runtime) blank() []abi.Field {
	if n := len(rt.blanks); n > 0 {
		b := rt.blanks[n-1]
		rt.blanks = rt.blanks[:n-1]
		return b
	}
	return nil
}

// wipe keeps fields, without what is in them, for another request. Called with rt.mu held.
func (rt *runtime) wipe(fields []abi.Field) {
	if fields != nil && cap(fields) <= blankFields && len(rt.blanks) < poolLen {
		clear(fields)
		rt.blanks = append(rt.blanks, fields[:0])
	}
}

// recycle keeps b for another answer. Called with rt.mu held.
func (rt *runtime) recycle(b []byte) {
	if b != nil && cap(b) <= poolBytes && len(rt.pool) < poolLen {
		rt.pool = append(rt.pool, b[:0])
	}
}
