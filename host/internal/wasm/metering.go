package wasm

import (
	"context"
	"fmt"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/patchbay-run/patchbay/host/internal/wasm/meter"
)

// A module is rewritten when it is loaded, so that it calls a tick of the host each budget of instructions. The tick
// gives the host's scheduler and collector their turn, counts CPU time, and ends a worker that is over its limit.
const (
	tickAim    = 200 * time.Microsecond // between two ticks
	budgetMin  = 1 << 12
	budgetMax  = 1 << 22
	budgetInit = 1 << 16

	// yieldAfter is how long a guest computes before others have their turn. Go's own scheduler would give it ten
	// milliseconds, and a request that needs microseconds would wait for them.
	yieldAfter = 150 * time.Microsecond

	// Where it seems that nobody wants a turn, the next one is offered later, up to this: each costs some 15 µs on an idle machine,
	// since another processor takes the goroutine over.
	yieldMost = 600 * time.Microsecond
	nobody    = 40 * time.Microsecond // a yield that is over sooner let nobody run for long

	// loadSpan is what a worker's load is taken over.
	loadSpan = 5 * time.Millisecond
)

// CPUError says that a worker used more CPU time for what it took at once than it may.
type CPUError struct{ Limit time.Duration }

// Error names the limit.
func (e *CPUError) Error() string {
	return fmt.Sprintf("it computed for %v without coming to rest, over limits.cpu", e.Limit)
}

func meterModule(binary []byte) (meter.Result, error) {
	o := meter.DefaultOptions()
	o.MaxMemoryPages = 1<<16 - 1 // what a worker really gets is limits.memory; the size of one page more would be 0 in 32 bits
	return meter.Rewrite(binary, o)
}

func instantiateMeter(ctx context.Context, r wazero.Runtime) error {
	o := meter.DefaultOptions()
	_, err := r.NewHostModuleBuilder(o.Module).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(tick), nil, []api.ValueType{i64}).
		Export(o.Tick).Instantiate(ctx)
	return err
}

// gauge measures a worker's computing: from one take of events to the next. Only the goroutine that polls touches it.
type gauge struct {
	budget  int64
	yielded int64 // when others last had their turn
	pause   int64 // nanoseconds until they have the next
	charged int64 // until when the plugin's share was charged
	span    int64 // when the span began that load is taken over
	busy    int64 // nanoseconds computed in it
	work    int   // bytes that host functions handled since the last look at the limits
	ticked  bool  // since the last take or the poll's start
	wall    int64
	clock   threadClock
	used    time.Duration // CPU time since the last take, up to the last tick

	// How many events are given at once follows from what they cost, so that a few dear ones do not add up to the limit.
	taken   int // events of the last take
	takenAt int64
	cost    time.Duration // of one event: rises at once, falls slowly
}

// takeSlices: a take is to cost this part of the limit at most.
const takeSlices = 10

// begin is called before each poll.
func (g *gauge) begin(now int64) {
	g.ticked, g.wall, g.used, g.taken = false, now, 0, 0
	g.yielded, g.charged, g.pause = now, now, int64(yieldAfter)
}

// begin waits for the worker's turn to compute. The goroutine that polls calls end when it has.
func (w *worker) begin() {
	w.pool.share.Enter()
	w.gauge.begin(w.pool.module.engine.nanotime())
}

func (w *worker) end() {
	now := w.pool.module.engine.nanotime()
	w.spent(now)
	w.pool.share.Leave()
	g := &w.gauge
	g.price(now)
	w.computed.Store(0)
	if span := now - g.span; span >= int64(loadSpan) {
		w.load.Store(g.busy * 100 / span)
		g.span, g.busy = now, 0
	}
}

// spent notes that the guest has computed until now.
func (w *worker) spent(now int64) {
	g := &w.gauge
	d := now - g.charged
	g.charged = now
	g.busy += d
	w.computed.Add(d)
	w.pool.share.Charge(time.Duration(d))
}

// next is called by each take: how many events it may give.
func (g *gauge) next(now int64, limit time.Duration) int {
	g.price(now)
	return int(min(max(limit/takeSlices/max(g.cost, 1), 1), maxTake))
}

// price learns what the events of the last take have cost by now.
func (g *gauge) price(now int64) {
	if g.taken > 0 {
		cost := time.Duration(now-g.takenAt) / time.Duration(g.taken)
		g.cost, g.taken = max(cost, g.cost-g.cost/16), 0
	}
}

// took is called when a take has given events: what they cost begins now.
func (g *gauge) took(now int64, events int) {
	g.ticked, g.wall, g.used = false, now, 0
	g.taken, g.takenAt = events, now
}

// tick is called by the guest. What it returns is how many instructions may pass until the next one.
func tick(ctx context.Context, _ api.Module, stack []uint64) {
	w := workerOf(ctx)
	g := &w.gauge
	first := !g.ticked
	used := w.spend()
	switch {
	case g.budget == 0:
		g.budget = budgetInit
	case first: // nobody knows when the budget began
	case used < tickAim/2:
		g.budget = min(2*g.budget, budgetMax)
	case used > 2*tickAim:
		g.budget = max(g.budget/2, budgetMin)
	}
	stack[0] = uint64(g.budget)
	w.yield()
}

// What host functions do at a guest's wish is the guest's computing too, and no tick comes within it. Their work is measured in bytes handled.
const (
	lookAfter = 16 << 10 // bytes between two looks at the limits
	callCost  = 64       // of a call, beside the bytes that it hands over
	lineCost  = 1 << 10  // of a line that is logged
)

// worked is called by host functions for the bytes that they handle. No lock is held then: it may wait for the worker's turn, or end it.
func (w *worker) worked(bytes int) {
	g := &w.gauge
	if g.work += bytes; g.work >= lookAfter {
		g.work = 0
		w.spend()
		w.yield()
	}
}

// yield gives others their turn when the guest has computed for a while.
func (w *worker) yield() {
	g := &w.gauge
	if g.wall-g.yielded > g.pause {
		w.spent(g.wall)
		w.pool.share.Yield()
		g.clock.lap(0) // what others used meanwhile is not the guest's
		now := w.pool.module.engine.nanotime()
		if now-g.wall < int64(nobody) {
			g.pause = min(2*g.pause, int64(yieldMost))
		} else {
			g.pause = int64(yieldAfter)
		}
		g.wall = now
		g.yielded, g.charged = g.wall, g.wall
	}
}

// spend charges what was computed since the last time, and ends the worker when that is too much or it is to end.
func (w *worker) spend() time.Duration {
	if w.closing.Load() {
		panic(errStopped)
	}
	g := &w.gauge
	now := w.pool.module.engine.nanotime()
	used := g.clock.lap(min(time.Duration(now-g.wall), tickAim))
	if g.ticked {
		// The thread may have worked for others while this goroutine waited for its turn. What a budget stands for is
		// known within a factor, so more than that is not the guest's.
		used = min(used, 4*tickAim)
		g.used += used
	}
	g.ticked, g.wall = true, now
	if g.used > w.cpuLimit {
		panic(&CPUError{w.cpuLimit})
	}
	return used
}
