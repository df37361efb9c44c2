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
)

// CPUError says that a worker used more CPU time between two polls than it may.
type CPUError struct{ Limit time.Duration }

// Error names the limit.
func (e *CPUError) Error() string {
	return fmt.Sprintf("it computed for %v without coming to rest, over limits.cpu", e.Limit)
}

func meterModule(binary []byte) (meter.Result, error) {
	o := meter.DefaultOptions()
	o.MaxMemoryPages = 1 << 16 // what a worker really gets is limits.memory
	return meter.Rewrite(binary, o)
}

func instantiateMeter(ctx context.Context, r wazero.Runtime) error {
	o := meter.DefaultOptions()
	_, err := r.NewHostModuleBuilder(o.Module).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(tick), nil, []api.ValueType{i64}).
		Export(o.Tick).Instantiate(ctx)
	return err
}

// gauge measures a worker's computing. Only the goroutine that polls touches it.
type gauge struct {
	budget int64
	ticked bool          // within this poll
	wall   int64         // the last tick, or the poll's start, nanoseconds
	cpu    time.Duration // the thread's clock after the last tick
	used   time.Duration // CPU time since the poll began, up to the last tick
}

// begin is called before each poll.
func (g *gauge) begin(now int64) {
	g.ticked, g.wall, g.used = false, now, 0
}

// tick is called by the guest. What it returns is how many instructions may pass until the next one.
func tick(ctx context.Context, _ api.Module, stack []uint64) {
	w := workerOf(ctx)
	g := &w.gauge
	if w.closing.Load() {
		panic(errStopped)
	}
	now := w.pool.module.engine.nanotime()
	passed := time.Duration(now - g.wall)
	if g.ticked {
		// The goroutine may have come to another thread meanwhile, whose clock says something else: then the wall's
		// has to do, which is never less.
		used := threadTime() - g.cpu
		if used <= 0 || used > passed {
			used = passed
		}
		g.used += used
		switch {
		case passed < tickAim/2:
			g.budget = min(2*g.budget, budgetMax)
		case passed > 2*tickAim:
			g.budget = max(g.budget/2, budgetMin)
		}
	}
	if g.used > w.cpuLimit {
		panic(&CPUError{w.cpuLimit})
	}
	if g.budget == 0 {
		g.budget = budgetInit
	}
	g.ticked, g.wall, g.cpu = true, now, threadTime()
	stack[0] = uint64(g.budget)
}
