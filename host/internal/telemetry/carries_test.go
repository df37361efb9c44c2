package telemetry_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/telemetry"
)

// places is something of which there is so much, and a queue for it.
type places struct {
	free         chan struct{}
	held, waited atomic.Int64
}

func newPlaces(n int) *places { return &places{free: make(chan struct{}, n)} }

// use holds a place for a time.
func (p *places) use(d time.Duration) {
	began := time.Now()
	p.free <- struct{}{}
	at := time.Now()
	time.Sleep(d)
	<-p.free
	p.waited.Add(int64(at.Sub(began)))
	p.held.Add(int64(time.Since(at)))
}

func (p *places) resource(kind, setting string, queue bool) telemetry.Resource {
	r := telemetry.Resource{Kind: kind, Setting: setting, Limit: float64(cap(p.free)), Busy: time.Duration(p.held.Load())}
	if queue {
		r.Waited = time.Duration(p.waited.Load())
	}
	return r
}

// crowd is users who ask, think and ask again.
type crowd struct {
	serve http.Handler
	sent  atomic.Int64
}

// ask has so many users ask for a time, and gives how many were answered a second and how long an answer took. Those that are under
// way at the end are waited for.
func (c *crowd) ask(users int, think, span time.Duration) (rate float64, took time.Duration) {
	var all sync.WaitGroup
	var answered, total atomic.Int64
	end := time.Now().Add(span)
	for i := range users {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), uint64(users)))
			time.Sleep(time.Duration(r.Float64() * float64(think)))
			for time.Now().Before(end) {
				began := time.Now()
				c.serve.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/chat", nil))
				c.sent.Add(1)
				if now := time.Now(); now.Before(end) {
					answered.Add(1)
					total.Add(int64(now.Sub(began)))
				}
				time.Sleep(time.Duration(r.ExpFloat64() * float64(think)))
			}
		})
	}
	all.Wait()
	return float64(answered.Load()) / span.Seconds(), time.Duration(total.Load() / max(answered.Load(), 1))
}

// TestEstimateIsWhatIsCarried: simulated users with the think times of the settings, on a clock of their own, against a server with one
// thing that is scarce. What it carries are X(R + Z) users, the knee of the asymptotic bounds: X the most that it answers in a second, R an
// answer's time without a queue. The estimate is within 15 % of that, at a light load and when it is full; with as many
// users it answers about as much as it can; and every counter is exact.
func TestEstimateIsWhatIsCarried(t *testing.T) {
	think := config.Default().Capacity
	for _, tc := range []struct {
		name          string
		conns, worker int
		call, compute time.Duration // of a request, on average; the compute time is the same for all
		calls         float64       // the part of the requests that make a call
		by            string
	}{
		{"connections", 16, 1, 2 * time.Second, 2 * time.Millisecond, 1, telemetry.BoundUpstream},
		{"connections that half of the requests need", 8, 1, 4 * time.Second, 2 * time.Millisecond, 0.5, telemetry.BoundUpstream},
		{"workers", 512, 1, 300 * time.Millisecond, 100 * time.Millisecond, 1, telemetry.BoundWorkers},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conns, worker := newPlaces(tc.conns), newPlaces(tc.worker)
				tr := telemetry.NewTracker(telemetry.TrackerOptions{})
				var mu sync.Mutex
				chance := rand.New(rand.NewPCG(1, 2))
				draw := func() (calls bool, took time.Duration) {
					mu.Lock()
					defer mu.Unlock()
					return chance.Float64() < tc.calls, time.Duration(chance.ExpFloat64() * float64(tc.call))
				}
				c := &crowd{serve: tr.Track(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					telemetry.SetRoute(r.Context(), "POST /chat")
					worker.use(tc.compute)
					if calls, took := draw(); calls {
						conns.use(took)
					}
					w.WriteHeader(http.StatusOK)
				}))}
				e := telemetry.NewEstimator(telemetry.EstimatorOptions{
					Tracker: tr,
					Resources: func() []telemetry.Resource {
						return []telemetry.Resource{
							conns.resource(telemetry.BoundUpstream, "upstreams.x.max_conns", true), worker.resource(telemetry.BoundWorkers, "plugins.x.workers", false),
							{Kind: telemetry.BoundPlugin, Setting: "plugins.x.limits.in_flight", Limit: 1024, Busy: tr.Busy([]string{"POST /chat"})},
						}
					},
					Settings: func() (config.Capacity, int) { return think, 0 },
				})
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- e.Run(ctx) }()

				_, alone := c.ask(5, think.Heavy, 30*time.Minute)
				said := e.Capacity()
				looked := make(chan telemetry.Capacity, 1)
				time.AfterFunc(59*time.Minute, func() { looked <- e.Capacity() })
				most, _ := c.ask(300, 0, time.Hour)
				full := <-looked
				time.Sleep(10 * time.Minute)
				if tc.calls == 1 { // else the last that come out are those that make calls
					within(t, "service after that", e.Capacity().Basis.ServiceSeconds, alone.Seconds(), 0.15)
				}
				if said.BoundBy.Light != tc.by || full.BoundBy.Light != tc.by {
					t.Errorf("bound by %s, and when it is full by %s; want %s", said.BoundBy.Light, full.BoundBy.Light, tc.by)
				}
				for _, u := range []struct {
					name       string
					think      time.Duration
					said, full int64
				}{
					{"light", think.Light, said.Users.Light, full.Users.Light}, {"medium", think.Medium, said.Users.Medium, full.Users.Medium},
					{"heavy", think.Heavy, said.Users.Heavy, full.Users.Heavy},
				} {
					carried := most * (alone + u.think).Seconds()
					within(t, u.name+" users", float64(u.said), carried, 0.15)
					within(t, u.name+" users, said when it is full", float64(u.full), carried, 0.15)
					rate, _ := c.ask(int(u.said), u.think, 20*time.Minute)
					within(t, "answers a second with that many "+u.name+" users, of the most", rate, most, 0.15)
				}
				s := tr.Snapshot()
				if n := c.sent.Load(); s.Total != n || s.Status.Success != n || tr.Routes()[0].Requests != n || s.InFlight != 0 {
					t.Errorf("%d were answered; %+v", n, s)
				}
				stop()
				<-done
			})
		})
	}
}

func within(t *testing.T, what string, got, want, part float64) {
	t.Helper()
	t.Logf("%s: %.4g, want %.4g", what, got, want)
	if got < want*(1-part) || got > want*(1+part) {
		t.Errorf("%s: %.4g, want %.4g within %.0f %%", what, got, want, part*100)
	}
}
