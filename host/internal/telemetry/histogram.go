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

// quantile returns the middle of the bucket that holds the q-th part of what was added, 0 when
// nothing was. q is between 0 and 1.
func (h *histogram) quantile(q float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank := uint64(math.Ceil(q * float64(h.count)))
	rank = min(max(rank, 1), h.count)
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen >= rank {
			return middleOf(i)
		}
	}
	return middleOf(bucketCount - 1)
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
