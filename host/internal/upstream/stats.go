package upstream

import (
	"math"
	"time"
)

// Stats is the state of one pool at one moment, and what it has done since it was made; of a named
// upstream, that of its endpoints too.
type Stats struct {
	Pool       string `json:"pool"`
	MaxConns   int    `json:"max_conns"`
	MaxWaiting int    `json:"max_waiting"` // 0 is no bound

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
	Retries      uint64  `json:"retries"` // after a reused connection had died before the first byte
	PoolTimeouts uint64  `json:"pool_timeouts"`
	TurnedAway   uint64  `json:"turned_away"` // calls that found max_waiting others waiting

	DNSMillis      float64 `json:"dns_ms"`     // of the latest dials, smoothed
	ConnectMillis  float64 `json:"connect_ms"` // likewise, TCP and TLS
	DNSSeconds     float64 `json:"dns_seconds"`
	ConnectSeconds float64 `json:"connect_seconds"` // of all dials that ended well
	BytesIn        uint64  `json:"bytes_in"`        // HTTP, heads included
	BytesOut       uint64  `json:"bytes_out"`

	Held   float64   `json:"held_seconds"` // for which calls have held connections, all together, of calls that ended
	Waited float64   `json:"wait_seconds"` // for which they have waited for one before, and those that got none
	Head   Durations `json:"-"`            // from a call's connection to the head of its answer
	Whole  Durations `json:"-"`            // to its end, failed calls included

	Upstream *NamedStats `json:"upstream,omitempty"` // nil for the shared pool

	UptimeSeconds float64 `json:"uptime_seconds"` // of the pool; a reload that changes its settings makes a new one
}

// NamedStats is the state of a named upstream above its pool.
type NamedStats struct {
	Breaker    string          `json:"breaker"`     // closed, open or half-open; "" is none
	Refused    uint64          `json:"refused"`     // calls that found the breaker open
	Retries    uint64          `json:"retries"`     // attempts beyond the first, of calls that may be sent again
	OverBudget uint64          `json:"over_budget"` // those that the budget did not allow
	Failovers  uint64          `json:"failovers"`   // sendings to another endpoint because one could not be reached
	Endpoints  []EndpointStats `json:"endpoints"`
}

// EndpointStats is the state of one endpoint.
type EndpointStats struct {
	Endpoint string `json:"endpoint"`
	// State is up, slow (it came back, and has a part of its weight), ejected (by failed calls) or down (by failed checks).
	State        string    `json:"state"`
	EjectedUntil time.Time `json:"ejected_until,omitzero"`
	Problem      string    `json:"problem,omitempty"` // of the last check
	Weight       float64   `json:"weight"`
	Share        float64   `json:"share"` // of the weight, what it has now
	Load         float64   `json:"load"`  // in flight and queued, for each unit of share
	InFlight     int       `json:"in_flight"`
	Queued       float64   `json:"queued"` // calls that wait inside the endpoint, by its metrics
	Open         int       `json:"open"`   // connections
	Idle         int       `json:"idle"`
	Calls        uint64    `json:"calls"`
	Failures     uint64    `json:"failures"`
	Ejections    uint64    `json:"ejections"`
	Dials        uint64    `json:"dials"` // ended, failed ones among them
	DialErrors   uint64    `json:"dial_errors"`

	HeadMillis     float64 `json:"head_ms"` // until the head of an answer, smoothed; half of it each 10 s without a call
	DNSMillis      float64 `json:"dns_ms"`
	ConnectMillis  float64 `json:"connect_ms"`
	DNSSeconds     float64 `json:"dns_seconds"`
	ConnectSeconds float64 `json:"connect_seconds"`
	BytesIn        uint64  `json:"bytes_in"`
	BytesOut       uint64  `json:"bytes_out"`
}

// States of an endpoint.
const (
	StateUp      = "up"
	StateSlow    = "slow"
	StateEjected = "ejected"
	StateDown    = "down"
)

// counters only grow. Guarded by Pool.mu.
type counters struct {
	calls, reused, dials, dialErrors, retries, poolTimeouts, turnedAway uint64
}

// Stats may be read at any time; it stops no call for longer than copying a few integers takes.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	s := Stats{
		Open: p.open, Idle: p.idle.n, Dialing: p.dialing, Waiting: p.queue.Len(),
		Calls: p.count.calls, Reused: p.count.reused, Dials: p.count.dials, DialErrors: p.count.dialErrors,
		Retries: p.count.retries, PoolTimeouts: p.count.poolTimeouts, TurnedAway: p.count.turnedAway,
	}
	dialed := p.dialed
	p.mu.Unlock()
	s.Pool, s.MaxConns, s.MaxWaiting = p.name, p.set.maxConns, p.set.maxWaiting
	s.InUse = s.Open - s.Idle - s.Dialing
	if given := s.Reused + s.Dials; given > 0 {
		s.ReuseRate = float64(s.Reused) / float64(given)
	}
	s.DNSMillis, s.ConnectMillis = dialed.recentDNS/1e6, dialed.recentConnect/1e6
	s.DNSSeconds, s.ConnectSeconds = dialed.dns.Seconds(), dialed.connect.Seconds()
	s.BytesIn, s.BytesOut = p.traffic.in.Load(), p.traffic.out.Load()
	s.Held, s.Waited = time.Duration(p.times.held.Load()).Seconds(), time.Duration(p.times.waited.Load()).Seconds()
	s.Head, s.Whole = p.times.head.read(), p.times.whole.read()
	s.UptimeSeconds = time.Since(p.started).Seconds()
	return s
}

// stats is the state of the upstream's pool, and its own.
func (u *Upstream) stats() Stats {
	s := u.pool.Stats()
	s.Upstream = &NamedStats{
		Breaker: u.breaker.state(), Refused: u.count.refused.Load(),
		Retries: u.count.retries.Load(), Failovers: u.count.failovers.Load(),
	}
	if u.retries != nil {
		s.Upstream.OverBudget = u.retries.budget.refused()
	}
	now := time.Now()
	for _, m := range u.members {
		s.Upstream.Endpoints = append(s.Upstream.Endpoints, u.endpointStats(m, now))
	}
	return s
}

func (u *Upstream) endpointStats(m *member, now time.Time) EndpointStats {
	s := EndpointStats{
		Endpoint: m.name, State: StateUp, Weight: m.weight, Share: m.share(now, u.health.SlowStart),
		InFlight: int(m.inFlight.Load()), Queued: math.Float64frombits(m.queue.Load()),
		BytesIn: m.site.in.Load(), BytesOut: m.site.out.Load(),
	}
	s.Load = m.work() / s.Share
	if _, slow := m.returning(now, u.health.SlowStart); slow {
		s.State = StateSlow
	}
	if until := m.born.Add(time.Duration(m.until.Load())); until.After(now) {
		s.State, s.EjectedUntil = StateEjected, until.Round(0)
	}
	if m.down.Load() {
		s.State = StateDown
	}
	if s.State == StateEjected || s.State == StateDown {
		s.Share = 0
	}
	m.mu.Lock()
	s.Calls, s.Failures, s.Ejections, s.Problem = m.calls, m.failures, m.ejections, m.problem
	s.HeadMillis = float64(m.latencyLocked(now)) / 1e6
	m.mu.Unlock()
	u.pool.mu.Lock()
	s.Open, s.Idle = m.site.open, m.site.idle
	s.Dials, s.DialErrors = m.site.dials, m.site.dialErrors
	dialed := m.site.dialed
	u.pool.mu.Unlock()
	s.DNSMillis, s.ConnectMillis = dialed.recentDNS/1e6, dialed.recentConnect/1e6
	s.DNSSeconds, s.ConnectSeconds = dialed.dns.Seconds(), dialed.connect.Seconds()
	return s
}
