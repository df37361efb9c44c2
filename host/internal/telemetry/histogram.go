package telemetry

import (
	"math"
	"math/bits"
	"time"
)

// A histogram counts durations in buckets that grow with the value: 16 per power of two of a
// microsecond, so that a quantile is wrong by at most 1/32 of itself whatever its size. Beyond
// maxExponent (about 19 hours) everything falls into the last bucket.
const (
	subBits     = 4
	sub         = 1 << subBits
	maxExponent = 36
	bucketCount = (maxExponent - subBits + 1) * sub
)

// histogram has a fixed size of about 4 KiB. It is not safe for concurrent use.
type histogram struct {
	counts [bucketCount]uint64
	count  uint64
	sum    time.Duration
}

func (h *histogram) add(d time.Duration) {
	d = max(d, 0) // a clock that was set back
	h.counts[bucketOf(d)]++
	h.count++
	h.sum += d
}

func (h *histogram) merge(o *histogram) {
	if o.count == 0 {
		return
	}
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.count += o.count
	h.sum += o.sum
}

// quantiles returns, for each q, the middle of the bucket that holds the q-th part of what was added; 0 when nothing was. The
// qs are between 0 and 1 and grow.
func (h *histogram) quantiles(qs ...float64) []time.Duration {
	at := make([]time.Duration, len(qs))
	if h.count == 0 {
		return at
	}
	var seen uint64
	next := 0
	for i, n := range h.counts {
		seen += n
		for next < len(qs) && seen >= max(uint64(math.Ceil(qs[next]*float64(h.count))), 1) {
			at[next] = middleOf(i)
			next++
		}
		if next == len(qs) {
			break
		}
	}
	return at
}

func (h *histogram) mean() time.Duration {
	if h.count == 0 {
		return 0
	}
	return h.sum / time.Duration(h.count)
}

// bucketOf maps values below 16 µs to themselves, and above that takes the exponent and the four
// bits below the leading one.
func bucketOf(d time.Duration) int {
	v := uint64(max(d, 0) / time.Microsecond)
	if v < sub {
		return int(v)
	}
	shift := bits.Len64(v) - 1 - subBits
	return min((shift+1)*sub+int(v>>shift)-sub, bucketCount-1)
}

func middleOf(bucket int) time.Duration {
	if bucket < sub {
		return time.Duration(bucket)*time.Microsecond + time.Microsecond/2
	}
	shift := bucket/sub - 1
	low := time.Duration(sub+bucket%sub) << shift
	return (2*low + time.Duration(1)<<shift) * time.Microsecond / 2
}

const (
	// recentSlots histograms of slotSeconds each give the recent latency: the slot being filled and the five minutes before it.
	recentSlots = 6
	slotSeconds = 60
)

// recent is what was added in the last five to six minutes. A slot is made when it is first needed, so that a route that nobody
// asks for costs nothing; six of them are 25 KiB. It is not safe for concurrent use.
type recent struct{ slots [recentSlots]recentSlot }

type recentSlot struct {
	number int64 // of the minute since the start
	*histogram
}

// add counts d at a moment since the start.
func (r *recent) add(at, d time.Duration) {
	number := int64(at / (slotSeconds * time.Second))
	s := &r.slots[number%recentSlots]
	switch {
	case s.histogram == nil:
		*s = recentSlot{number, &histogram{}}
	case s.number < number:
		s.number, *s.histogram = number, histogram{}
	}
	s.histogram.add(d)
}

// into merges what is not too old at a moment since the start.
func (r *recent) into(h *histogram, at time.Duration) {
	number := int64(at / (slotSeconds * time.Second))
	for _, s := range r.slots {
		if s.histogram != nil && number-s.number < recentSlots {
			h.merge(s.histogram)
		}
	}
}
