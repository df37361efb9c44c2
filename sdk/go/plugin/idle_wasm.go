//go:build wasip1

package plugin

import (
	"os"
	goruntime "runtime"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// How poll finds out that nothing in the instance can run. The sure way is to read descriptor 100: the goroutine of poll parks, the scheduler runs
// everything that can run, tells the host the next timer and gives the collector its time; then the host says that the descriptor is ready.
// It costs about as much as a small request, so mostly poll counts instead: every goroutine of the runtime is counted
// while it can run, and when there are no others, zero means idle. What the count cannot see is a timer. So whenever it was trusted,
// a SLEEP makes sure that the sure way is taken within checkAfter.
const (
	surely     = 64                    // every so many rounds the sure way is taken anyway
	checkAfter = 10 * time.Millisecond // the longest that the host does not know of a new timer
)

type guest struct {
	*runtime
	idle   *os.File // descriptor 100
	one    [1]byte
	base   int // goroutines that are none of ours
	rounds int
	heap   heap
}

func newGuest(setup func(*Plugin) error) *guest {
	g := &guest{runtime: newRuntime(&imports{}, setup)}
	g.serial, g.onMemory = true, g.heap.begin
	return g
}

// poll delivers events and runs until idle.
func (g *guest) poll() {
	if g.idle == nil {
		g.base = goruntime.NumGoroutine()
		g.idle = os.NewFile(abi.IdleFD, "idle")
	}
	for first := true; ; first = false {
		n := g.deliver()
		if n == 0 {
			if first {
				g.settle(true) // called for a timer
			}
			return
		}
		g.settle(false)
	}
}

// settle returns when nothing can run.
func (g *guest) settle(sure bool) {
	if g.rounds++; g.rounds%surely == 0 {
		g.heap.look()
		sure = true
	}
	sure = sure || g.checked
	if !sure {
		idle := g.yield()
		for g.left() {
			idle = g.yield()
		}
		if idle && g.check() {
			return
		}
	}
	g.checked, g.still = false, true
	for {
		g.idle.Read(g.one[:])
		if !g.left() {
			break
		}
	}
	g.still = false
}

// left engages a runner for requests that nobody has begun: a handler waits where the count does not see it.
func (g *guest) left() bool {
	if g.first == len(g.queue) { // nothing runs in parallel, so a look needs no lock
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.engage()
}

// yield lets others run until the count says that none can. It reports false when the count does not fall, or cannot be trusted.
func (g *guest) yield() bool {
	for before := g.active + 1; ; {
		goruntime.Gosched()
		if g.active <= 0 {
			return !g.checked && goruntime.NumGoroutine() == g.base+g.workers
		}
		if g.active >= before {
			return false
		}
		before = g.active
	}
}

// check makes sure that a look at the scheduler itself follows soon.
func (g *guest) check() bool {
	if !g.checking {
		g.mu.Lock()
		g.record(abi.OpSleep, 0, checkID).Arg64 = uint64(checkAfter)
		g.checking = g.submit() == abi.OK
		g.mu.Unlock()
	}
	return g.checking
}
