package telemetry

import (
	"sync"
	"time"
)

// occupancyStep is between two marks of an occupancy.
const occupancyStep = 5 * time.Second

// occupancy is the requests in flight of one route or one plugin, now and over the last hour: what flow is for all of them, in coarser
// steps, so that it takes 12 KiB. Moments are durations since the tracker's start.
type occupancy struct {
	mu       sync.Mutex // guards all below; a leaf
	last     time.Duration
	inFlight int64
	peak     int64
	sum      mark
	step     int64                                       // the newest whole step in ring
	ring     [history*time.Second/occupancyStep + 1]mark // ring[s%len] is the sum at step s
}

// mark is what had been counted up to a moment, as point is.
type mark struct {
	done int64
	area time.Duration
}

func (o *occupancy) begin(at time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.advance(at)
	o.inFlight++
	o.peak = max(o.peak, o.inFlight)
}

// end takes a request out, and counts it if it was answered here.
func (o *occupancy) end(at time.Duration, answered bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.advance(at)
	o.inFlight--
	if answered {
		o.sum.done++
	}
}

// advance is that of flow.
func (o *occupancy) advance(at time.Duration) {
	at = max(at, o.last)
	now, size := int64(at/occupancyStep), int64(len(o.ring))
	for s := max(o.step+1, now-size+1); s <= now; s++ {
		m := o.sum
		m.area += time.Duration(o.inFlight) * (time.Duration(s)*occupancyStep - o.last)
		o.ring[s%size] = m
	}
	o.step = now
	o.sum.area += time.Duration(o.inFlight) * (at - o.last)
	o.last = at
}

// into fills in what a Route tells of its requests in flight.
func (o *occupancy) into(r *Route, at time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.advance(at)
	since := func(length time.Duration) Window {
		from := max(o.step-int64(length/occupancyStep), 0)
		m := o.ring[from%int64(len(o.ring))]
		w := window{length: o.last - time.Duration(from)*occupancyStep, point: point{done: o.sum.done - m.done, area: o.sum.area - m.area}}
		return w.public()
	}
	r.InFlight, r.Peak = o.inFlight, o.peak
	r.Minute, r.FiveMinutes, r.Hour = since(time.Minute), since(5*time.Minute), since(time.Hour)
}

// pluginBoard has the occupancy of each plugin that was asked for anything, up to a bound.
type pluginBoard struct {
	max int

	mu     sync.RWMutex // guards byName
	byName map[string]*occupancy
}

// get makes what is not there yet; nil is one plugin too many.
func (b *pluginBoard) get(name string) *occupancy {
	if o := b.look(name); o != nil {
		return o
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.byName[name]
	if o == nil && len(b.byName) < b.max {
		o = &occupancy{}
		b.byName[name] = o
	}
	return o
}

func (b *pluginBoard) look(name string) *occupancy {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.byName[name]
}
