package turns

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func of(slots int) *Turns { return &Turns{slots: int32(slots)} }

// TestNoMoreThanThereAreSlots: many guests of several plugins never compute more than two at a time, and all get on.
func TestNoMoreThanThereAreSlots(t *testing.T) {
	turns := of(2)
	var running, worst, done atomic.Int32
	var group sync.WaitGroup
	for range 4 {
		s := turns.Share()
		for range 8 {
			group.Go(func() {
				for i := range 200 {
					s.Enter()
					now := running.Add(1)
					for w := worst.Load(); now > w && !worst.CompareAndSwap(w, now); w = worst.Load() {
					}
					runtime.Gosched()
					s.Charge(time.Microsecond)
					running.Add(-1)
					if i%3 == 0 {
						s.Yield() // it comes back with a turn
					}
					s.Leave()
					done.Add(1)
				}
			})
		}
	}
	group.Wait()
	if worst.Load() > 2 || done.Load() != 4*8*200 {
		t.Errorf("%d ran at once, %d turns were taken", worst.Load(), done.Load())
	}
	if turns.taken.Load() != 0 || turns.queued.Load() != 0 || len(turns.waiting) != 0 {
		t.Errorf("left behind: %d taken, %d queued, %d waiting", turns.taken.Load(), turns.queued.Load(), len(turns.waiting))
	}
}

// TestTheOneThatComputedLeastGoesFirst: of two that wait for the only slot, the later and lighter one gets it.
func TestTheOneThatComputedLeastGoesFirst(t *testing.T) {
	turns := of(1)
	holder, heavy, light := turns.Share(), turns.Share(), turns.Share()
	heavy.Charge(time.Hour) // so that no pause between the two makes it the lighter one
	light.Charge(time.Millisecond)
	holder.Enter()
	var group sync.WaitGroup
	order := make(chan string, 2)
	queue := func(name string, s *Share, already int32) {
		group.Go(func() {
			s.Enter()
			order <- name
			s.Leave()
		})
		for turns.queued.Load() == already {
			runtime.Gosched()
		}
	}
	queue("heavy", heavy, 0)
	queue("light", light, 1)
	time.Sleep(time.Millisecond) // a share's past is looked at over some time
	holder.Leave()
	group.Wait()
	if first := <-order; first != "light" {
		t.Errorf("%s went first", first)
	}
}

// TestYieldGivesWayToTheLighterOnly: who computes goes on while a heavier one waits, and gives way to a lighter one.
func TestYieldGivesWayToTheLighterOnly(t *testing.T) {
	turns := of(1)
	middle, heavy, light := turns.Share(), turns.Share(), turns.Share()
	middle.Enter()
	middle.Charge(10 * time.Millisecond)
	heavy.Charge(time.Hour)
	var group sync.WaitGroup
	var heavyRan, lightRan atomic.Bool
	run := func(s *Share, ran *atomic.Bool, already int32) {
		group.Go(func() {
			s.Enter()
			ran.Store(true)
			s.Leave()
		})
		for turns.queued.Load() == already {
			runtime.Gosched()
		}
	}
	run(heavy, &heavyRan, 0)
	time.Sleep(time.Millisecond)
	middle.Yield()
	if heavyRan.Load() {
		t.Error("a heavier one went first")
	}
	run(light, &lightRan, 1)
	middle.Yield()
	if !lightRan.Load() {
		t.Error("a lighter one did not go first")
	}
	middle.Leave()
	group.Wait()
}

// TestThePastIsForgotten: an hour of computing, long ago, counts for nothing beside a little just now.
func TestThePastIsForgotten(t *testing.T) {
	turns := of(1)
	now := time.Now()
	old, fresh := turns.Share(), turns.Share()
	old.at, fresh.at = now, now
	old.Charge(time.Hour)
	old.look(now.Add(2 * time.Hour))
	if want := float64(memory) / 2; old.recent > want*1.01 || old.recent < want*0.99 {
		t.Errorf("half a processor for two hours counts %v, want %v", time.Duration(old.recent), time.Duration(want))
	}
	old.look(now.Add(2*time.Hour + 10*memory))
	fresh.Charge(time.Millisecond)
	fresh.look(now.Add(memory))
	if old.recent >= fresh.recent {
		t.Errorf("the old one counts %v, the new one %v", time.Duration(old.recent), time.Duration(fresh.recent))
	}
}

// BenchmarkTurn is the cost of one turn that nobody waits for.
func BenchmarkTurn(b *testing.B) {
	s := of(2).Share()
	for b.Loop() {
		s.Enter()
		s.Charge(time.Microsecond)
		s.Leave()
	}
}
