package telemetry_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/telemetry"
)

// A stream counts for its route and its plugin from its first moment, and for each moment once: one that lasts ten minutes is one request in
// flight all the time, and never two.
func TestAStreamCountsForItsRouteWhileItLasts(t *testing.T) {
	c := new(clock)
	tr, rep := report(t, c)
	begun, end := make(chan struct{}), make(chan struct{})
	h := tr.Track(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		telemetry.SetRoute(r.Context(), "GET /x")
		telemetry.SetPlugin(r.Context(), "x", "1")
		begun <- struct{}{}
		<-end
	}))
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)) })
		<-begun
	}
	check := func(inFlight, completed int64, minute, five, hour float64) {
		t.Helper()
		m := rep.Metrics()
		for _, r := range []telemetry.Route{m.Routes[0], m.Plugins[0]} {
			what := r.Pattern + r.Plugin
			if r.InFlight != inFlight || r.Peak != 3 || r.Hour.Completed != completed || r.Requests != completed {
				t.Errorf("%s: %+v; want %d in flight, a peak of 3, %d completed", what, r, inFlight, completed)
			}
			near(t, what+" in the last minute", r.Minute.Concurrency, minute)
			near(t, what+" in the last five", r.FiveMinutes.Concurrency, five)
			near(t, what+" in the last hour", r.Hour.Concurrency, hour)
		}
	}
	c.advance(10 * time.Minute)
	check(3, 0, 3, 3, 3)
	close(end)
	wg.Wait()
	check(0, 3, 3, 3, 3)
	c.advance(2 * time.Minute)
	check(0, 3, 0, 1.8, 2.5)
	c.advance(53 * time.Minute)
	check(0, 3, 0, 0, 0.25)
	c.advance(6 * time.Minute) // the three ended 61 minutes ago
	if m := rep.Metrics(); m.Routes[0].Hour.Completed != 0 || m.Plugins[0].Hour.Completed != 0 || m.Routes[0].Requests != 3 {
		t.Errorf("%+v", m.Routes[0])
	}
}

// One route that gets everything says what is said of all.
func TestARouteIsCountedAsTheWhole(t *testing.T) {
	c := new(clock)
	tr := telemetry.NewTracker(telemetry.TrackerOptions{Now: c.Now})
	r := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		run(tr, c, time.Duration(r.ExpFloat64()*float64(3*time.Second)), 200)
		c.advance(time.Duration(r.ExpFloat64() * float64(20*time.Second)))
		c.advance(5*time.Second - time.Duration(c.passed.Load())%(5*time.Second)) // where both begin a step
		all, one := tr.Snapshot(), tr.Routes()[0]
		want := fmt.Sprint(all.InFlight, all.Peak, all.Minute, all.FiveMinutes, all.Hour)
		if got := fmt.Sprint(one.InFlight, one.Peak, one.Minute, one.FiveMinutes, one.Hour); got != want {
			t.Fatalf("the route says %s, all %s", got, want)
		}
	}
}
