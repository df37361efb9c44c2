package wasm

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero/api"
)

// States of a worker. Who moves it from idle to running polls it; who finds it running leaves a note.
const (
	idle    int32 = iota
	running       // somebody polls
	again         // somebody polls, and more came since
	dead          // nobody will poll again
)

const (
	maxRounds    = 4 // polls that whoever brought an event runs before a goroutine of its own takes over
	startTimeout = 10 * time.Second
	leastDelay   = time.Millisecond // of a timer of a worker that serves nothing
)

// worker is one instance of a plugin: a single-threaded event loop. It has no goroutine: whoever brings an event
// polls the guest if nobody does, and leaves the event to the one who polls otherwise (flat combining).
type worker struct {
	pool   *Pool
	number int64           // of those that its pool ever started, from 1, for the log
	ctx    context.Context // a *workerContext
	stop   context.CancelFunc
	mod    api.Module
	left   api.MutableGlobal // bytes of stack, for the meter
	poll   api.Function      // nil until the handshake is done

	fetches  budget
	outbound budget // bytes that its guest has handed over and that were not passed on yet

	state    atomic.Int32
	memory   atomic.Uint32 // bytes of linear memory after the last poll
	load     atomic.Int64  // percent of the last span that its guest has computed
	computed atomic.Int64  // nanoseconds that its guest has computed in the poll under way
	settled  atomic.Bool   // it has started
	fresh    bool          // it serves one request; set when it is made
	born     atomic.Int64  // when it had started, by the engine's clock
	high     atomic.Uint32 // bytes of memory beyond which it gets no request
	closing  atomic.Bool   // the worker is to end
	closed   chan struct{} // closed when the instance is gone

	// Only the goroutine that polls touches these.
	stack    [1]uint64
	streams  [2]lineWriter // descriptors 1 and 2
	readable bool          // what the idle descriptor says next
	refused  bool          // memory, since the poll began
	gauge    gauge
	cpuLimit time.Duration // of one poll

	mu      sync.Mutex // guards what follows; call.mu may be taken while it is held, never the other way round
	box     mailbox
	room    room
	takes   int   // takes with events within this poll
	waiting int64 // since when events have lain in the mailbox, nanoseconds; 0 is empty now
	slots   []slot
	free    []uint32
	calls   int
	served  int           // calls ever
	drained chan struct{} // closed when it is retired and has no call
	ops     map[uint64]*operation
	ownOps  int // of the worker itself, among ops
	timer   *time.Timer
	due     int64      // when timer fires, nanoseconds; 0 is not set
	fault   error      // why it is dead
	ready   chan error // capacity 1: gets the guest's READY

	readySaid bool // only the goroutine that polls touches it
}

type slot struct {
	generation uint32
	call       *call
}

// workerContext carries the worker into its imports without a lookup.
type workerContext struct {
	context.Context
	worker *worker
}

type workerKey struct{}

func (c *workerContext) Value(key any) any {
	if _, ok := key.(workerKey); ok {
		return c.worker
	}
	return c.Context.Value(key)
}

func workerOf(ctx context.Context) *worker {
	if c, ok := ctx.(*workerContext); ok {
		return c.worker
	}
	w, _ := ctx.Value(workerKey{}).(*worker)
	return w
}

// push puts an event into the mailbox; false means that the worker is dead. The caller kicks.
func (w *worker) push(e event) bool {
	w.mu.Lock()
	ok := w.pushLocked(e)
	w.mu.Unlock()
	return ok
}

func (w *worker) pushLocked(e event) bool {
	if w.fault != nil {
		return false
	}
	if w.waiting == 0 {
		w.waiting = w.pool.module.engine.nanotime()
	}
	w.box.put(e)
	return true
}

// kick makes sure that somebody polls after this moment.
func (w *worker) kick() {
	for {
		switch w.state.Load() {
		case idle:
			if w.state.CompareAndSwap(idle, running) {
				w.run(maxRounds)
				return
			}
		case running:
			if w.state.CompareAndSwap(running, again) {
				return
			}
		default: // again: it will be polled; dead: never
			return
		}
	}
}

// run polls until nothing came meanwhile. After rounds polls the rest is left to a goroutine of its own, so that
// a request that brought one event does not work for others for ever; 0 is no bound.
func (w *worker) run(rounds int) {
	for n := 1; ; n++ {
		if w.closing.Load() {
			w.die(errStopped)
			return
		}
		w.mu.Lock()
		w.takes = 0
		waiting, dropped := w.box.len(), w.box.dropped
		w.mu.Unlock()
		if limit := w.pool.options.CPU; limit > 0 && w.settled.Load() {
			w.cpuLimit = limit
		}
		w.begin()
		w.refused = false
		err := w.enter(w.poll, w.stack[:])
		w.end()
		if err != nil {
			w.die(err)
			return
		}
		w.memory.Store(w.mod.Memory().Size())
		w.mu.Lock()
		more := w.box.len()
		stuck := waiting > 0 && w.box.dropped == dropped
		w.mu.Unlock()
		switch { // or it would be polled for ever, or its mailbox grow for ever
		case stuck:
			w.die(errNotTaken)
			return
		case more > maxWaiting:
			w.die(errFlooded)
			return
		}
		if more == 0 && w.state.CompareAndSwap(running, idle) {
			return
		}
		w.state.Store(running)
		if n == rounds {
			go w.run(0)
			return
		}
	}
}

// release ends what kept the worker from being polled, and does what came meanwhile.
func (w *worker) release() {
	if !w.state.CompareAndSwap(running, idle) {
		w.state.Store(running)
		w.run(maxRounds)
	}
}

// idled notes the guest's next timer. It runs within a poll.
func (w *worker) idled(clock bool, delay time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !clock {
		if w.due != 0 {
			w.timer.Stop()
			w.due = 0
		}
		return
	}
	w.due = 0 // what the guest says now is the whole truth
	if w.calls == 0 {
		delay = max(delay, leastDelay) // with nobody waiting, it need not wake itself more often
	}
	w.ringIn(delay)
}

// ringIn has the guest polled after delay, or sooner if that was planned already. w.mu is held.
func (w *worker) ringIn(delay time.Duration) {
	due := w.pool.module.engine.nanotime() + int64(delay)
	switch {
	case w.due != 0 && w.due <= due:
		return
	case w.timer == nil:
		w.timer = time.AfterFunc(delay, w.ring)
	default:
		w.timer.Reset(delay)
	}
	w.due = due
}

func (w *worker) ring() {
	w.mu.Lock()
	w.due = 0
	w.mu.Unlock()
	w.kick()
}

// die ends the worker: its calls fail, its operations are cancelled, the instance is closed. Only the goroutine
// that polls may call it.
func (w *worker) die(fault error) {
	fault = w.blame(fault)
	w.pool.limits.ended(fault)
	w.state.Store(dead)
	var lost []string
	w.mu.Lock()
	w.fault = fault
	if w.timer != nil {
		w.timer.Stop()
	}
	for i := range w.slots { // before their operations end, so that nobody takes that for the reason
		if c := w.slots[i].call; c != nil {
			if c.delivered { // others are served again, by another worker
				lost = append(lost, c.req.ID)
			}
			c.fail(fault)
		}
	}
	for _, o := range w.ops {
		o.ended = true
		signal(o.grant) // a pipe that waits for credit
		o.release()
	}
	clear(w.ops)
	w.box = mailbox{}
	w.mu.Unlock()
	w.stop()
	if w.mod != nil {
		_ = w.mod.Close(context.Background())
	}
	close(w.closed)
	if !errors.Is(fault, errStopped) {
		w.pool.died(w, fault, lost)
	}
}

// close ends the worker from outside and waits until the instance is gone.
func (w *worker) close() {
	w.closing.Store(true)
	if w.poll == nil { // never polled: this goroutine is the one that may end it
		w.die(errStopped)
		return
	}
	w.kick()
	<-w.closed
}
