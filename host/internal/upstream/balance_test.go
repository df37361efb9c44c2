package upstream_test

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// TestSlowEndpointGetsLittle has one endpoint that takes ten times as long as the two others.
func TestSlowEndpointGetsLittle(t *testing.T) {
	for _, callers := range []int{1, 4, 16} {
		t.Run(strconv.Itoa(callers), func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *memory) {
				all := m.backends(t, "abc")
				for _, b := range all {
					b.delay.Store(int64(50 * time.Millisecond))
				}
				all[0].delay.Store(int64(500 * time.Millisecond))
				_, u := m.upstream(t, nil, urls(all)...)
				const calls = 480
				work(callers, calls/callers, func() { mustAsk(t, u) })
				slow := all[0].hits.Load()
				if slow*10 >= calls || slow < 3 {
					t.Errorf("the slow endpoint got %d of %d calls, want some and under a tenth", slow, calls)
				}
				for _, b := range all[1:] {
					if n := b.hits.Load(); n*10 < calls*3 {
						t.Errorf("%s got %d of %d calls, want about half", b.name, n, calls)
					}
				}
			})
		})
	}
}

// work calls f so many times from each of the callers.
func work(callers, each int, f func()) {
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range each {
				f()
			}
		})
	}
	all.Wait()
}

// TestNewEndpointIsTried reloads with an endpoint beside one that is not quick. Which of them is drawn first is left to chance; the new one
// gets the first call all the same, and from then on both are known, and alike.
func TestNewEndpointIsTried(t *testing.T) {
	for range 20 {
		inBubble(t, func(t *testing.T, m *memory) {
			all := m.backends(t, "ab")
			for _, b := range all {
				b.delay.Store(int64(50 * time.Millisecond))
			}
			set, u := m.upstream(t, nil, all[0].url)
			work(1, 5, func() { mustAsk(t, u) })
			next, err := set.Reload(client(nil), map[string]config.Upstream{"up": entry(nil, urls(all)...)})
			if err != nil {
				t.Fatal(err)
			}
			defer next.Close()
			u, _ = next.Named("up")
			if who := mustAsk(t, u); who != "b" {
				t.Errorf("%s got the call, and of b nothing is known", who)
			}
			work(1, 200, func() { mustAsk(t, u) })
			if a := all[0].hits.Load() - 5; a < 40 || a > 160 {
				t.Errorf("a got %d of 200 calls", a)
			}
		})
	}
}

// TestFailingIsNotQuick: an endpoint that fails at once does not draw calls away from one that takes its time.
func TestFailingIsNotQuick(t *testing.T) {
	inBubble(t, func(t *testing.T, m *memory) {
		all := m.backends(t, "ab")
		all[0].status.Store(http.StatusBadGateway)
		all[1].delay.Store(int64(50 * time.Millisecond))
		_, u := m.upstream(t, func(c *config.Upstream) {
			c.Retry.Max, c.Health.Failures, c.Breaker.FailureRate = 0, 0, 0
		}, urls(all)...)
		work(1, 400, func() { _, _, _ = ask(t.Context(), u, http.MethodGet, "") })
		if a := all[0].hits.Load(); a < 130 || a > 270 {
			t.Errorf("the one that fails got %d of 400 calls, want about half", a)
		}
	})
}

// TestTheWaitForAPlaceIsNotTheEndpoints: an upstream whose pool is full does not make its endpoints look slow.
func TestTheWaitForAPlaceIsNotTheEndpoints(t *testing.T) {
	inBubble(t, func(t *testing.T, m *memory) {
		b := m.backends(t, "b")[0]
		b.handle = func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Millisecond)
			w.(http.Flusher).Flush() // the head is quick, the body holds the connection
			time.Sleep(2 * time.Second)
		}
		set, u := m.upstream(t, func(c *config.Upstream) { c.MaxConns = 1 }, b.url)
		began := time.Now()
		work(4, 1, func() { mustAsk(t, u) })
		if took := time.Since(began); took < 8*time.Second {
			t.Fatalf("four calls one after the other took %v", took)
		}
		if e := of(t, set, b); e.Calls != 4 || e.HeadMillis > 1.001 {
			t.Errorf("%d calls took %v ms to their head, and waited for seconds for the pool", e.Calls, e.HeadMillis)
		}
	})
}

// TestWeights calls one after the other, and then many at once.
func TestWeights(t *testing.T) {
	for how, callers := range map[string]int{"one by one": 1, "40 at once": 40} {
		inBubble(t, func(t *testing.T, m *memory) {
			all := m.backends(t, "ab")
			for _, b := range all {
				b.delay.Store(int64(2 * time.Millisecond))
			}
			_, u := m.upstream(t, func(c *config.Upstream) { c.Endpoints[1].Weight = 4 }, urls(all)...)
			work(callers, 1000/callers, func() { mustAsk(t, u) })
			a, b := all[0].hits.Load(), all[1].hits.Load()
			if share := float64(b) / float64(a+b); share < 0.7 || share > 0.9 { // one by one it is drawn: 0.8, give or take 0.013
				t.Errorf("%s: the endpoint with weight 4 beside 1 got %.3f", how, share)
			}
		})
	}
}

// TestSticky has endpoints whose names, and so the sessions of each, are always the same.
func TestSticky(t *testing.T) { inBubble(t, testSticky) }

func testSticky(t *testing.T, m *memory) {
	all := m.backends(t, "abcd")
	sticky := func(c *config.Upstream) { c.Sticky = "x-session-id" }
	set, u := m.upstream(t, sticky, urls(all[:3])...)
	const sessions = 300
	where := func() (at [sessions]string) {
		t.Helper()
		for i := range at {
			at[i] = mustAsk(t, u, "X-Session-Id", fmt.Sprint("session ", i))
		}
		return at
	}
	first := where()
	if again := where(); again != first {
		t.Error("a session moved and nothing had changed")
	}
	count := map[string]int{}
	for _, name := range first {
		count[name]++
	}
	for _, b := range all[:3] {
		if n := count[b.name]; n < sessions/3-60 || n > sessions/3+60 {
			t.Errorf("%s has %d of %d sessions", b.name, n, sessions)
		}
	}
	reload := func(change func(*config.Upstream), urls ...string) {
		t.Helper()
		next, err := set.Reload(client(nil), map[string]config.Upstream{"up": entry(change, urls...)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(next.Close)
		set.Close()
		set = next
		u, _ = set.Named("up")
	}

	reload(sticky, urls(all)...) // one comes
	second := where()
	moved := 0
	for i := range second {
		if second[i] != first[i] {
			moved++
			if second[i] != "d" {
				t.Fatalf("session %d moved from %s to %s, which was there before", i, first[i], second[i])
			}
		}
	}
	if moved < sessions/4-50 || moved > sessions/4+50 {
		t.Errorf("%d of %d sessions moved, want about a quarter", moved, sessions)
	}

	reload(sticky, urls(all[1:])...) // one goes
	for i, name := range where() {
		if second[i] != "a" && name != second[i] {
			t.Fatalf("session %d moved from %s, which stays, to %s", i, second[i], name)
		}
	}
	// Without the header there is nothing to stick to.
	for _, b := range all {
		b.hits.Store(0)
	}
	for range 100 {
		mustAsk(t, u)
	}
	for _, b := range all[1:] {
		if b.hits.Load() == 0 {
			t.Errorf("%s got no call without a session", b.name)
		}
	}
}

// TestPathsFollowTheEndpoint balances over endpoints that have prefixes and a chat address of their own.
func TestPathsFollowTheEndpoint(t *testing.T) {
	seen := make(chan string, 1)
	tell := func(name string) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) {
			seen <- name + r.URL.EscapedPath() + "?" + r.URL.RawQuery
		}
	}
	a, b := newBackend(t, "a", tell("a")), newBackend(t, "b", tell("b"))
	sticky := func(c *config.Upstream) { c.Sticky = "session" } // whatever the endpoints' speed, each has half of the sessions
	_, u := newUpstream(t, sticky, a.url+"/gpu", b.url+"/v1-openai/chat/completions")
	for path, want := range map[string][2]string{
		"/v1/models":           {"a/gpu/v1/models?q=1", "b/v1/models?q=1"},
		"/v1/chat/completions": {"a/gpu/v1/chat/completions?q=1", "b/v1-openai/chat/completions?q=1"},
		"/files/a%2Fb%20c":     {"a/gpu/files/a%2Fb%20c?q=1", "b/files/a%2Fb%20c?q=1"},
	} {
		got := map[string]bool{}
		for session := range 60 {
			to, err := u.URL(path, "q=1")
			if err != nil {
				t.Fatal(err)
			}
			req := get(t, t.Context(), to.String())
			req.Header.Set("Session", fmt.Sprint(session))
			resp, err := u.Do(req, local)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			got[<-seen] = true
		}
		if len(got) != 2 || !got[want[0]] || !got[want[1]] {
			t.Errorf("%s arrived as %v, want %v", path, got, want)
		}
	}
}
