package upstream_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
)

// quick is a health that a test can wait for.
func quick(c *config.Upstream) {
	c.Health.Ejection, c.Health.MaxEjection, c.Health.SlowStart = 50*time.Millisecond, 200*time.Millisecond, 100*time.Millisecond
}

// TestOneOfThreeDies kills an endpoint under load, twice, and brings it back.
func TestOneOfThreeDies(t *testing.T) {
	for name, c := range map[string]struct {
		method, body string
		change       func(*config.Upstream)
		spared       bool // not even a call that was in flight may fail
	}{
		"retries":    {http.MethodGet, "", nil, true},
		"no retries": {http.MethodGet, "", func(c *config.Upstream) { c.Retry.Max = 0 }, false},
		"chats":      {http.MethodPost, "a prompt", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			all := backends(t, "abc")
			for _, b := range all {
				b.delay.Store(int64(2 * time.Millisecond))
			}
			set, u := newUpstream(t, func(u *config.Upstream) {
				quick(u)
				if c.change != nil {
					c.change(u)
				}
			}, urls(all)...)
			victim, addr := all[1], all[1].addr
			var killed atomic.Int64 // when the latest kill was over; far away while one goes on
			ctx, stop := context.WithCancel(t.Context())
			var work sync.WaitGroup
			var failed, inFlight atomic.Int64
			for range 30 {
				work.Go(func() {
					for ctx.Err() == nil {
						began := time.Now()
						status, _, err := ask(t.Context(), u, c.method, c.body)
						if err == nil && status == 200 {
							continue
						}
						failed.Add(1)
						if err == nil || !strings.Contains(err.Error(), addr) {
							t.Errorf("a call to an endpoint that lives failed: status %d, %v", status, err)
						}
						if began.UnixNano() < killed.Load() {
							inFlight.Add(1)
						} else {
							t.Errorf("a call that began after the endpoint was dead: status %d, %v", status, err)
						}
					}
				})
			}
			for range 2 {
				victim.hits.Store(0)
				eventually(t, "the endpoint works", func() bool { return victim.hits.Load() > 100 })
				killed.Store(time.Now().Add(time.Hour).UnixNano())
				victim.kill()
				killed.Store(time.Now().UnixNano())
				eventually(t, "it is left out", func() bool { return of(t, set, victim).State == upstream.StateEjected })
				time.Sleep(20 * time.Millisecond)
				victim.start(t)
			}
			victim.hits.Store(0)
			eventually(t, "it has its share again", func() bool { return of(t, set, victim).State == upstream.StateUp && victim.hits.Load() > 100 })
			stop()
			work.Wait()
			if n := failed.Load(); n != inFlight.Load() || n > 2*30 || c.spared && n > 0 {
				t.Errorf("%d calls failed, %d of them in flight on the dead endpoint; none may: %v", n, inFlight.Load(), c.spared)
			}
			for _, e := range state(set).Endpoints {
				if e.InFlight != 0 {
					t.Errorf("%s has %d calls in flight afterwards", e.Endpoint, e.InFlight)
				}
			}
			t.Logf("%d failed in flight; %+v", failed.Load(), set.Stats()[1])
		})
	}
}

// TestEjection watches the time for which an endpoint is left out.
func TestEjection(t *testing.T) {
	all := backends(t, "ab")
	set, u := newUpstream(t, func(c *config.Upstream) {
		c.Health = config.Health{Failures: 2, Statuses: []int{502}, Ejection: time.Hour, MaxEjection: 3 * time.Hour}
		c.Retry.Max, c.Breaker.FailureRate = 0, 0
	}, urls(all)...)
	all[0].status.Store(http.StatusBadGateway)
	eventually(t, "it is left out", func() bool {
		ask(t.Context(), u, http.MethodGet, "")
		return of(t, set, all[0]).State != upstream.StateUp
	})
	a, b := of(t, set, all[0]), of(t, set, all[1])
	if a.State != upstream.StateEjected || a.Ejections != 1 || a.Calls != 2 || a.Failures != 2 || a.Share != 0 {
		t.Errorf("%+v, want it left out after 2 failures", a)
	}
	if left := time.Until(a.EjectedUntil); left < 59*time.Minute || left > time.Hour {
		t.Errorf("left out for %v, want an hour", left)
	}
	// The last one is never left out.
	all[1].status.Store(http.StatusBadGateway)
	for range 20 {
		if status, _, err := ask(t.Context(), u, http.MethodGet, ""); err != nil || status != http.StatusBadGateway {
			t.Fatalf("status %d, %v, want the last endpoint's answer", status, err)
		}
	}
	if b = of(t, set, all[1]); b.State != upstream.StateUp || b.Failures < 20 {
		t.Errorf("%+v, want the last endpoint in use", b)
	}
	// What is known of an endpoint goes on over a reload.
	next, err := set.Reload(client(nil), map[string]config.Upstream{"up": entry(nil, urls(all)...)})
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if a := of(t, next, all[0]); a.State != upstream.StateEjected || a.Calls != 2 {
		t.Errorf("after a reload: %+v", a)
	}
}

// TestEjectionDoubles lets an endpoint fail each time it comes back.
func TestEjectionDoubles(t *testing.T) { inBubble(t, testEjectionDoubles) }

func testEjectionDoubles(t *testing.T, m *memory) {
	const base, most = 50 * time.Millisecond, 175 * time.Millisecond
	all := m.backends(t, "ab")
	set, u := m.upstream(t, func(c *config.Upstream) {
		quick(c)
		c.Health.Ejection, c.Health.MaxEjection = base, most
		c.Breaker.FailureRate = 0
	}, urls(all)...)
	all[0].kill()
	var lengths []time.Duration
	for len(lengths) < 6 {
		time.Sleep(time.Millisecond)
		mustAsk(t, u)
		if e := of(t, set, all[0]); e.Ejections > uint64(len(lengths)) && e.State == upstream.StateEjected {
			lengths = append(lengths, time.Until(e.EjectedUntil))
		}
	}
	if want := []time.Duration{base, 2 * base, most, most, most, most}; !slices.Equal(lengths, want) {
		t.Errorf("left out for %v, want %v", lengths, want)
	}
}

// TestCallersDoNotCostAnEndpoint gives up on calls; the endpoint is not to blame.
func TestCallersDoNotCostAnEndpoint(t *testing.T) { inBubble(t, testCallersDoNotCostAnEndpoint) }

func testCallersDoNotCostAnEndpoint(t *testing.T, m *memory) {
	all := m.backends(t, "ab")
	set, u := m.upstream(t, func(c *config.Upstream) { c.Breaker.MinCalls = 1 }, urls(all)...)
	for _, b := range all {
		b.delay.Store(int64(300 * time.Millisecond))
	}
	for range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if _, _, err := ask(ctx, u, http.MethodGet, ""); err == nil {
			t.Fatal("no time-out")
		}
		cancel()
	}
	s := state(set)
	for _, e := range s.Endpoints {
		if e.State != upstream.StateUp || e.Failures != 0 || e.InFlight != 0 {
			t.Errorf("%+v", e)
		}
	}
	if s.Breaker != "closed" {
		t.Errorf("the breaker is %s", s.Breaker)
	}
}

// TestActiveChecks has endpoints whose health is asked on a path of its own.
func TestActiveChecks(t *testing.T) {
	var ill [2]atomic.Bool
	serve := func(i int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/base/healthz" && ill[i].Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			fmt.Fprint(w, i)
		}
	}
	a, b := newBackend(t, "a", serve(0)), newBackend(t, "b", serve(1))
	set, u := newUpstream(t, func(c *config.Upstream) {
		c.Health.Path, c.Health.Interval, c.Health.Failures, c.Health.SlowStart = "/healthz", 10*time.Millisecond, 2, time.Millisecond
	}, a.url+"/base", b.url+"/base")
	state := func(i int) upstream.EndpointStats { return state(set).Endpoints[i] }
	eventually(t, "checks", func() bool { return a.hits.Load() > 0 && b.hits.Load() > 0 })
	if state(0).Calls != 0 {
		t.Error("a check counts as a call")
	}
	ill[0].Store(true)
	eventually(t, "a is down", func() bool { return state(0).State == upstream.StateDown })
	if p := state(0).Problem; !strings.Contains(p, "503") {
		t.Errorf("the reason is %q", p)
	}
	for range 30 {
		if who := mustAsk(t, u); who != "1" {
			t.Fatalf("endpoint %s answered, and it is down", who)
		}
	}
	ill[1].Store(true)
	eventually(t, "both are down", func() bool { return state(1).State == upstream.StateDown })
	mustAsk(t, u) // and asked all the same
	ill[0].Store(false)
	eventually(t, "a is back", func() bool { return state(0).State == upstream.StateUp })
	if who := mustAsk(t, u); who != "0" {
		t.Error("b answered, and it is down")
	}
	// Without anybody who checks, what a check found does not stay.
	next, err := set.Reload(client(nil), map[string]config.Upstream{"up": entry(nil, a.url+"/base", b.url+"/base")})
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	set.Close()
	if e := next.Stats()[1].Upstream.Endpoints[1]; e.State == upstream.StateDown {
		t.Errorf("%+v, and nobody checks", e)
	}
}

// TestReloadKeepsWhatIsKnown reloads while one endpoint is down and the other has a queue. The new Set looks once, and that is not enough to
// find either anew.
func TestReloadKeepsWhatIsKnown(t *testing.T) {
	var broken atomic.Bool
	metrics := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
		io.WriteString(w, "gpustack:num_requests_waiting 50\n")
	})
	a, b := newBackend(t, "a", nil), newBackend(t, "b", nil)
	a.status.Store(http.StatusServiceUnavailable)
	watched := func(interval time.Duration) config.Upstream {
		return entry(func(c *config.Upstream) {
			c.Health.Path, c.Health.Failures, c.Health.Interval = "/healthz", 2, interval
			c.Endpoints[1].Metrics, c.Queue.Interval = metrics.URL, time.Hour
		}, a.url, b.url)
	}
	set, err := upstream.New(client(nil), map[string]config.Upstream{"up": watched(10 * time.Millisecond)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	known := func(set *upstream.Set) bool {
		return of(t, set, a).State == upstream.StateDown && of(t, set, b).Queued == 50
	}
	eventually(t, "a is down and b has a queue", func() bool { return known(set) })
	broken.Store(true)
	next, err := set.Reload(client(nil), map[string]config.Upstream{"up": watched(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	set.Close()
	if !known(next) {
		t.Errorf("after a reload: %+v and %+v", of(t, next, a), of(t, next, b))
	}
	next.Close() // and nobody looks any more
	if a, b := of(t, next, a), of(t, next, b); a.State == upstream.StateDown || b.Queued != 0 {
		t.Errorf("after the last set: %+v and %+v", a, b)
	}
}

// family is a context that counts the ones made of it which have not ended.
type family struct {
	context.Context
	done     chan struct{}
	children atomic.Int64
}

func (f *family) Done() <-chan struct{} { return f.done }

// AfterFunc is how package context asks a foreign context to tell of its end.
func (f *family) AfterFunc(func()) (stop func() bool) {
	var once sync.Once
	f.children.Add(1)
	return func() bool { once.Do(func() { f.children.Add(-1) }); return true }
}

// TestChecksLeaveNothing makes checks, good and bad, in a context that goes on as long as a Set.
func TestChecksLeaveNothing(t *testing.T) {
	b := newBackend(t, "b", nil)
	_, u := newUpstream(t, func(c *config.Upstream) { c.Health.Path, c.Health.Interval = "/healthz", time.Hour }, b.url)
	all := &family{Context: context.Background(), done: make(chan struct{})}
	for range 3 {
		if err := u.Check(all); err != nil {
			t.Fatal(err)
		}
	}
	b.kill()
	if err := u.Check(all); err == nil {
		t.Fatal("nobody is there, and the check went well")
	}
	eventually(t, "no check's context is left", func() bool { return all.children.Load() == 0 })
}

// TestQueueJoinsTheLoad gives one endpoint a queue of its own, which it tells of in its metrics.
func TestQueueJoinsTheLoad(t *testing.T) {
	var page atomic.Value
	var looks atomic.Int64
	var flaky atomic.Bool
	metrics := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if n := looks.Add(1); r.URL.Path == "/metrics" && !(flaky.Load() && n%3 != 0) {
			io.WriteString(w, page.Load().(string))
		}
	})
	page.Store("# TYPE gpustack:num_requests_waiting gauge\n" +
		"gpustack:num_requests_waiting{worker=\"1\",model=\"a b\"} 20\ngpustack:num_requests_waiting{worker=\"2\"} 30.0 1700000000000\nother 7\n")
	all := backends(t, "ab")
	set, u := newUpstream(t, func(c *config.Upstream) {
		c.Endpoints[0].Metrics = metrics.URL + "/metrics"
		c.Queue.Interval = 10 * time.Millisecond
	}, urls(all)...)
	queued := func(n float64) func() bool { return func() bool { return of(t, set, all[0]).Queued == n } }
	eventually(t, "50 wait", queued(50))
	for range 50 {
		if who := mustAsk(t, u); who != "b" {
			t.Fatalf("a answered, with 50 waiting inside")
		}
	}
	if e := of(t, set, all[0]); e.Load != 50 {
		t.Errorf("%+v, want a load of 50", e)
	}
	flaky.Store(true)
	for from := looks.Load(); looks.Load() < from+9; time.Sleep(time.Millisecond) {
		if n := of(t, set, all[0]).Queued; n != 50 {
			t.Fatalf("%v wait after a page or two that could not be read, want the last that could", n)
		}
	}
	page.Store("not metrics\n")
	eventually(t, "the figure is given up", queued(0))
	all[0].hits.Store(0)
	eventually(t, "a works again", func() bool { mustAsk(t, u); return all[0].hits.Load() > 0 })
}

func TestSumMetric(t *testing.T) {
	for page, want := range map[string]float64{
		"":                              -1,
		"m_total 3\n":                   -1,
		"m 3":                           3,
		"m 3\n# HELP m x\nm{a=\"b\"} 4": 7,
		"m NaN\nm{a=\"b\"} +Inf\nm{a=\"c\"} -4\nm{a=\"d\"} 1": 1,
		"broken{ 1\nm 2\n":           2,
		"m{a=\"1\" 2\n":              -1,
		"m x\n":                      -1,
		strings.Repeat("x", 300<<10): -1,
	} {
		got, err := upstream.SumMetric(strings.NewReader(page), "m")
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%.40q: %v, %v, want %v", page, got, err, want)
		}
	}
}

func FuzzSumMetric(f *testing.F) {
	f.Add("m{a=\"b\"} 3\nm 4 17000\n# TYPE m gauge\n")
	f.Add("m{a=\"\\\"}\n")
	f.Add("m 1e308\nm 1e308")
	f.Fuzz(func(t *testing.T, page string) {
		if sum, err := upstream.SumMetric(bufio.NewReader(strings.NewReader(page)), "m"); err == nil && !(sum >= 0 && sum < 1e18) {
			t.Errorf("%q sums up to %v", page, sum)
		}
	})
}

// TestLeavingEndpointDrains takes an endpoint out of the configuration while it answers.
func TestLeavingEndpointDrains(t *testing.T) {
	finish := make(chan struct{})
	slow := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, name)
			w.(http.Flusher).Flush()
			if r.Header.Get("Wait") != "" {
				<-finish
				io.WriteString(w, " to the end")
			}
		}
	}
	a, b := newBackend(t, "a", slow("a")), newBackend(t, "b", slow("b"))
	// Nothing closes by itself, and a session says who answers.
	long := func(c *config.Upstream) { c.IdleTimeout, c.Sticky = time.Hour, "session" }
	set, u := newUpstream(t, long, a.url, b.url)
	session := map[string]string{}
	for i := 0; i < 50 || len(session) < 2; i++ {
		s := fmt.Sprint(i)
		session[mustAsk(t, u, "Session", s)] = s
	}
	streams := map[string]*http.Response{}
	for name, s := range session {
		to, _ := u.URL("/", "")
		req := get(t, t.Context(), to.String())
		req.Header.Set("Wait", "1")
		req.Header.Set("Session", s)
		resp, err := u.Do(req, local)
		if err != nil {
			t.Fatal(err)
		}
		who := make([]byte, 1)
		if _, err := io.ReadFull(resp.Body, who); err != nil || string(who) != name {
			t.Fatalf("%s answered session %s: %v", who, s, err)
		}
		streams[name] = resp
	}
	for _, s := range session { // beside the streams
		mustAsk(t, u, "Session", s)
	}
	next, err := set.Reload(client(nil), map[string]config.Upstream{"up": entry(long, b.url)})
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	dials := next.Stats()[1].Dials
	set.Close()
	eventually(t, "idle connections to a close", func() bool { return a.conns.Load() == 1 })
	v, _ := next.Named("up")
	for range 20 {
		if who := mustAsk(t, v); who != "b" {
			t.Fatal("a was asked, which left")
		}
	}
	if who := mustAsk(t, u, "Session", session["a"]); who != "a" { // a late call of whoever still has the old set
		t.Errorf("%s answered", who)
	}
	eventually(t, "the late call's connection closes", func() bool { return a.conns.Load() == 1 })
	close(finish)
	for name, resp := range streams {
		rest, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(rest) != " to the end" {
			t.Errorf("the stream of %s ended as %q, %v", name, rest, err)
		}
	}
	eventually(t, "no connection to a is left", func() bool { return a.conns.Load() == 0 })
	if now := next.Stats()[1].Dials; now > dials+1 {
		t.Errorf("%d dials more, and b stayed", now-dials)
	}
}
