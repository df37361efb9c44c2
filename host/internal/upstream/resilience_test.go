package upstream_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
)

// TestBreaker opens, half-opens and closes the breaker of an upstream that fails and heals.
func TestBreaker(t *testing.T) { inBubble(t, testBreaker) }

func testBreaker(t *testing.T, m *memory) {
	b := m.backend(t, "b", nil)
	set, u := m.upstream(t, func(c *config.Upstream) {
		c.Retry.Max = 0
		c.Breaker = config.Breaker{FailureRate: 0.5, MinCalls: 10, Window: time.Minute, Open: 100 * time.Millisecond, Trials: 2}
	}, b.url)
	call := func() error {
		_, _, err := ask(t.Context(), u, http.MethodPost, "x")
		return err
	}
	for range 6 {
		mustAsk(t, u)
	}
	b.status.Store(http.StatusBadGateway)
	failures := 0
	for ; state(set).Breaker == "closed"; failures++ {
		if err := call(); err != nil {
			t.Fatal(err)
		}
	}
	if failures != 6 {
		t.Errorf("open after %d failures beside 6 good calls, want 6", failures)
	}
	hits := b.hits.Load()
	err := call()
	var open *upstream.Open
	if !unavailable(err) || !errors.As(err, &open) || open.RetryAfter() <= 0 || open.RetryAfter() > 100*time.Millisecond {
		t.Fatalf("open: %v", err)
	}
	if !strings.Contains(err.Error(), "upstreams.up.breaker") {
		t.Errorf("%q does not name the setting", err)
	}
	body := &closer{Reader: strings.NewReader("x")}
	req, reqErr := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url, body)
	if reqErr != nil {
		t.Fatal(reqErr)
	}
	if _, err := u.Do(req, local); !unavailable(err) || !body.closed {
		t.Errorf("%v, and the body of the request is closed: %v", err, body.closed)
	}
	if b.hits.Load() != hits {
		t.Error("a call reached the upstream while the breaker was open")
	}

	// Trials that fail open it again.
	half := func() bool { return state(set).Breaker == "half-open" }
	eventually(t, "half-open", half)
	for range 2 {
		if err := call(); err != nil {
			t.Fatalf("a trial: %v", err)
		}
	}
	if err := call(); !unavailable(err) {
		t.Errorf("after the trials: %v", err)
	}

	// Trials that nobody waited for do not keep their places.
	eventually(t, "half-open", half)
	b.delay.Store(int64(300 * time.Millisecond))
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if _, _, err := ask(ctx, u, http.MethodGet, ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a trial with a short deadline: %v", err)
		}
		cancel()
	}
	eventually(t, "half-open", half)
	b.delay.Store(0)
	b.status.Store(0)
	mustAsk(t, u)
	if got := state(set).Breaker; got != "closed" {
		t.Errorf("after a trial that went well the breaker is %s", got)
	}
	for range 20 {
		mustAsk(t, u)
	}
	if n := state(set).Refused; n != 3 {
		t.Errorf("%d calls refused, want 3", n)
	}
}

// TestLateCallIsNoTrial ends a call that began before the breaker opened, while it is half-open and its one trial is under way.
func TestLateCallIsNoTrial(t *testing.T) {
	waits := map[string]chan int{"late": make(chan int), "trial": make(chan int)}
	arrived := make(chan struct{})
	b := newBackend(t, "b", func(w http.ResponseWriter, r *http.Request) {
		status := http.StatusBadGateway
		if wait := waits[r.Header.Get("Name")]; wait != nil {
			arrived <- struct{}{}
			status = <-wait
		}
		w.WriteHeader(status)
	})
	for _, c := range []struct {
		late, trial int
		want        string
	}{{200, 502, "open"}, {502, 200, "closed"}} {
		set, u := newUpstream(t, func(c *config.Upstream) {
			c.Breaker = config.Breaker{FailureRate: 0.5, MinCalls: 1, Window: time.Minute, Open: 50 * time.Millisecond, Trials: 1}
		}, b.url)
		ended := map[string]chan struct{}{}
		begin := func(name string) {
			done := make(chan struct{})
			ended[name] = done
			go func() {
				defer close(done)
				ask(t.Context(), u, http.MethodPost, "", "Name", name)
			}()
			<-arrived
		}
		end := func(name string, status int) {
			waits[name] <- status
			<-ended[name]
		}
		begin("late")
		ask(t.Context(), u, http.MethodPost, "")
		eventually(t, "half-open", func() bool { return state(set).Breaker == "half-open" })
		begin("trial")
		end("late", c.late)
		if got := state(set).Breaker; got != "half-open" {
			t.Errorf("a late call that ended with %d made the breaker %s", c.late, got)
		}
		end("trial", c.trial)
		if got := state(set).Breaker; got != c.want && !(c.want == "open" && got == "half-open") { // the machine may have stalled
			t.Errorf("a trial that ended with %d made the breaker %s, want %s", c.trial, got, c.want)
		}
	}
}

// TestBreakerGoesOn reloads while the breaker is open.
func TestBreakerGoesOn(t *testing.T) {
	breaker := func(open time.Duration) func(*config.Upstream) {
		return func(c *config.Upstream) {
			c.Breaker = config.Breaker{FailureRate: 0.5, MinCalls: 1, Window: time.Minute, Open: open, Trials: 1}
		}
	}
	b := newBackend(t, "b", nil)
	b.status.Store(http.StatusBadGateway)
	set, u := newUpstream(t, breaker(time.Hour), b.url)
	ask(t.Context(), u, http.MethodPost, "")
	for _, c := range []struct {
		open time.Duration
		want string
	}{{time.Hour, "open"}, {time.Minute, "closed"}} {
		next, err := set.Reload(client(nil), map[string]config.Upstream{"up": entry(breaker(c.open), b.url)})
		if err != nil {
			t.Fatal(err)
		}
		if got := state(next).Breaker; got != c.want {
			t.Errorf("reloaded with open: %v, the breaker is %s, want %s", c.open, got, c.want)
		}
		next.Close()
	}
}

// answers is a server that gives the statuses in turn, and then 200.
func answers(t *testing.T, retryAfter string, statuses ...int) (*backend, *[]time.Time) {
	h, times := answering(retryAfter, statuses...)
	return newBackend(t, "b", h), times
}

func answering(retryAfter string, statuses ...int) (http.HandlerFunc, *[]time.Time) {
	var mu sync.Mutex
	var times []time.Time
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		times = append(times, time.Now())
		io.Copy(io.Discard, r.Body)
		if n := len(times); n <= len(statuses) && statuses[n-1] == 0 {
			panic(http.ErrAbortHandler)
		} else if n <= len(statuses) {
			w.Header().Set("Retry-After", retryAfter)
			w.WriteHeader(statuses[n-1])
			io.WriteString(w, "failed")
			return
		}
		io.WriteString(w, "fine")
	}, &times
}

func TestWhatIsRetried(t *testing.T) {
	for name, c := range map[string]struct {
		method, body string
		idempotent   bool
		statuses     []int // 0 cuts the connection
		status       int
		calls        int
		err          error
	}{
		"GET":                       {method: "GET", statuses: []int{503, 502}, status: 200, calls: 3},
		"HEAD":                      {method: "HEAD", statuses: []int{504}, status: 200, calls: 2},
		"OPTIONS":                   {method: "OPTIONS", statuses: []int{429}, status: 200, calls: 2},
		"a cut":                     {method: "GET", statuses: []int{0, 0}, status: 200, calls: 3},
		"three times":               {method: "GET", statuses: []int{503, 503, 503, 503}, status: 503, calls: 3},
		"a chat":                    {method: "POST", body: "x", statuses: []int{503}, status: 503, calls: 1},
		"a chat that is cut":        {method: "POST", body: "x", statuses: []int{0}, calls: 1, err: upstream.ErrReset},
		"what a plugin calls so":    {method: "POST", body: "x", idempotent: true, statuses: []int{503, 0}, status: 200, calls: 3},
		"another method":            {method: "DELETE", statuses: []int{503}, status: 503, calls: 1},
		"a status that is no fault": {method: "GET", statuses: []int{404}, status: 404, calls: 1},
		"a status of the service":   {method: "GET", statuses: []int{500}, status: 500, calls: 1},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := answers(t, "", c.statuses...)
			set, u := newUpstream(t, func(c *config.Upstream) { c.Retry.Delay, c.Retry.MaxDelay = time.Millisecond, time.Millisecond }, b.url)
			ctx := t.Context()
			if c.idempotent {
				ctx = upstream.Idempotent(ctx)
			}
			status, body, err := ask(ctx, u, c.method, c.body)
			if status != c.status || !errors.Is(err, c.err) || int(b.hits.Load()) != c.calls {
				t.Errorf("status %d, %v after %d calls, want %d, %v after %d", status, err, b.hits.Load(), c.status, c.err, c.calls)
			}
			if want := map[bool]string{true: "fine", false: "failed"}[c.status == 200]; err == nil && c.method != "HEAD" && body != want {
				t.Errorf("the body is %q, want %q", body, want)
			}
			if n := int(state(set).Retries); n != c.calls-1 {
				t.Errorf("%d retries counted, want %d", n, c.calls-1)
			}
			if s := set.Stats()[1]; s.InUse != 0 || of(t, set, b).InFlight != 0 {
				t.Errorf("afterwards: %+v", s)
			}
		})
	}
}

// TestStreamIsNotRetried sends a body that is there only once.
func TestStreamIsNotRetried(t *testing.T) {
	b, _ := answers(t, "", 503)
	_, u := newUpstream(t, nil, b.url)
	req, err := http.NewRequestWithContext(upstream.Idempotent(t.Context()), http.MethodPut, b.url, io.MultiReader(strings.NewReader("x")))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := u.Do(req, local)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 503 || b.hits.Load() != 1 {
		t.Errorf("status %d after %d calls", resp.StatusCode, b.hits.Load())
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	b, times := answers(t, "1", 503)
	_, u := newUpstream(t, nil, b.url)
	if got, _, err := ask(t.Context(), u, http.MethodGet, ""); err != nil || got != 200 {
		t.Fatalf("status %d, %v", got, err)
	}
	if gap := (*times)[1].Sub((*times)[0]); gap < time.Second {
		t.Errorf("asked again after %v, and it said 1 s", gap)
	}
	// One that is too long is the caller's to wait for.
	for name, value := range map[string]string{"seconds": "60", "a date": time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)} {
		b, _ = answers(t, value, 429)
		_, u = newUpstream(t, nil, b.url)
		to, _ := u.URL("/", "")
		resp, err := u.Do(get(t, t.Context(), to.String()), local)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 429 || resp.Header.Get("Retry-After") != value || string(body) != "failed" || err != nil || b.hits.Load() != 1 {
			t.Errorf("%s: status %d, %q, %v after %d calls", name, resp.StatusCode, body, err, b.hits.Load())
		}
	}
}

// TestNoTimeToWait has no time for the longest that chance may make of a sleep: the answer is better than none.
func TestNoTimeToWait(t *testing.T) {
	for name, c := range map[string]struct {
		after                    string
		delay, maxWait, deadline time.Duration
	}{
		"a Retry-After past the deadline":      {"2", 0, time.Minute, time.Second},
		"a Retry-After that may pass it":       {"2", 0, time.Minute, 2500 * time.Millisecond},
		"a Retry-After that may pass max_wait": {"1", 0, time.Second, time.Minute},
		"a back-off past the deadline":         {"", 2 * time.Second, 0, time.Second},
		"a back-off that may pass it":          {"", 2 * time.Second, 0, 2100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *memory) {
				h, _ := answering(c.after, 503)
				b := m.backend(t, "b", h)
				_, u := m.upstream(t, func(u *config.Upstream) {
					u.Retry.Delay, u.Retry.MaxWait = max(c.delay, time.Millisecond), c.maxWait
					u.Retry.MaxDelay = time.Minute
				}, b.url)
				ctx, cancel := context.WithTimeout(t.Context(), c.deadline)
				defer cancel()
				if status, _, err := ask(ctx, u, http.MethodGet, ""); status != 503 || err != nil || b.hits.Load() != 1 {
					t.Errorf("status %d, %v after %d calls, want the answer itself", status, err, b.hits.Load())
				}
			})
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-1": 0, "1.5": 0, "99999999999999": 0, "soon": 0,
		"Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second, "Fri, 02 Jan 2026 03:04:00 GMT": 0,
	} {
		if got := upstream.RetryAfter(value, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

// TestRetryGoesElsewhere has one endpoint that is always at fault.
func TestRetryGoesElsewhere(t *testing.T) {
	all := backends(t, "ab")
	all[0].status.Store(http.StatusServiceUnavailable)
	_, u := newUpstream(t, func(c *config.Upstream) {
		c.Retry.Max, c.Retry.Budget, c.Retry.Delay = 1, 1, time.Millisecond
	}, urls(all)...)
	for range 100 {
		if who := mustAsk(t, u); who != "b" {
			t.Fatalf("%s answered", who)
		}
	}
	if all[0].hits.Load() == 0 {
		t.Error("a was never asked, so this shows nothing")
	}
}

// TestBudgetBoundsRetries sends 2,000 calls to an upstream that is out.
func TestBudgetBoundsRetries(t *testing.T) {
	const calls = 2000
	for name, dead := range map[string]bool{"503": false, "cuts": true} {
		t.Run(name, func(t *testing.T) {
			b := newBackend(t, "b", func(w http.ResponseWriter, _ *http.Request) {
				if dead {
					panic(http.ErrAbortHandler)
				}
				w.WriteHeader(503)
				io.WriteString(w, "out")
			})
			set, u := newUpstream(t, func(c *config.Upstream) {
				c.Retry.Delay, c.Retry.MaxDelay, c.Breaker.FailureRate = time.Millisecond, time.Millisecond, 0
			}, b.url)
			var left atomic.Int64
			left.Store(calls)
			var work sync.WaitGroup
			for range 50 {
				work.Go(func() {
					for left.Add(-1) >= 0 {
						status, body, err := ask(t.Context(), u, http.MethodGet, "")
						if dead && err == nil || !dead && (status != 503 || body != "out") {
							t.Errorf("status %d, %q, %v, want the failure itself", status, body, err)
						}
					}
				})
			}
			work.Wait()
			if hits := b.hits.Load(); hits > calls*111/100+10 || hits < calls*109/100 {
				t.Errorf("%d calls became %d, want about a tenth more", calls, hits)
			}
			if s := state(set); s.OverBudget == 0 || s.Retries != uint64(b.hits.Load()-calls) {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestCancelWhileWaitingToRetry gives up between two attempts.
func TestCancelWhileWaitingToRetry(t *testing.T) {
	b, _ := answers(t, "", 503, 503)
	set, u := newUpstream(t, func(c *config.Upstream) { c.Retry.Delay, c.Retry.MaxDelay = time.Minute, time.Minute }, b.url)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the client left")
	done := make(chan error)
	go func() {
		_, _, err := ask(ctx, u, http.MethodGet, "")
		done <- err
	}()
	eventually(t, "the first attempt is over", func() bool { return of(t, set, b).Calls == 1 })
	cancel(why)
	if err := <-done; !errors.Is(err, context.Canceled) || !errors.Is(err, why) {
		t.Errorf("%v, want context.Canceled and its cause", err)
	}
	if s := set.Stats()[1]; s.InUse != 0 {
		t.Errorf("a place was kept: %+v", s)
	}
}

// TestUnreachableIsNotSent sends chats to an upstream one of whose endpoints is not there.
func TestUnreachableIsNotSent(t *testing.T) {
	b := newBackend(t, "b", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	nobody := "http://" + nobody(t)
	set, u := newUpstream(t, func(c *config.Upstream) { c.Retry.Max, c.Health.Failures = 0, 0 }, nobody, b.url)
	for range 40 {
		if status, body, err := ask(t.Context(), u, http.MethodPost, "the prompt"); status != 200 || body != "the prompt" || err != nil {
			t.Fatalf("status %d, %q, %v", status, body, err)
		}
	}
	s := state(set)
	if s.Failovers == 0 || s.Retries != 0 || b.hits.Load() != 40 {
		t.Errorf("%+v with %d calls to the other endpoint", s, b.hits.Load())
	}
	// With nobody at all the connection's error comes back.
	set, u = newUpstream(t, func(c *config.Upstream) { c.Retry.Max = 0 }, nobody, nobody+"/b", nobody+"/c", nobody+"/d")
	if _, _, err := ask(t.Context(), u, http.MethodPost, "x"); !errors.Is(err, upstream.ErrConnect) {
		t.Errorf("%v, want ErrConnect", err)
	}
	if n := state(set).Failovers; n != 2 {
		t.Errorf("%d failovers counted of 3 endpoints that were dialled, want 2", n)
	}
}

// TestRedialFails lets an endpoint die under a request on a connection that has served before. The request goes to the other
// endpoint, where it is sent once, even if that one dies in the same way.
func TestRedialFails(t *testing.T) {
	for name, c := range map[string]struct {
		method string
		max    int // retries
		both   bool
		who    string
		err    error
	}{
		"a chat":                  {http.MethodPost, 2, false, "b", nil},
		"a chat that kills both":  {http.MethodPost, 2, true, "", upstream.ErrReset},
		"GET, not to be repeated": {http.MethodGet, 0, true, "", upstream.ErrReset},
	} {
		t.Run(name, func(t *testing.T) {
			var a, b *backend
			die := func(name string, who **backend, always bool) {
				*who = newBackend(t, name, func(w http.ResponseWriter, r *http.Request) {
					if always && r.Header.Get("Die") != "" {
						(*who).kill()
						panic(http.ErrAbortHandler)
					}
					io.WriteString(w, name)
				})
			}
			die("a", &a, true)
			die("b", &b, c.both)
			set, u := newUpstream(t, func(u *config.Upstream) { u.Retry.Max, u.Sticky = c.max, "session" }, a.url, b.url)
			session := map[string]string{} // of each endpoint, which has a connection then
			for i := 1; len(session) < 2; i++ {
				s := strings.Repeat("0", i)
				session[mustAsk(t, u, "Session", s)] = s
			}
			before := b.hits.Load()
			_, who, err := ask(t.Context(), u, c.method, "", "Session", session["a"], "Die", "1")
			if who != c.who || !errors.Is(err, c.err) {
				t.Errorf("%q, %v, want %q, %v", who, err, c.who, c.err)
			}
			if n := b.hits.Load() - before; n != 1 {
				t.Errorf("%d calls to the other endpoint, want 1", n)
			}
			if e := of(t, set, a); e.Failures != 1 || e.InFlight != 0 {
				t.Errorf("%+v, want one failure", e)
			}
		})
	}
}

func TestMaxWaiting(t *testing.T) {
	g := newGate(serverURL(t))
	p := newPool(t, func(c *config.Client) { c.MaxConns, c.MaxWaiting = 1, 2 })
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() { mustFetch(t, p, g.url, local) })
	}
	eventually(t, "1 runs and 2 wait", func() bool { return len(g.arrived()) == 1 && p.Stats().Waiting == 2 })
	body := &closer{Reader: strings.NewReader("x")}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url, body)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Do(req, local)
	var full *upstream.PoolFull
	if !unavailable(err) || !errors.As(err, &full) || full.RetryAfter() <= 0 || !body.closed {
		t.Errorf("%v, want a PoolFull and the body closed", err)
	}
	for _, want := range []string{"shared", "2 calls", "client.max_waiting"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	close(g.open)
	all.Wait()
	if s := p.Stats(); s.TurnedAway != 1 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
}

func TestTimeoutHeader(t *testing.T) {
	seen := make(chan string, 1)
	b := newBackend(t, "b", func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header.Get("X-Timeout-Ms") })
	_, u := newUpstream(t, func(c *config.Upstream) { c.TimeoutHeader = "x-timeout-ms" }, b.url)
	if _, _, err := ask(t.Context(), u, http.MethodGet, ""); err != nil {
		t.Fatal(err)
	}
	if got := <-seen; got != "600000" {
		t.Errorf("without a deadline the upstream was told %q, want its response_timeout", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req := get(t, ctx, b.url)
	resp, err := u.Do(req, local)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := <-seen; len(got) != 5 || got < "50000" || got > "60000" {
		t.Errorf("the upstream was told %q, want just under 60000", got)
	}
	if len(req.Header) != 0 {
		t.Error("the caller's request was changed")
	}
}

func TestTrafficAndDials(t *testing.T) {
	local := func(url string) string { return strings.Replace(url, "127.0.0.1", "localhost", 1) }
	set, u := newUpstream(t, nil, local(newServer(t, hello).URL))
	mustAsk(t, u)
	s := set.Stats()[1]
	e := s.Upstream.Endpoints[0]
	if s.BytesIn == 0 || s.BytesOut == 0 || e.BytesIn != s.BytesIn || e.BytesOut != s.BytesOut {
		t.Errorf("bytes in %d and %d, out %d and %d", s.BytesIn, e.BytesIn, s.BytesOut, e.BytesOut)
	}
	if s.ConnectMillis <= 0 || s.DNSMillis <= 0 || e.ConnectMillis != s.ConnectMillis || e.DNSMillis != s.DNSMillis || s.ConnectSeconds <= 0 {
		t.Errorf("times %+v", s)
	}
	if e.Open != 1 || e.Idle != 1 || e.HeadMillis <= 0 || e.Dials != 1 || e.DialErrors != 0 {
		t.Errorf("%+v", e)
	}
	set, u = newUpstream(t, nil, local("http://"+nobody(t)))
	if _, _, err := ask(t.Context(), u, http.MethodPost, ""); !errors.Is(err, upstream.ErrConnect) {
		t.Fatal(err)
	}
	s = set.Stats()[1]
	if e = s.Upstream.Endpoints[0]; e.Dials != s.Dials || e.DialErrors != s.DialErrors || e.DialErrors == 0 || e.Dials != e.DialErrors {
		t.Errorf("dials %d and %d, failed ones %d and %d", s.Dials, e.Dials, s.DialErrors, e.DialErrors)
	}
}
