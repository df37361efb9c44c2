package telemetry_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/telemetry"
)

// run sends one request through the tracker and lets it take that long.
func run(t *telemetry.Tracker, c *clock, took time.Duration, status int) {
	t.Track(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		telemetry.SetRoute(r.Context(), "GET /x")
		c.advance(took)
		w.WriteHeader(status)
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/x", nil))
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 0.02*math.Max(1, math.Abs(want)) {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

func TestRatesAreOverTheTimeSinceTheStart(t *testing.T) {
	c := new(clock)
	tr := telemetry.NewTracker(telemetry.TrackerOptions{Now: c.Now})
	for range 10 {
		run(tr, c, time.Second, 200)
	}
	s := tr.Snapshot()
	near(t, "per second after 10 s", s.Minute.PerSecond, 1)
	near(t, "per second in the hour after 10 s", s.Hour.PerSecond, 1)
	near(t, "seconds of the minute", s.Minute.Seconds, 10)
	near(t, "concurrency", s.Minute.Concurrency, 1)
}

func TestWindowsSlide(t *testing.T) {
	c := new(clock)
	tr := telemetry.NewTracker(telemetry.TrackerOptions{Now: c.Now})
	for range 60 {
		run(tr, c, time.Second, 200)
	}
	steps := []struct {
		wait               time.Duration
		minute, five, hour int64
	}{
		{0, 60, 60, 60},
		{30 * time.Second, 31, 60, 60}, // the one that ended exactly a minute ago is in
		{40 * time.Second, 0, 60, 60},
		{4 * time.Minute, 0, 0, 60},
		{50 * time.Minute, 0, 0, 60},
		{10 * time.Minute, 0, 0, 0},
		{300 * time.Hour, 0, 0, 0}, // the ring goes around many times at once
	}
	for _, step := range steps {
		c.advance(step.wait)
		s := tr.Snapshot()
		got := [3]int64{s.Minute.Completed, s.FiveMinutes.Completed, s.Hour.Completed}
		if want := [3]int64{step.minute, step.five, step.hour}; got != want {
			t.Errorf("after %v more: completed in minute, five minutes, hour = %v, want %v", step.wait, got, want)
		}
	}
	if s := tr.Snapshot(); s.Total != 60 || s.Minute.Seconds != 60 || s.Hour.Seconds != 3600 {
		t.Errorf("at the end: total %d, minute %v s, hour %v s", s.Total, s.Minute.Seconds, s.Hour.Seconds)
	}
}

// A wall clock that is set back, as one without a monotonic reading is, stops the windows until it is where it was. Nothing goes below
// zero, and nothing is lost.
func TestAClockThatIsSetBack(t *testing.T) {
	c := new(clock)
	tr := telemetry.NewTracker(telemetry.TrackerOptions{Now: c.Now})
	c.advance(time.Hour)
	run(tr, c, time.Second, 200)
	run(tr, c, -30*time.Minute, 200)
	run(tr, c, time.Second, 200)
	s := tr.Snapshot()
	if s.Total != 3 || s.Minute.Completed != 3 || s.Hour.Completed != 3 || s.InFlight != 0 {
		t.Errorf("%+v", s)
	}
	if s.Minute.Concurrency < 0 || s.Latency.Mean < 0 || s.Latency.Count != 3 {
		t.Errorf("concurrency %v, latency %+v", s.Minute.Concurrency, s.Latency)
	}
	c.advance(40 * time.Minute)
	run(tr, c, time.Second, 200)
	if s := tr.Snapshot(); s.Total != 4 || s.Minute.Completed != 1 || s.Hour.Completed != 4 {
		t.Errorf("when the clock is ahead again: %+v", s)
	}
}

// Fault 11: the average was requests per second. Here 4 requests of 30 s each in 60 s are 2.
func TestFault11ConcurrencyIsLittlesLaw(t *testing.T) {
	c := new(clock)
	tr := telemetry.NewTracker(telemetry.TrackerOptions{Now: c.Now})
	begun, end := make(chan struct{}), make(chan struct{})
	h := tr.Track(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		begun <- struct{}{}
		<-end
	}))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)) })
		<-begun
	}
	c.advance(30 * time.Second)
	// Nothing has completed: those in flight must count already.
	s := tr.Snapshot()
	near(t, "concurrency while in flight", s.Minute.Concurrency, 4)
	if s.InFlight != 4 || s.Peak != 4 || s.Minute.Completed != 0 {
		t.Errorf("in flight %d, peak %d, completed %d; want 4, 4, 0", s.InFlight, s.Peak, s.Minute.Completed)
	}
	close(end)
	wg.Wait()
	c.advance(30 * time.Second)
	s = tr.Snapshot()
	near(t, "concurrency after", s.Minute.Concurrency, 2)
	if s.InFlight != 0 || s.Peak != 4 || s.Minute.Completed != 4 {
		t.Errorf("in flight %d, peak %d, completed %d; want 0, 4, 4", s.InFlight, s.Peak, s.Minute.Completed)
	}
	c.advance(30 * time.Second)
	near(t, "concurrency 30 s later", tr.Snapshot().Minute.Concurrency, 0)
}

func TestLatencyIsRecentAndLeavesProbesOut(t *testing.T) {
	c := new(clock)
	tr := telemetry.NewTracker(telemetry.TrackerOptions{Now: c.Now})
	for i := 1; i <= 100; i++ {
		run(tr, c, time.Duration(i)*10*time.Millisecond, 200)
	}
	tr.Track(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		telemetry.SetProbe(r.Context(), "GET /probe")
		c.advance(20 * time.Second)
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	l := tr.Snapshot().Latency
	if l.Count != 100 {
		t.Fatalf("count = %d, want 100", l.Count)
	}
	for _, q := range []struct {
		what      string
		got, want float64
	}{{"mean", l.Mean, 0.505}, {"p50", l.P50, 0.5}, {"p95", l.P95, 0.95}, {"p99", l.P99, 0.99}} {
		if math.Abs(q.got-q.want) > q.want/30 {
			t.Errorf("%s = %v, want %v within 1/30", q.what, q.got, q.want)
		}
	}
	c.advance(7 * time.Minute)
	if l := tr.Snapshot().Latency; l.Count != 0 || l.P99 != 0 {
		t.Errorf("7 minutes later: %+v, want nothing", l)
	}
}

func TestQuantilesAtAnySize(t *testing.T) {
	for _, d := range []time.Duration{0, time.Microsecond, 15 * time.Microsecond, 16 * time.Microsecond, 17 * time.Microsecond,
		time.Millisecond, 33 * time.Millisecond, time.Second, time.Minute, time.Hour, 18 * time.Hour} {
		c := new(clock)
		tr := telemetry.NewTracker(telemetry.TrackerOptions{Now: c.Now})
		run(tr, c, d, 200)
		got := tr.Routes()[0].Latency.P50
		if want := d.Seconds(); math.Abs(got-want) > want/30+1e-6 {
			t.Errorf("p50 of one request of %v = %v s", d, got)
		}
	}
}

// Fault 1 and 4: one truth for all requests, held until the last byte.
func TestFault4StreamsCountUntilTheirLastByte(t *testing.T) {
	tr := telemetry.NewTracker(telemetry.TrackerOptions{})
	end := make(chan struct{})
	srv := httptest.NewServer(tr.Track(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		<-end
		fmt.Fprint(w, "data: 2\n\n")
	})))
	defer srv.Close()
	var streams []*http.Response
	for range 5 {
		resp, err := srv.Client().Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		streams = append(streams, resp)
		if _, err := io.ReadFull(resp.Body, make([]byte, 9)); err != nil {
			t.Fatal(err)
		}
	}
	if s := tr.Snapshot(); s.InFlight != 5 || s.Total != 5 {
		t.Errorf("with 5 open streams: in flight %d, total %d", s.InFlight, s.Total)
	}
	close(end)
	for _, resp := range streams {
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
	}
	srv.Close() // waits for the handlers
	if s := tr.Snapshot(); s.InFlight != 0 || s.Status.Success != 5 || s.Bytes != 5*18 {
		t.Errorf("after: in flight %d, success %d, bytes %d; want 0, 5, 90", s.InFlight, s.Status.Success, s.Bytes)
	}
}

func TestHijackedConnectionsCountApart(t *testing.T) {
	tr := telemetry.NewTracker(telemetry.TrackerOptions{})
	hijacked, end, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	h := tr.Track(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
		}
		close(hijacked)
		<-end
		conn.Close()
	}))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		close(done)
	}))
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-hijacked
	if s := tr.Snapshot(); s.InFlight != 0 || s.Websockets != 1 || s.Total != 1 || s.Status.Informational != 1 {
		t.Errorf("while open: %+v", s)
	}
	close(end)
	<-done
	if s := tr.Snapshot(); s.InFlight != 0 || s.Websockets != 0 || s.Total != 1 || s.WebsocketsAll != 1 {
		t.Errorf("after: %+v", s)
	}
}

// A handler may leave its connection to somebody else; it counts until it is closed, once.
func TestAConnectionThatWasGivenAwayCounts(t *testing.T) {
	tr := telemetry.NewTracker(telemetry.TrackerOptions{})
	given, returned := make(chan net.Conn, 1), make(chan struct{})
	h := tr.Track(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
		}
		given <- conn
	}))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		close(returned)
	}))
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-returned
	if s := tr.Snapshot(); s.InFlight != 0 || s.Websockets != 1 {
		t.Errorf("while open: %+v", s)
	}
	away := <-given
	away.Close()
	away.Close()
	if s := tr.Snapshot(); s.Websockets != 0 || s.WebsocketsAll != 1 {
		t.Errorf("after: %+v", s)
	}
}

func TestWriterKeepsTheControllerWorking(t *testing.T) {
	tr := telemetry.NewTracker(telemetry.TrackerOptions{})
	errs := make(chan error, 4)
	srv := httptest.NewServer(tr.Track(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		ctl := http.NewResponseController(w)
		errs <- ctl.SetReadDeadline(time.Time{})
		errs <- ctl.SetWriteDeadline(time.Time{})
		errs <- ctl.EnableFullDuplex()
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusTeapot)
		errs <- ctl.Flush()
	})))
	defer srv.Close()
	resp, err := srv.Client().Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	srv.Close()
	if s := tr.Snapshot().Status; s.ClientError != 1 || s.Informational != 0 {
		t.Errorf("statuses %+v, want one 4xx", s)
	}
}

func TestRequestID(t *testing.T) {
	tr := telemetry.NewTracker(telemetry.TrackerOptions{})
	var inside string
	h := tr.Track(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { inside = telemetry.RequestID(r.Context()) }))
	for _, tc := range []struct {
		sent string
		kept bool
	}{
		{"", false}, {"abc-1.2_X", true}, {strings.Repeat("a", 64), true}, {strings.Repeat("a", 65), false},
		{"a b", false}, {"a\nb", false}, {"é", false}, {`"`, false}, {"pb_abc", false}, {"x-pb_abc", false}, // it may hold an API key
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("X-Request-Id", tc.sent)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		got := w.Header().Get("X-Request-Id")
		if got != inside || len(got) == 0 {
			t.Errorf("sent %q: header %q, context %q", tc.sent, got, inside)
		}
		if (got == tc.sent) != tc.kept {
			t.Errorf("sent %q: got %q, want kept %v", tc.sent, got, tc.kept)
		}
	}
	if id := telemetry.RequestID(context.Background()); id != "" {
		t.Errorf("outside a request the id is %q", id)
	}
	telemetry.SetRoute(context.Background(), "x") // must not panic
}

func TestRoutesAreBoundedAndAddUp(t *testing.T) {
	tr := telemetry.NewTracker(telemetry.TrackerOptions{MaxRoutes: 3})
	for i := range 10 {
		tr.Track(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			telemetry.SetRoute(r.Context(), fmt.Sprintf("GET /%d", i))
			w.WriteHeader(200 + 100*(i%4))
		})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	}
	routes := tr.Routes()
	if len(routes) != 4 {
		t.Fatalf("%d routes, want 3 and other: %+v", len(routes), routes)
	}
	var sum uint64
	for _, r := range routes {
		sum += r.Latency.Count
	}
	if last := routes[3]; last.Pattern != "other" || last.Latency.Count != 7 || sum != 10 {
		t.Errorf("last route %+v, sum %d; want other with 7 of 10", last, sum)
	}
}

func TestCountsAddUpUnderLoad(t *testing.T) {
	tr := telemetry.NewTracker(telemetry.TrackerOptions{})
	h := tr.Track(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		telemetry.SetRoute(r.Context(), "GET /a")
		w.WriteHeader(204)
	}))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
				tr.Snapshot()
			}
		})
	}
	wg.Wait()
	s := tr.Snapshot()
	if s.Total != 4000 || s.Status.Success != 4000 || s.InFlight != 0 || s.Peak > 8 || s.Peak < 1 || tr.Routes()[0].Latency.Count != 4000 {
		t.Errorf("%+v", s)
	}
}

func BenchmarkTrackParallel(b *testing.B) {
	tr := telemetry.NewTracker(telemetry.TrackerOptions{})
	h := tr.Track(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { telemetry.SetRoute(r.Context(), "GET /a") }))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
		for pb.Next() {
			h.ServeHTTP(w, r)
		}
	})
}

func BenchmarkSnapshot(b *testing.B) {
	tr := telemetry.NewTracker(telemetry.TrackerOptions{})
	for b.Loop() {
		tr.Snapshot()
	}
}

// What a handler writes to HEAD goes nowhere: it is no byte of an answer.
func TestHeadHasNoBody(t *testing.T) {
	tr := telemetry.NewTracker(telemetry.TrackerOptions{})
	srv := httptest.NewServer(tr.Track(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		telemetry.SetRoute(r.Context(), "GET /x")
		_, _ = io.WriteString(w, "hello")
	})))
	resp, err := http.Head(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	srv.Close() // waits for the handler
	if s, r := tr.Snapshot(), tr.Routes()[0]; s.Bytes != 0 || r.Bytes != 0 || s.ClientLeft != 0 || r.Requests != 1 {
		t.Errorf("%+v %+v", s, r)
	}
}
