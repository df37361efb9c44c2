package cache

import (
	"sync/atomic"
	"time"
)

// State is what a caller gets.
type State int

// The states of a Result.
const (
	Miss    State = iota // nothing is there
	Hit                  // a fresh value
	Stale                // a value past its time to live
	Shared               // the value that another caller has just computed
	Lead                 // nothing is there, and this caller is to compute it
	Busy                 // another caller is computing it; only who asked to Refresh hears so
	Failed               // a caller computed it a moment ago and failed; the data is what it left
	Waiting              // another caller is computing it: the result comes later
)

// Value is what is kept: bytes, and what their owner wants to know of them, which is nothing to the cache. Both are shared, and must not be changed.
type Value struct{ Head, Data []byte }

// Result is what a caller gets.
type Result struct {
	Value
	State   State
	Age     time.Duration // since it was computed
	Refresh bool          // with Stale: nobody refreshes it, and this caller is asked to
}

// offer is how long whoever was asked to refresh a stale value has to begin.
const offer = 5 * time.Second

// entry is a value, or a failure that is kept in the place of one. Apart from offered it never changes.
type entry struct {
	Value
	failed bool
	made   time.Time
	fresh  time.Time     // until then it is fresh
	end    time.Time     // until then it may be given out
	life   time.Duration // what was left until end when it was put

	offered atomic.Int64 // until when nobody else is asked to refresh it, in nanoseconds of Unix time
}

func newEntry(v Value, keep Keep, now time.Time) *entry {
	life := max(keep.TTL, 0) + max(keep.Stale, 0)
	return &entry{Value: v, made: now, fresh: now.Add(keep.TTL), end: now.Add(life), life: life}
}

// failure is what a leader left when it failed. A value that may still be given out stays, and is not refreshed for that long.
func failure(before *entry, data []byte, keep time.Duration, now time.Time) *entry {
	if before.state(now) == Stale && !before.failed {
		e := &entry{Value: before.Value, made: before.made, fresh: before.fresh, end: before.end, life: before.end.Sub(now)}
		e.offered.Store(now.Add(keep).UnixNano())
		return e
	}
	e := newEntry(Value{Data: data}, Keep{TTL: keep}, now)
	e.failed = true
	return e
}

func (e *entry) state(now time.Time) State {
	switch {
	case e == nil || !now.Before(e.end):
		return Miss
	case e.failed:
		return Failed
	case now.Before(e.fresh):
		return Hit
	}
	return Stale
}

func (e *entry) result(state State, now time.Time) Result {
	return Result{Value: e.Value, State: state, Age: max(now.Sub(e.made), 0)}
}

// claim says whether the caller is the one to refresh a stale value.
func (e *entry) claim(now time.Time) bool {
	until := e.offered.Load()
	return now.UnixNano() >= until && e.offered.CompareAndSwap(until, now.Add(offer).UnixNano())
}
