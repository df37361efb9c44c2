package upstream

import (
	"math"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// member is one endpoint of an upstream in one configuration, with what is known of it.
type member struct {
	endpoint
	*record
	name    string // for people, and the same over reloads
	key     key    // of its connections, without a policy
	weight  float64
	metrics *url.URL // nil is none
	site    *site
}

// record is what is known of an endpoint. Configurations that have the same endpoint share it.
type record struct {
	born     time.Time     // what until counts from
	inFlight atomic.Int64  // calls, from their choice of the endpoint to the end of their answer's body
	queue    atomic.Uint64 // calls that wait inside the endpoint, by its own metrics; bits of a float64
	until    atomic.Int64  // left out until then, and slow after it; nanoseconds after born, 0 is never
	down     atomic.Bool   // by active checks
	ejected  atomic.Bool   // no call has gone well since it was left out
	pollers  atomic.Int32  // configurations that read queue; the last to stop clears it

	mu        sync.Mutex // guards what follows
	calls     uint64
	failures  uint64
	ejections uint64
	streak    int           // failures in a row, of calls
	checks    int           // failures in a row, of checks
	checkers  int           // configurations that check; the last to stop clears what was found
	ejection  time.Duration // the last one's
	latency   time.Duration // smoothed, until the head of an answer
	measured  time.Time     // when latency last changed
	problem   string        // of the last check; "" is none
}

func newRecord() *record { return &record{born: time.Now()} }

// available says whether calls should go to the endpoint.
func (r *record) available(now time.Time) bool {
	return !r.down.Load() && int64(now.Sub(r.born)) >= r.until.Load()
}

// returning says that the endpoint came back less than ramp ago, and how far it is, 0 to 1.
func (r *record) returning(now time.Time, ramp time.Duration) (done float64, ok bool) {
	until := r.until.Load()
	if until == 0 || ramp <= 0 {
		return 1, false
	}
	done = float64(int64(now.Sub(r.born))-until) / float64(ramp)
	return max(0, done), done < 1
}

// slowest is the share of its weight that an endpoint begins with when it comes back.
const slowest = 0.1

// share is the member's weight now.
func (m *member) share(now time.Time, ramp time.Duration) float64 {
	done, ok := m.returning(now, ramp)
	if !ok {
		return m.weight
	}
	return m.weight * (slowest + (1-slowest)*done)
}

// work is what an endpoint has to do: our calls, and those that it says are waiting.
func (r *record) work() float64 {
	return float64(r.inFlight.Load()) + math.Float64frombits(r.queue.Load())
}

// The latency follows new values by smoothing, and an old one loses half of itself in each
// halfLife, so that an endpoint that was slow once is tried again.
const (
	smoothing = 0.3
	halfLife  = 10 * time.Second
)

func (r *record) latencyLocked(now time.Time) time.Duration {
	age := now.Sub(r.measured)
	if r.latency == 0 || age <= 0 {
		return r.latency
	}
	return time.Duration(float64(r.latency) * math.Exp2(-float64(age)/float64(halfLife)))
}

// recent is how long calls took of late until their head, how many there have been, and whether the latest that says anything failed.
func (r *record) recent(now time.Time) (latency time.Duration, calls uint64, failing bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.latencyLocked(now), r.calls, r.streak > 0
}

// verdict is what a call says of the endpoint it was sent to.
type verdict int

const (
	neutral verdict = iota // nothing: the caller, the pool or the policy ended it
	good
	bad
)

// note takes what a call says of the endpoint. It returns how many have failed in a row.
func (r *record) note(v verdict, took time.Duration, now time.Time) (streak int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	before := r.latencyLocked(now)
	switch {
	case v == good && r.measured.IsZero():
		r.latency, r.measured = took, now
	case v == good:
		r.latency = time.Duration((1-smoothing)*float64(before) + smoothing*float64(took))
		r.measured = now
	case took > before: // it takes at least as long
		r.latency, r.measured = took, now
	}
	switch v {
	case good:
		r.streak = 0
	case bad:
		r.failures++
		r.streak++
	}
	return r.streak
}
