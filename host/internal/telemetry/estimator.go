package telemetry

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

const (
	// The estimate is of the last five minutes, or of as many more, up to an hour, as it takes to have enough samples.
	estimateEvery   = time.Second
	estimateSpan    = 5 * time.Minute
	estimateKeep    = 10 * time.Second // between two looks that are kept
	estimateHistory = 360              // of them: an hour
	enoughSamples   = 50
	// Whoever waits for a processor or a worker waits within its service time, as nobody can tell the two apart. So times are
	// taken only while less than this part of them is in use.
	calmUse = 0.8
	// Those that waited still come out a while after.
	calmAfter = 5 * time.Second
	// Less of an idle time says nothing about what the server needs for itself.
	leastIdle = 5 * time.Second
)

// Resource is something that requests need, and of which there is so much.
type Resource struct {
	Kind    string  // one of Bound…
	Setting string  // where Limit can be changed; tells resources apart
	Limit   float64 // how many requests may hold it at once
	Busy    time.Duration
	Waited  time.Duration // Busy is how long all requests together have held it, Waited how long they waited for it before, of those that gave it back
}

// EstimatorOptions are an Estimator's surroundings.
type EstimatorOptions struct {
	Tracker   *Tracker
	Resources func() []Resource // from the goroutine of Run. What falls back was made anew
	// CPU is the processor time that this process has taken; nil or false is not known.
	CPU func() (time.Duration, bool)
	// Machine is how many of the machine's processors are not idle, and how many there are; nil is not known.
	Machine func() (busy, all float64)
	// Loads counts when plugins begin to be loaded and when they are, so that it is odd meanwhile: compiling is dear, and no request's.
	// nil is never.
	Loads    func() int64
	Settings func() (think config.Capacity, connections int) // in force; 0 connections is no bound
}

// Estimator keeps Capacity up to date in the background, so that reading it costs nothing.
type Estimator struct {
	o       EstimatorOptions
	cpus    float64
	latest  atomic.Pointer[Capacity]
	looks   []look // the last hour, a look each estimateKeep, the oldest first
	last    look
	service time.Duration
	calm    bool // service was taken while nothing was full
	samples int64
	demand  map[string]CapacityBound // of what was measured last, by setting
	base    float64                  // processors that the server needs without requests
}

// look is what had been counted up to a moment.
type look struct {
	at             time.Duration
	work, inFlight int64
	workTime       time.Duration
	cpu            time.Duration
	machine, cpus  float64 // processors that were not idle lately, and all of them
	loads          int64
	ownWork        int64           // of work, while no plugin was loaded
	ownCPU         time.Duration   // of cpu, likewise
	ownSpan        time.Duration   // of the time, likewise
	idle, idleCPU  time.Duration   // time without requests, and the processor's in it
	fullAt         time.Duration   // when anything was full last
	calmWork       int64           // of work, while nothing was full
	calmTime       time.Duration   // of workTime, likewise
	calmWaited     time.Duration   // what of it was waited for connections
	held           map[string]held // never changed
}

// held is of one resource. The sums go on when it is made anew.
type held struct {
	busy, waited         time.Duration
	seenBusy, seenWaited time.Duration // as the resource counts
}

// NewEstimator looks once; Run begins anew, so that a start is no part of what is measured.
func NewEstimator(o EstimatorOptions) *Estimator {
	e := &Estimator{o: o, cpus: float64(runtime.GOMAXPROCS(0)), demand: map[string]CapacityBound{}}
	e.Observe()
	return e
}

// Run looks each second until ctx is done. It returns nil. Call it once.
func (e *Estimator) Run(ctx context.Context) error {
	e.looks, e.last = nil, look{}
	e.Observe()
	tick := time.NewTicker(estimateEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			e.Observe()
		}
	}
}

// Capacity is the newest estimate, at most a second old while Run runs. Its Bounds must not be changed.
func (e *Estimator) Capacity() Capacity { return *e.latest.Load() }

// Observe looks at everything once. Run calls it; it is not safe for concurrent use.
func (e *Estimator) Observe() {
	resources := e.o.Resources()
	now := e.look(resources)
	first := now
	if len(e.looks) > 0 {
		first = e.since(now)
	}
	if n := len(e.looks); n == 0 || now.at-e.looks[n-1].at >= estimateKeep {
		if n == estimateHistory {
			e.looks = slices.Delete(e.looks, 0, 1)
		}
		e.looks = append(e.looks, now)
	}
	e.last = now
	e.measure(first, now, resources)
	think, connections := e.o.Settings()
	c := capacity(e.load(resources), think, connections)
	e.latest.Store(&c)
}

// look counts up to now.
func (e *Estimator) look(resources []Resource) look {
	l := e.o.Tracker.look()
	if e.o.CPU != nil {
		if cpu, ok := e.o.CPU(); ok {
			l.cpu = cpu
		} else {
			l.cpu = e.last.cpu
		}
	}
	if e.o.Machine != nil {
		l.machine, l.cpus = e.o.Machine()
	}
	if e.o.Loads != nil {
		l.loads = e.o.Loads()
	}
	l.held = make(map[string]held, len(resources))
	for _, r := range resources {
		h, known := e.last.held[r.Setting]
		if known {
			h.busy += grown(r.Busy, h.seenBusy)
			h.waited += grown(r.Waited, h.seenWaited)
		}
		h.seenBusy, h.seenWaited = r.Busy, r.Waited
		l.held[r.Setting] = h
	}
	before := e.last
	l.ownWork, l.ownCPU, l.ownSpan = before.ownWork, before.ownCPU, before.ownSpan
	l.idle, l.idleCPU = before.idle, before.idleCPU
	l.calmWork, l.calmTime, l.calmWaited = before.calmWork, before.calmTime, before.calmWaited
	if len(e.looks) == 0 {
		return l
	}
	if l.loads == before.loads && l.loads%2 == 0 {
		cpu, span := max(l.cpu-before.cpu, 0), l.at-before.at
		l.ownWork += l.work - before.work
		l.ownCPU += cpu
		l.ownSpan += span
		if l.work == before.work && l.inFlight == 0 && before.inFlight == 0 {
			l.idle += span
			l.idleCPU += cpu
		}
	}
	l.fullAt = before.fullAt
	if e.full(before, l, resources) {
		l.fullAt = l.at
	}
	if l.fullAt == 0 || l.at-l.fullAt > calmAfter {
		l.calmWork += l.work - before.work
		l.calmTime += l.workTime - before.workTime
		l.calmWaited += waited(before, l)
	}
	return l
}

// full says whether the processors, this program's or the machine's, or a plugin's workers were busy nearly all the time between two looks.
func (e *Estimator) full(before, now look, resources []Resource) bool {
	span := float64(now.at - before.at)
	if float64(now.cpu-before.cpu) > calmUse*span*e.cpus || now.machine > calmUse*now.cpus {
		return true
	}
	return slices.ContainsFunc(resources, func(r Resource) bool {
		busy := now.held[r.Setting].busy - before.held[r.Setting].busy
		return r.Kind == BoundWorkers && float64(busy) > calmUse*span*r.Limit
	})
}

// waited is the time that requests waited for anything between two looks.
func waited(before, now look) (all time.Duration) {
	for setting, h := range now.held {
		all += max(h.waited-before.held[setting].waited, 0) // below 0: it was away and came back
	}
	return all
}

// grown is what came on top; a counter that fell back began again.
func grown(now, before time.Duration) time.Duration {
	if now < before {
		return now
	}
	return now - before
}

// since is the look that the estimate begins at.
func (e *Estimator) since(now look) look {
	for _, l := range slices.Backward(e.looks) {
		if now.at-l.at >= estimateSpan && now.work-l.work >= enoughSamples {
			return l
		}
	}
	return e.looks[0]
}

// measure takes the demands from the time between two looks. Without requests in it those of before stay.
func (e *Estimator) measure(first, now look, resources []Resource) {
	span, work := (now.at - first.at).Seconds(), float64(now.work-first.work)
	if work <= 0 || span <= 0 {
		return
	}
	if idle := now.idle - first.idle; idle >= leastIdle {
		e.base = (now.idleCPU - first.idleCPU).Seconds() / idle.Seconds()
	}
	e.samples = int64(work)
	if calm := now.calmWork - first.calmWork; calm > 0 {
		e.service, e.calm = service(now.calmTime-first.calmTime, now.calmWaited-first.calmWaited, calm), true
	} else if !e.calm { // it is full since it began
		e.service = service(now.workTime-first.workTime, waited(first, now), now.work-first.work)
	}
	e.demand = make(map[string]CapacityBound, len(resources)+1)
	for _, r := range resources {
		before, after := first.held[r.Setting], now.held[r.Setting]
		busy := max(after.busy-before.busy, 0).Seconds() // below 0: it was away and came back
		e.demand[r.Setting] = CapacityBound{
			Demand: busy / work, Waited: max(after.waited-before.waited, 0).Seconds() / work, Utilization: busy / span / max(r.Limit, 1e-9),
		}
	}
	if work := now.ownWork - first.ownWork; work > 0 {
		span := (now.ownSpan - first.ownSpan).Seconds()
		cpu := max((now.ownCPU-first.ownCPU).Seconds()-e.base*span, 0) // what the server needs without requests is taken off on both sides
		p := e.processors()
		e.demand[p.Setting] = CapacityBound{Demand: cpu / float64(work), Utilization: cpu / span / p.Limit}
	}
}

// service is the time of a request without what it waited for connections. Calls that go on side by side wait side by side, so their
// waits may add up to more than there was.
func service(took, waited time.Duration, work int64) time.Duration {
	return max(took-waited, took/100) / time.Duration(work)
}

// processors is the bound that this machine is: those that Go uses, as far as the server does not need them without any request. What
// other programs take is not taken off: who asks for more gets more, up to an even share.
func (e *Estimator) processors() Resource {
	return Resource{Kind: BoundCPU, Setting: "processors", Limit: max(e.cpus-e.base, e.cpus/100)}
}

// load puts the limits in force and what was measured together.
func (e *Estimator) load(resources []Resource) load {
	l := load{samples: e.samples, service: e.service}
	slots, conns := 0.0, 0.0
	for _, r := range append(resources, e.processors()) {
		switch r.Kind {
		case BoundPlugin:
			slots += r.Limit
		case BoundUpstream:
			conns += r.Limit
		}
		b := e.demand[r.Setting]
		if b.Demand <= 0 || r.Limit <= 0 {
			continue
		}
		b.Kind, b.Setting, b.Limit, b.Rate = r.Kind, r.Setting, digits(r.Limit), digits(r.Limit/b.Demand)
		b.Demand, b.Utilization, b.Waited = digits(b.Demand), digits(b.Utilization), digits(b.Waited)
		l.bounds = append(l.bounds, b)
	}
	slices.SortStableFunc(l.bounds, func(a, b CapacityBound) int { return cmp.Compare(a.Rate, b.Rate) })
	if l.assumed = slots; slots == 0 || conns > 0 && conns < slots {
		l.assumed = conns
	}
	return l
}

// look is what the tracker has counted until now.
func (t *Tracker) look() look {
	at := t.uptime()
	f := &t.flow
	f.mu.Lock()
	defer f.mu.Unlock()
	f.advance(at)
	return look{at: f.last, work: f.sum.work, workTime: f.sum.workTime, inFlight: f.inFlight}
}
