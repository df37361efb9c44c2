package app

import (
	"maps"
	"sync"

	"github.com/patchbay-run/patchbay/host/internal/exposition"
	"github.com/patchbay-run/patchbay/host/internal/plugin"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// App is what Prometheus is told of.
var _ exposition.Source = (*App)(nil)

// Exposed implements exposition.Source.
func (a *App) Exposed() exposition.State {
	now := a.state.Load()
	s := exposition.State{
		Upstreams: now.parts.Upstreams.Stats(),
		Feed:      exposition.Feed(a.hub.Stats()),
		Capacity:  a.estimator.Capacity(),
		Config:    exposition.Config{Failed: now.broken != nil, Applied: float64(now.applied.UnixMilli()) / 1e3},
	}
	for _, slot := range now.plugins {
		p := exposition.Plugin{Name: slot.config.Name, Stale: slot.generation != nil && slot.problem != nil, Total: a.ledger.total(slot.config.Name)}
		if g := slot.generation; g != nil {
			p.Up, p.Version, p.Now = true, g.Manifest.Version, g.Stats()
		}
		if kept, ok := a.cache.Look(p.Name); ok {
			p.Cache = &kept
		}
		s.Plugins = append(s.Plugins, p)
	}
	return s
}

// ledger adds up what all generations of a plugin have done, so that a swap does not set its counters back. It keeps an account for
// each plugin that is configured or still drains.
type ledger struct {
	mu       sync.Mutex
	accounts map[string]*account
}

type account struct {
	open   []*plugin.Generation // serving and draining
	closed exposition.Total     // of the others
}

// opened notes that a generation was loaded.
func (l *ledger) opened(g *plugin.Generation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.accounts == nil {
		l.accounts = map[string]*account{}
	}
	at := l.accounts[g.Config.Name]
	if at == nil {
		at = &account{closed: exposition.Total{Recycled: map[string]int64{}, Limits: map[string]int64{}}}
		l.accounts[g.Config.Name] = at
	}
	at.open = append(at.open, g)
}

// swapped notes that a generation took over from another.
func (l *ledger) swapped(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := l.accounts[name]; at != nil {
		at.closed.Swaps++
	}
}

// ended notes that a generation has served its last request. With the last one of a plugin its account is closed.
func (l *ledger) ended(g *plugin.Generation) {
	last := g.Stats()
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.accounts[g.Config.Name]
	if at == nil {
		return
	}
	for i, open := range at.open {
		if open == g {
			at.open = append(at.open[:i], at.open[i+1:]...)
			add(&at.closed, last)
			break
		}
	}
	if len(at.open) == 0 {
		delete(l.accounts, g.Config.Name)
	}
}

func (l *ledger) total(name string) exposition.Total {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.accounts[name]
	if at == nil {
		return exposition.Total{}
	}
	sum := at.closed
	sum.Recycled, sum.Limits = maps.Clone(sum.Recycled), maps.Clone(sum.Limits)
	for _, g := range at.open {
		add(&sum, g.Stats())
	}
	return sum
}

func add(t *exposition.Total, s wasm.Stats) {
	t.Requests += s.Requests
	t.Traps += s.Traps
	t.Busy += s.Busy
	for reason, n := range s.Recycled {
		t.Recycled[reason] += n
	}
	for limit, n := range s.Limits {
		t.Limits[limit] += n
	}
}
