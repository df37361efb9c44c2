// Package cache keeps values for plugins, in this process, and lets concurrent callers of one key share one
// computation. Each name has a space of its own with a bound in bytes, so that no plugin reads, evicts or counts against
// another's entries. Several machines do not share it, and nothing that must not be lost belongs in it.
package cache

import (
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// StatusPrefix begins the keys of what an operator may read: Stats shows them.
const StatusPrefix = "status:"

const (
	overhead  = 256  // bytes that an entry costs beside its key and value, about
	maxStatus = 64   // entries that Stats shows
	maxShown  = 1024 // bytes of one of them
)

// Cache is the spaces of all plugins. Its owner calls Close.
type Cache struct {
	now func() time.Time

	mu     sync.Mutex
	spaces map[string]*Space
}

// New makes a cache without spaces. now is the clock; nil is time.Now.
func New(now func() time.Time) *Cache {
	if now == nil {
		now = time.Now
	}
	return &Cache{now: now, spaces: map[string]*Space{}}
}

// Space is the one of that name. It is made, with room for limit bytes, when there is none; one that is there keeps its bound.
func (c *Cache) Space(name string, limit int64) *Space {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.spaces[name]
	if s == nil {
		s = newSpace(limit, c.now)
		c.spaces[name] = s
	}
	return s
}

// Look is the stats of the space of that name, false when there is none.
func (c *Cache) Look(name string) (Stats, bool) {
	c.mu.Lock()
	s := c.spaces[name]
	c.mu.Unlock()
	if s == nil {
		return Stats{}, false
	}
	return s.Stats(), true
}

// Resize gives every space its bound in bytes. Those that are not named are emptied; who still holds one finds nothing there, and can keep nothing.
func (c *Cache) Resize(limits map[string]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, s := range c.spaces {
		if limit, ok := limits[name]; ok {
			s.store.SetMaximum(uint64(limit))
			continue
		}
		s.close()
		delete(c.spaces, name)
	}
}

// Close empties every space and ends what runs for them.
func (c *Cache) Close() { c.Resize(nil) }

// Space is the entries of one plugin. Its methods may be called from many goroutines, and none of them waits.
type Space struct {
	store  *otter.Cache[string, *entry]
	now    func() time.Time
	closed atomic.Bool
	counts counts

	mu      sync.Mutex // guards flights and all that hangs on them; callbacks are never called while it is held
	flights map[string]*flight

	noting sync.Mutex          // guards notes
	notes  map[string]struct{} // keys that begin with StatusPrefix
}

func newSpace(limit int64, now func() time.Time) *Space {
	s := &Space{now: now, flights: map[string]*flight{}, notes: map[string]struct{}{}}
	s.store = otter.Must(&otter.Options[string, *entry]{
		MaximumWeight: uint64(max(limit, 1)),
		Weigher:       func(key string, e *entry) uint32 { return uint32(min(weight(key, e.Value), math.MaxUint32)) },
		// The bound holds when a write returns, and no goroutine outlives its call.
		Executor:         func(f func()) { f() },
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[string, *entry]) time.Duration { return e.Value.life }),
		OnDeletion: func(e otter.DeletionEvent[string, *entry]) {
			if e.Cause == otter.CauseOverflow {
				s.counts.evictions.Add(1)
			}
		},
	})
	return s
}

func (s *Space) close() {
	s.closed.Store(true)
	s.store.StopAllGoroutines()
	s.store.InvalidateAll()
}

func weight(key string, v Value) int64 {
	return int64(len(key)) + int64(len(v.Head)) + int64(len(v.Data)) + overhead
}

// Keep says how long a value is good.
type Keep struct {
	TTL   time.Duration // so long it is fresh
	Stale time.Duration // so long after that it may still be given out, while it is computed anew
}

// Get is the value of key, fresh or stale, or a Result with Miss.
func (s *Space) Get(key string) Result {
	now := s.now()
	e := s.lookup(key)
	state := e.state(now)
	if state == Failed {
		state = Miss
	}
	if !strings.HasPrefix(key, StatusPrefix) { // whoever looks at a status asks for no value
		s.counts.count(state)
	}
	if state == Miss {
		return Result{State: Miss}
	}
	return e.result(state, now)
}

// Put keeps a value. It says whether there is room for it; what was there before is gone in any case.
func (s *Space) Put(key string, v Value, keep Keep) bool {
	return s.set(key, newEntry(v, keep, s.now()))
}

// Delete forgets a value.
func (s *Space) Delete(key string) { s.store.Invalidate(key) }

func (s *Space) lookup(key string) *entry {
	e, _ := s.store.GetIfPresent(key)
	return e
}

func (s *Space) set(key string, e *entry) bool {
	if e.life <= 0 || s.closed.Load() {
		s.store.Invalidate(key)
		return true
	}
	if uint64(weight(key, e.Value)) > s.store.GetMaximum() {
		s.store.Invalidate(key)
		s.counts.tooLarge.Add(1)
		return false
	}
	s.store.Set(key, e)
	if strings.HasPrefix(key, StatusPrefix) {
		s.noting.Lock()
		if len(s.notes) < maxStatus {
			s.notes[key] = struct{}{}
		}
		s.noting.Unlock()
	}
	return true
}
