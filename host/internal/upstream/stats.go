package upstream

import "time"

// Stats is the state of one pool at one moment, and what it has done since it was made.
type Stats struct {
	Pool     string `json:"pool"`
	MaxConns int    `json:"max_conns"`

	Open    int `json:"open"` // places taken: idle, in use and dialing
	Idle    int `json:"idle"`
	InUse   int `json:"in_use"`
	Dialing int `json:"dialing"`
	Waiting int `json:"waiting"` // calls in the queue

	Calls        uint64  `json:"calls"`
	Reused       uint64  `json:"reused"`     // calls sent on a connection that had served before
	ReuseRate    float64 `json:"reuse_rate"` // reused of all connections that calls were given, 0 to 1
	Dials        uint64  `json:"dials"`      // ended, failed ones among them
	DialErrors   uint64  `json:"dial_errors"`
	Retries      uint64  `json:"retries"`
	PoolTimeouts uint64  `json:"pool_timeouts"`

	UptimeSeconds float64 `json:"uptime_seconds"` // of the pool; a reload that changes its settings makes a new one
}

// counters only grow. Guarded by Pool.mu.
type counters struct {
	calls, reused, dials, dialErrors, retries, poolTimeouts uint64
}

// Stats may be read at any time; it stops no call for longer than copying a few integers takes.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	s := Stats{
		Open: p.open, Idle: p.idle.n, Dialing: p.dialing, Waiting: p.queue.Len(),
		Calls: p.count.calls, Reused: p.count.reused, Dials: p.count.dials, DialErrors: p.count.dialErrors,
		Retries: p.count.retries, PoolTimeouts: p.count.poolTimeouts,
	}
	p.mu.Unlock()
	s.Pool, s.MaxConns = p.name, p.set.maxConns
	s.InUse = s.Open - s.Idle - s.Dialing
	if given := s.Reused + s.Dials; given > 0 {
		s.ReuseRate = float64(s.Reused) / float64(given)
	}
	s.UptimeSeconds = time.Since(p.started).Seconds()
	return s
}
