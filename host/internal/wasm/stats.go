package wasm

import "time"

// Stats is a look at a pool.
type Stats struct {
	Start     string  `json:"start,omitempty"` // how workers begin: from a snapshot, or plainly and why
	Workers   int     `json:"workers"`
	Bound     int     `json:"workers_max"`
	InFlight  int     `json:"in_flight"`
	Waiting   int     `json:"mailbox"`      // events that no guest has taken yet
	Memory    uint64  `json:"memory_bytes"` // linear memory of all workers
	Requests  int64   `json:"requests"`
	Busy      float64 `json:"busy_seconds"` // time that guests have run
	Traps     int64   `json:"traps"`
	LastError string  `json:"last_error,omitempty"`
	Draining  bool    `json:"draining,omitempty"`

	Mode      string           `json:"mode,omitempty"`     // how requests are served now: shared, fresh, degraded (fresh for a while, after traps), open (refused)
	Instances int              `json:"instances"`          // that serve one request each
	Retiring  int              `json:"retiring,omitempty"` // workers that end with their last request
	Recycled  map[string]int64 `json:"recycled,omitempty"` // workers that were replaced, by reason: memory, requests, age
	Limits    map[string]int64 `json:"limits,omitempty"`   // how often each of the limits was met, by the name of its setting
}

// Stats looks at the pool without stopping it.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Stats{
		Start:   p.start(),
		Workers: len(p.workers), Bound: p.options.Workers, InFlight: int(p.active.Load()),
		Busy: p.share.Total().Seconds(), Requests: p.requests.Load(), Traps: p.traps, LastError: p.lastErr, Draining: p.draining.Load(),
		Mode: p.guard.state(time.Now()), Instances: len(p.fresh), Retiring: len(p.retiring), Recycled: map[string]int64{}, Limits: p.limits.byName(),
	}
	for why, n := range p.recycled {
		if n > 0 {
			s.Recycled[wornName(why)] = n
		}
	}
	for _, w := range p.workers {
		s.add(w)
	}
	for _, w := range p.retiring {
		s.add(w)
	}
	for w := range p.fresh {
		s.add(w)
	}
	return s
}

func (s *Stats) add(w *worker) {
	s.Memory += uint64(w.memory.Load())
	w.mu.Lock()
	defer w.mu.Unlock()
	s.Waiting += w.box.len()
}

func (p *Pool) start() string {
	if p.plain != "" {
		return "plain: " + p.plain
	}
	return "snapshot"
}
