package telemetry

import (
	"sync"
	"time"
)

// history is how far back a window may reach, in seconds.
const history = 3600

// point is what had been counted up to a moment. All fields only grow, so that the difference of
// two points is what happened between them. area is time spent in flight by all requests together,
// those still in flight included; it may wrap around, its differences do not care. work is requests that did what was asked.
type point struct {
	done     int64
	area     time.Duration
	work     int64
	workTime time.Duration
}

// flow is the one truth about requests. A mutex rather than loose atomics: the integral of the
// requests in flight needs their number and the time of its last change together, and a reader
// that saw one without the other would be wrong by the whole uptime. A begin with
// its end costs well under a microsecond, contended (BenchmarkTrackParallel), and nobody is ever
// called while the lock is held.
//
// Moments are durations since the tracker's start.
type flow struct {
	mu         sync.Mutex // guards all below; a leaf: nothing is locked while it is held
	last       time.Duration
	inFlight   int64
	websockets int64
	upgraded   int64
	peak       int64
	started    int64
	aborted    int64
	left       int64
	bytes      int64
	classes    [6]int64 // by the first digit of the status
	sum        point
	second     int64              // the newest whole second in ring
	ring       [history + 1]point // ring[s%len] is the sum at second s
	recent     recent
}

// outcome is what is known of a request at its end.
type outcome struct {
	at      time.Duration // the moment of the end, since the tracker's start
	took    time.Duration
	head    time.Duration // until the head of the answer; below 0: there was none
	status  int
	bytes   int64
	probe   bool
	left    leaver
	upgrade bool // it goes on as a websocket
}

func (f *flow) begin(at time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.advance(at)
	f.started++
	f.inFlight++
	f.peak = max(f.peak, f.inFlight)
}

func (f *flow) end(o outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.advance(o.at)
	f.inFlight--
	f.sum.done++
	f.bytes += o.bytes
	if c := o.status / 100; c > 0 && c < len(f.classes) {
		f.classes[c]++
	}
	switch o.left {
	case leftAborted:
		f.aborted++
	case leftClient:
		f.left++
	}
	if o.upgrade {
		f.websockets++
		f.upgraded++
	}
	if o.probe || o.upgrade {
		return
	}
	f.recent.add(f.last, o.took)
	if o.status < 400 { // a refusal is quick, and no user is served by it
		f.sum.work++
		f.sum.workTime += max(o.took, 0)
	}
}

func (f *flow) endWebsocket() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.websockets--
}

// advance brings the integral and the ring up to at. Moments are read outside the lock and may
// arrive out of order; an older one counts as the newest seen.
func (f *flow) advance(at time.Duration) {
	at = max(at, f.last)
	now := int64(at / time.Second)
	for s := max(f.second+1, now-history); s <= now; s++ {
		p := f.sum
		p.area += time.Duration(f.inFlight) * (time.Duration(s)*time.Second - f.last)
		f.ring[s%int64(len(f.ring))] = p
	}
	f.second = now
	f.sum.area += time.Duration(f.inFlight) * (at - f.last)
	f.last = at
}

// window is what happened between two points.
type window struct {
	length time.Duration // of time that really passed, at most a second more than asked for
	point
}

// since must be called under mu, after advance.
func (f *flow) since(length time.Duration) window {
	from := max(f.second-int64(length/time.Second), 0)
	p := f.ring[from%int64(len(f.ring))]
	return window{
		length: f.last - time.Duration(from)*time.Second,
		point: point{
			done: f.sum.done - p.done, area: f.sum.area - p.area,
			work: f.sum.work - p.work, workTime: f.sum.workTime - p.workTime,
		},
	}
}

// perSecond is the rate of completed requests. Less than a second of uptime counts as one, so that
// the first request does not show as thousands a minute.
func (w window) perSecond() float64 {
	return float64(w.done) / max(w.length, time.Second).Seconds()
}

// concurrency is the average number of requests in flight (Little's law: time spent in flight by
// all of them over wall time).
func (w window) concurrency() float64 {
	if w.length <= 0 {
		return 0
	}
	return w.area.Seconds() / w.length.Seconds()
}
