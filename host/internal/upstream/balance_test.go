package upstream_test

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// TestSlowEndpointGetsLittle has one endpoint that takes ten times as long as the two others.
func TestSlowEndpointGetsLittle(t *testing.T) {
	for _, callers := range []int{1, 4, 16} {
		t.Run(strconv.Itoa(callers), func(t *testing.T) {
			t.Parallel()
			all := backends(t, "abc")
			for _, b := range all {
				b.delay.Store(int64(50 * time.Millisecond)) // so long that a busy machine hardly adds to it
			}
			all[0].delay.Store(int64(500 * time.Millisecond))
			_, u := newUpstream(t, nil, urls(all)...)
			var left atomic.Int64
			left.Store(int64(50 + 35*callers))
			var work sync.WaitGroup
			for range callers {
				work.Go(func() {
					for left.Add(-1) >= 0 {
						mustAsk(t, u)
					}
				})
			}
			work.Wait()
			slow, sum := all[0].hits.Load(), all[0].hits.Load()+all[1].hits.Load()+all[2].hits.Load()
			if float64(slow) >= 0.1*float64(sum) || slow == 0 {
				t.Errorf("the slow endpoint got %d of %d calls, want some and under a tenth", slow, sum)
			}
			for _, b := range all[1:] {
				if share := float64(b.hits.Load()) / float64(sum); share < 0.3 {
					t.Errorf("%s got %.2f of the calls, want about half", b.name, share)
				}
			}
		})
	}
}

// TestTheWaitForAPlaceIsNotTheEndpoints: an upstream whose pool is full does not make its endpoints look slow.
func TestTheWaitForAPlaceIsNotTheEndpoints(t *testing.T) {
	open := make(chan struct{})
	b := newBackend(t, "b", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush() // the head is quick, the body holds the connection
		<-open
	})
	set, u := newUpstream(t, func(c *config.Upstream) { c.MaxConns = 1 }, b.url)
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() { ask(t.Context(), u, http.MethodGet, "") })
	}
	eventually(t, "three wait", func() bool { return u.Pool().Stats().Waiting == 3 })
	time.Sleep(2 * time.Second)
	close(open)
	work.Wait()
	if e := of(t, set, b); e.Calls != 4 || e.HeadMillis > 500 {
		t.Errorf("%d calls took %.0f ms to their head, and waited 2 s for the pool", e.Calls, e.HeadMillis)
	}
}

// TestWeights calls one after the other, and then many at once. A machine that stalls makes an endpoint look slow, which then rightly gets less: so
// it may take more than one try.
func TestWeights(t *testing.T) {
	all := backends(t, "ab")
	for _, b := range all {
		b.delay.Store(int64(2 * time.Millisecond))
	}
	for how, callers := range map[string]int{"one by one": 1, "40 at once": 40} {
		var shares []float64
		right := false
		for len(shares) < 10 && !right {
			_, u := newUpstream(t, func(c *config.Upstream) { c.Endpoints[1].Weight = 4 }, urls(all)...)
			var work sync.WaitGroup
			for range callers {
				work.Go(func() {
					for range 200 / callers * min(callers, 8) {
						mustAsk(t, u)
					}
				})
			}
			work.Wait()
			a, b := all[0].hits.Swap(0), all[1].hits.Swap(0)
			share := float64(b) / float64(a+b)
			shares, right = append(shares, share), share >= 0.6 && share <= 0.95
		}
		if !right {
			t.Errorf("%s: the endpoint with weight 4 beside 1 got %.2f", how, shares)
		}
	}
}

func TestSticky(t *testing.T) {
	all := backends(t, "abcd")
	sticky := func(c *config.Upstream) { c.Sticky = "x-session-id" }
	set, u := newUpstream(t, sticky, urls(all[:3])...)
	const sessions = 300
	where := func() (m [sessions]string) {
		t.Helper()
		for i := range m {
			m[i] = mustAsk(t, u, "X-Session-Id", fmt.Sprint("session ", i))
		}
		return m
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
	_, u := newUpstream(t, nil, a.url+"/gpu", b.url+"/v1-openai/chat/completions")
	for path, want := range map[string][2]string{
		"/v1/models":           {"a/gpu/v1/models?q=1", "b/v1/models?q=1"},
		"/v1/chat/completions": {"a/gpu/v1/chat/completions?q=1", "b/v1-openai/chat/completions?q=1"},
		"/files/a%2Fb%20c":     {"a/gpu/files/a%2Fb%20c?q=1", "b/files/a%2Fb%20c?q=1"},
	} {
		got := map[string]bool{}
		for range 40 {
			to, err := u.URL(path, "q=1")
			if err != nil {
				t.Fatal(err)
			}
			resp, err := u.Do(get(t, t.Context(), to.String()), local)
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
