// Package turns shares the processors among plugins: as many guests compute at a time as there are processors, and when
// more want to, the plugin that computed least of late goes first. A plugin that is all CPU thus waits behind one that asks for a little.
//
// It knows what ran and for how long, and nothing about what it is that runs. While nobody waits, a turn costs two atomic operations.
package turns

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// memory is how long the past counts: of what a plugin computed then, 1/e is remembered. A plugin that begins to compute
// is ahead of one that has always done so for about 0.7 of it.
const memory = 100 * time.Millisecond

// Turns hands out the processors. Its zero value is not usable; New makes one.
type Turns struct {
	slots  int32
	taken  atomic.Int32
	queued atomic.Int32 // turns that are waited for

	mu      sync.Mutex // guards what follows, and in each share what says so
	waiting []*Share   // those somebody waits for
}

// New shares out as many processors as Go uses.
func New() *Turns { return &Turns{slots: int32(runtime.GOMAXPROCS(0))} }

// Share is one plugin's part. Several of its guests may compute at once.
type Share struct {
	turns *Turns
	total atomic.Int64 // nanoseconds computed, ever

	// Guarded by turns.mu.
	queue  []chan struct{} // in order of arrival
	recent float64         // nanoseconds computed, the older the less they count, as of at
	seen   int64           // of total
	at     time.Time
}

// Share makes the share of one more plugin. It needs no closing.
func (t *Turns) Share() *Share { return &Share{turns: t, at: time.Now()} }

// Total is how long the plugin's guests have computed.
func (s *Share) Total() time.Duration { return time.Duration(s.total.Load()) }

// Charge adds what one of the plugin's guests has computed.
func (s *Share) Charge(d time.Duration) { s.total.Add(int64(max(d, 0))) }

// Enter waits for a turn. Whoever has one calls Leave.
func (s *Share) Enter() {
	t := s.turns
	if t.queued.Load() == 0 && t.take() {
		return
	}
	turn := make(chan struct{})
	t.mu.Lock()
	t.enqueue(s, turn)
	t.dispatch()
	t.mu.Unlock()
	<-turn
}

// Leave ends a turn.
func (s *Share) Leave() {
	t := s.turns
	t.taken.Add(-1)
	if t.queued.Load() > 0 {
		t.mu.Lock()
		t.dispatch()
		t.mu.Unlock()
	}
}

// Yield is called now and then by whoever has a turn. It gives the turn to a plugin that computed less of late, or to another
// guest of the same one, and waits for the next; while there is nobody, it only lets Go's scheduler do other work.
func (s *Share) Yield() {
	t := s.turns
	if t.queued.Load() == 0 {
		runtime.Gosched()
		return
	}
	now := time.Now()
	t.mu.Lock()
	s.look(now)
	next := t.least(now)
	if next == nil || next.recent > s.recent {
		t.mu.Unlock()
		runtime.Gosched()
		return
	}
	turn := make(chan struct{})
	t.hand(next)
	t.enqueue(s, turn)
	t.dispatch() // who left between the two saw nobody waiting
	t.mu.Unlock()
	<-turn
}

// take takes a free slot.
func (t *Turns) take() bool {
	for {
		n := t.taken.Load()
		if n >= t.slots {
			return false
		}
		if t.taken.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// enqueue has turn closed when it is its turn. t.mu is held.
func (t *Turns) enqueue(s *Share, turn chan struct{}) {
	if len(s.queue) == 0 {
		t.waiting = append(t.waiting, s)
	}
	s.queue = append(s.queue, turn)
	t.queued.Add(1) // before a slot is looked for: who leaves meanwhile sees it
}

// dispatch gives free slots to those who wait. t.mu is held.
func (t *Turns) dispatch() {
	for len(t.waiting) > 0 && t.take() {
		t.hand(t.least(time.Now()))
	}
}

// hand gives a turn, which has its slot, to the first who waits for this share. t.mu is held.
func (t *Turns) hand(s *Share) {
	close(s.queue[0])
	s.queue[0] = nil
	if s.queue = s.queue[1:]; len(s.queue) == 0 {
		s.queue = nil
		for i, w := range t.waiting {
			if w == s {
				t.waiting = append(t.waiting[:i], t.waiting[i+1:]...)
				break
			}
		}
	}
	t.queued.Add(-1)
}

// least is the share that is waited for and computed least of late, nil when nobody waits. t.mu is held.
func (t *Turns) least(now time.Time) *Share {
	var least *Share
	for _, s := range t.waiting {
		s.look(now)
		if least == nil || s.recent < least.recent {
			least = s
		}
	}
	return least
}

// look brings recent up to date. What was computed since the last look is taken as spread evenly, which makes a share that
// nobody looked at for an hour count like any other. turns.mu is held.
func (s *Share) look(now time.Time) {
	past := now.Sub(s.at)
	if past <= 0 {
		return
	}
	total := s.total.Load()
	kept := math.Exp(-float64(past) / float64(memory))
	rate := float64(total-s.seen) / float64(past)
	s.recent = s.recent*kept + rate*float64(memory)*(1-kept)
	s.seen, s.at = total, now
}
