package telemetry_test

import (
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/telemetry"
)

// machine is what a test says of the server: what its requests have held so far, and the processor time.
type machine struct {
	*clock
	*telemetry.Tracker
	*telemetry.Estimator
	resources   []telemetry.Resource
	cpu         time.Duration
	loads       int64
	machine     float64 // of two processors
	connections int
}

func estimator(resources ...telemetry.Resource) *machine {
	m := &machine{clock: new(clock), resources: resources}
	m.Tracker = telemetry.NewTracker(telemetry.TrackerOptions{Now: m.Now})
	m.Estimator = telemetry.NewEstimator(telemetry.EstimatorOptions{
		Tracker:   m.Tracker,
		Resources: func() []telemetry.Resource { return m.resources },
		CPU:       func() (time.Duration, bool) { return m.cpu, true },
		Machine:   func() (busy, all float64) { return m.machine, 2 },
		Loads:     func() int64 { return m.loads },
		Settings:  func() (config.Capacity, int) { return config.Default().Capacity, m.connections },
	})
	return m
}

// serve has n requests take that long, one after the other, each of which holds each resource for its own time.
func (m *machine) serve(n int, took time.Duration, status int, holds ...time.Duration) {
	for range n {
		run(m.Tracker, m.clock, took, status)
		for i, d := range holds {
			m.resources[i].Busy += d
		}
		m.Observe()
	}
}

// idle passes time without requests, in which the server takes a part of a processor.
func (m *machine) idle(seconds int, part float64) {
	for range seconds {
		m.clock.advance(time.Second)
		m.cpu += time.Duration(part * float64(time.Second))
		m.Observe()
	}
}

func upstream(limit float64) telemetry.Resource {
	return telemetry.Resource{Kind: telemetry.BoundUpstream, Setting: "upstreams.x.max_conns", Limit: limit}
}

func slots(limit float64) telemetry.Resource {
	return telemetry.Resource{Kind: telemetry.BoundPlugin, Setting: "plugins.x.limits.in_flight", Limit: limit}
}

// Fault 12: capacity comes from what was measured, and says so. The law by hand: N = limit/demand * (service + think).
func TestFault12CapacityIsComputed(t *testing.T) {
	for _, tc := range []struct {
		name                 string
		resources            []telemetry.Resource
		took                 time.Duration // 0 is no request
		holds                []time.Duration
		connections          int
		light, medium, heavy string
		heavyUsers           int64
		rate, limit          float64
		service, by          string
	}{
		// 200 * (2 + 60) / 2 = 6200, 70 % of it 4340.
		{"nothing known", nil, 0, nil, 0, "4300-6200 users", "1500-2200 users", "490-700 users", 700, 100, 200, "assumed", "assumed"},
		{"nothing measured", []telemetry.Resource{upstream(20), slots(1024)}, 0, nil, 0, "430-620 users", "150-220 users", "49-70 users", 70, 10, 20, "assumed", "assumed"},
		{"held all the time", []telemetry.Resource{upstream(10)}, 10 * time.Second, []time.Duration{10 * time.Second}, 0, "49-70 users", "21-30 users", "10-15 users", 15, 1, 10, "measured", "upstream"},
		{"held a part of the time", []telemetry.Resource{upstream(10)}, 10 * time.Second, []time.Duration{5 * time.Second}, 0, "98-140 users", "42-60 users", "21-30 users", 30, 2, 20, "measured", "upstream"},
		{"the least counts", []telemetry.Resource{upstream(10), slots(4)}, 10 * time.Second, []time.Duration{5 * time.Second, 10 * time.Second}, 0, "19-28 users", "8-12 users", "4-6 users", 6, 0.4, 4, "measured", "plugin"},
		{"nobody needs it", []telemetry.Resource{upstream(10), slots(1)}, 10 * time.Second, []time.Duration{10 * time.Second, 0}, 0, "49-70 users", "21-30 users", "10-15 users", 15, 1, 10, "measured", "upstream"},
		{"one at a time", []telemetry.Resource{slots(1)}, time.Minute, []time.Duration{time.Minute}, 0, "1-2 users", "1-1 users", "1-1 users", 1, 1.0 / 60, 1, "measured", "plugin"},
		{"connections", []telemetry.Resource{upstream(200)}, 2 * time.Second, []time.Duration{2 * time.Second}, 500, "350-500 users", "350-500 users", "350-500 users", 500, 100, 200, "measured", "connections"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := estimator(tc.resources...)
			m.connections = tc.connections
			if tc.took > 0 {
				m.serve(3, tc.took, 200, tc.holds...)
			}
			m.Observe()
			c := m.Capacity()
			if c.Light != tc.light || c.Medium != tc.medium || c.Heavy != tc.heavy || c.Users.Heavy != tc.heavyUsers {
				t.Errorf("got %q %q %q (%d), want %q %q %q (%d)", c.Light, c.Medium, c.Heavy, c.Users.Heavy, tc.light, tc.medium, tc.heavy, tc.heavyUsers)
			}
			near(t, "requests per second", c.Rate*100, tc.rate*100)
			near(t, "concurrency", c.Basis.ConcurrencyLimit, tc.limit)
			if c.Basis.Service != tc.service || c.BoundBy.Heavy != tc.by {
				t.Errorf("service is %s, bound by %s; want %s, %s", c.Basis.Service, c.BoundBy.Heavy, tc.service, tc.by)
			}
		})
	}
}

// The processors bound what is computed, and what the server needs for itself is no request's.
func TestCapacityOfTheProcessors(t *testing.T) {
	m := estimator()
	m.idle(20, 0.1)
	near(t, "idle: requests per second", m.Capacity().Rate, 100) // assumed
	for range 40 {
		m.cpu += 110 * time.Millisecond // 10 of them the server's own
		run(m.Tracker, m.clock, 100*time.Millisecond, 200)
		m.Observe()
	}
	m.loads, m.cpu = m.loads+1, m.cpu+5*time.Second // a plugin is compiled
	m.idle(5, 1)
	m.loads++
	m.idle(1, 1)
	c := m.Capacity()
	b := c.Bounds[0]
	near(t, "demand", b.Demand*1000, 100)
	near(t, "requests per second", c.Rate, b.Limit/0.1)
	near(t, "processors", b.Limit, float64(runtime.GOMAXPROCS(0))-0.1)
	if c.BoundBy.Light != telemetry.BoundCPU || b.Kind != telemetry.BoundCPU || b.Setting != "processors" {
		t.Errorf("%+v", c)
	}
}

// While the machine is full, be it of other programs, times say nothing of the service.
func TestCapacityBesideOtherPrograms(t *testing.T) {
	m := estimator(upstream(10))
	m.machine = 1.5
	m.serve(100, 2*time.Second, 200, time.Second)
	m.machine = 1.9
	m.serve(400, 3*time.Second, 200, time.Second)
	c := m.Capacity()
	near(t, "service when the machine is full", c.Basis.ServiceSeconds, 2)
	near(t, "requests per second", c.Rate, 10)
}

// What a request waited for is no part of its service, so that a server that is full does not take its queue for its work.
func TestCapacityLeavesWaitingOut(t *testing.T) {
	m := estimator(upstream(1))
	for range 10 { // 1 s of work and 4 s in the queue
		m.resources[0].Waited += 4 * time.Second
		m.serve(1, 5*time.Second, 200, time.Second)
	}
	c := m.Capacity()
	near(t, "service", c.Basis.ServiceSeconds, 1)
	near(t, "users", float64(c.Users.Heavy), 6)
	near(t, "waited", c.Bounds[0].Waited, 4)
	near(t, "utilization", c.Bounds[0].Utilization, 0.2)
}

// A worker that is full has no queue whose time is known: the service stays as it was when there was none.
func TestCapacityOfAFullWorkerKeepsTheServiceOfBefore(t *testing.T) {
	m := estimator(telemetry.Resource{Kind: telemetry.BoundWorkers, Setting: "plugins.x.workers", Limit: 1})
	m.serve(60, 2*time.Second, 200, time.Second)
	m.idle(310, 0)
	near(t, "service", m.Capacity().Basis.ServiceSeconds, 2)
	m.serve(400, time.Second, 200, time.Second) // it is busy all the time
	c := m.Capacity()
	near(t, "utilization", c.Bounds[0].Utilization, 1)
	near(t, "service when full", c.Basis.ServiceSeconds, 2)
	near(t, "requests per second", c.Rate, 1)
}

// Refusals and probes are quick. They are not what a server carries.
func TestCapacityCountsWhatWasDone(t *testing.T) {
	m := estimator(upstream(10))
	m.serve(3, 10*time.Second, 200, 10*time.Second)
	want := m.Capacity()
	for _, status := range []int{401, 404, 429, 500, 503} {
		m.serve(20, time.Millisecond, status)
	}
	if got := m.Capacity(); got.Users != want.Users || got.Basis.Samples != 3 {
		t.Errorf("after refusals %+v, want %+v", got, want)
	}
}

func TestCapacityOutlivesAQuietHour(t *testing.T) {
	m := estimator(upstream(10))
	m.serve(3, 10*time.Second, 200, 10*time.Second)
	want := m.Capacity()
	want.Bounds = nil
	m.idle(3*3600, 0)
	got := m.Capacity()
	got.Bounds, got.Basis.Samples = nil, want.Basis.Samples // the first have left the hour
	if !reflect.DeepEqual(got, want) {
		t.Errorf("3 h later %+v, want %+v", got, want)
	}
	m.resources[0].Limit = 20 // a reload
	m.Observe()
	if got := m.Capacity().Users.Heavy; got != 2*want.Users.Heavy {
		t.Errorf("with twice the connections %d users, want %d", got, 2*want.Users.Heavy)
	}
	m.resources[0].Busy = 0 // the pool was made anew
	m.serve(3, 10*time.Second, 200, 10*time.Second)
	if c := m.Capacity(); c.Users.Heavy != 30 || c.BoundBy.Heavy != telemetry.BoundUpstream || c.Bounds[0].Demand != 10 {
		t.Errorf("after a new pool %+v", c)
	}
	pool := m.resources
	m.resources = nil // out of the configuration, and in again
	m.Observe()
	m.resources = pool
	m.serve(100, time.Second, 200, time.Second)
	if c := m.Capacity(); c.Users.Heavy < 1 || c.Basis.ServiceSeconds <= 0 {
		t.Errorf("after a pool that was away: %+v", c)
	}
}
