package wasm

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Faults say how a plugin that traps is dealt with. What is zero takes its default.
type Faults struct {
	Traps   int           // so many of shared workers within Quiet, and each request has an instance of its own; 3
	Quiet   time.Duration // so long without a trap, and workers are shared again; 1 min
	Row     int           // so many requests in a row that trapped though each was alone, and no more are let in; 10
	Rest    time.Duration // for so long, then one may try; doubles while it traps too; 1 s
	RestMax time.Duration // 30 s
}

func (f Faults) orDefault() Faults {
	for _, d := range []struct{ is, otherwise *time.Duration }{
		{&f.Quiet, new(time.Minute)}, {&f.Rest, new(time.Second)}, {&f.RestMax, new(30 * time.Second)},
	} {
		if *d.is == 0 {
			*d.is = *d.otherwise
		}
	}
	if f.Traps == 0 {
		f.Traps = 3
	}
	if f.Row == 0 {
		f.Row = 10
	}
	return f
}

// OpenError says that the plugin trapped on everything of late, so that no request is let in for a while.
type OpenError struct{ RetryAfter time.Duration }

// Error says how long.
func (e *OpenError) Error() string {
	return fmt.Sprintf("the plugin trapped on every request; the next one is tried in %v", e.RetryAfter.Round(time.Millisecond))
}

// guard decides how far a plugin is trusted: with many requests in one worker, with one in each, or with none.
//
// One request that makes the guest trap takes others with it while workers are shared. So after some traps each request is alone, and a
// poison one harms itself. Only when nothing but traps comes even so, requests are refused, and one at a time finds out whether it is better.
type guard struct {
	rules Faults
	alone bool        // each request is always alone: isolation fresh
	calm  atomic.Bool // there is nothing to look at

	mu    sync.Mutex // guards what follows
	traps []time.Time
	until time.Time // requests are alone until then; zero is not
	row   int
	open  time.Time     // nobody is let in until then, while rest is not zero
	rest  time.Duration // zero: requests are let in
	probe int           // the newest of those that find out; another may when rest has passed
}

// pass is what a request is let in with. Whoever has it calls guard.done.
type pass struct {
	fresh bool
	probe int  // which of those that find out; 0 is none
	again bool // the first since requests share workers again
}

// outcome is what a request says about its plugin.
type outcome int

const (
	neither  outcome = iota // nothing: the client left, there was no room…
	answered                // the guest lived
	trapped
)

func newGuard(alone bool, rules Faults) *guard {
	g := &guard{alone: alone, rules: rules.orDefault()}
	g.calm.Store(!alone)
	return g
}

// admit lets a request in, or gives an *OpenError.
func (g *guard) admit(now time.Time) (pass, error) {
	if g.calm.Load() {
		return pass{}, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.rest > 0 && now.Before(g.open):
		return pass{}, &OpenError{g.open.Sub(now)}
	case g.rest > 0:
		g.open = now.Add(g.rest) // it may take as long as its client likes; others do not wait for it longer than this
		g.probe++
		return pass{fresh: true, probe: g.probe}, nil
	case g.alone || now.Before(g.until):
		return pass{fresh: true}, nil
	}
	g.until, g.row = time.Time{}, 0
	g.calm.Store(true)
	return pass{again: true}, nil
}

// trap notes that a shared worker trapped. It says whether requests are alone from now on and were not before.
func (g *guard) trap(now time.Time) (degraded bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.traps = slices.DeleteFunc(g.traps, func(at time.Time) bool { return now.Sub(at) >= g.rules.Quiet })
	g.traps = append(g.traps, now)
	if g.alone || len(g.traps) < g.rules.Traps {
		return false
	}
	degraded = g.until.IsZero()
	g.until, g.traps = now.Add(g.rules.Quiet), g.traps[:0]
	g.calm.Store(false)
	return degraded
}

// done takes the pass back. opened and closed say what became of the plugin by it.
func (g *guard) done(p pass, o outcome, now time.Time) (opened, closed bool) {
	if !p.fresh {
		return false, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	newest := p.probe != 0 && p.probe == g.probe
	switch o {
	case neither:
		if newest {
			g.open = now // it found out nothing
		}
	case answered:
		closed = g.rest > 0
		g.row, g.rest = 0, 0
	case trapped:
		g.row++
		if !g.alone {
			g.until = now.Add(g.rules.Quiet)
			g.calm.Store(false) // it may have been let in before the quiet time was over
		}
		switch {
		case newest && g.rest > 0:
			g.rest = min(2*g.rest, g.rules.RestMax)
		case g.rest == 0 && g.row >= g.rules.Row:
			g.rest, opened = g.rules.Rest, true
		default:
			return false, false
		}
		g.open = now.Add(g.rest)
	}
	return opened, closed
}

// state names what admit would do, for people: "shared", "fresh", "degraded" or "open".
func (g *guard) state(now time.Time) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.rest > 0:
		return "open"
	case g.alone:
		return "fresh"
	case now.Before(g.until):
		return "degraded"
	}
	return "shared"
}
