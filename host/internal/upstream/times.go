package upstream

import (
	"sync/atomic"
	"time"
)

// times are how long calls took. It only grows.
type times struct {
	held, waited atomic.Int64 // nanoseconds of all calls together
	head, whole  durations
}

// add counts a call that ended: the two belong together, so that what was waited is never told of calls whose end is not.
func (t *times) add(waited, held time.Duration) {
	t.waited.Add(int64(waited))
	t.held.Add(int64(held))
}

// Durations counts calls by how long they took, as a Prometheus histogram has it.
type Durations struct {
	Count   uint64
	Sum     float64            // seconds
	Buckets map[float64]uint64 // calls that took at most so many seconds
}

// bounds reach from a neighbour's quick answer to a long stream.
func bounds() [bucketCount]time.Duration {
	const ms = time.Millisecond
	return [bucketCount]time.Duration{
		5 * ms, 10 * ms, 25 * ms, 50 * ms, 100 * ms, 250 * ms, 500 * ms, time.Second, 2500 * ms, 5 * time.Second, 10 * time.Second,
		30 * time.Second, 60 * time.Second, 120 * time.Second, 300 * time.Second,
	}
}

const bucketCount = 15

// durations may be read while calls are counted: what is read is then a call short here or there.
type durations struct {
	counts [bucketCount + 1]atomic.Uint64 // each of its own bucket; the last is of all above
	sum    atomic.Int64
}

func (d *durations) observe(took time.Duration) {
	i := 0
	for _, bound := range bounds() {
		if took <= bound {
			break
		}
		i++
	}
	d.counts[i].Add(1)
	d.sum.Add(int64(took))
}

func (d *durations) read() Durations {
	r := Durations{Sum: time.Duration(d.sum.Load()).Seconds(), Buckets: make(map[float64]uint64, bucketCount)}
	for i, bound := range bounds() {
		r.Count += d.counts[i].Load()
		r.Buckets[bound.Seconds()] = r.Count
	}
	r.Count += d.counts[bucketCount].Load()
	return r
}
