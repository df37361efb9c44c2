package upstream_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
)

func TestSetRefusesBadSettings(t *testing.T) {
	_, err := upstream.New(config.Client{MaxIdleConns: -1, ChunkTimeout: -time.Second}, map[string]config.Upstream{
		"shared": {Endpoints: addresses("http://h"), MaxConns: 1},
		"a":      {MaxConns: 1},
		"b":      {Endpoints: addresses("http://h")},
	}, nil)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"client.max_conns", "client.max_idle_conns", "client.chunk_timeout", "upstreams.shared", "upstreams.a.endpoints", "upstreams.b.max_conns",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not mention %s", err, want)
		}
	}
}

func TestReload(t *testing.T) {
	s := newServer(t, hello)
	entry := func(maxConns int) config.Upstream {
		return config.Upstream{Endpoints: addresses(s.URL), Private: true, MaxConns: maxConns}
	}
	old, err := upstream.New(client(nil), map[string]config.Upstream{"same": entry(2), "changed": entry(2), "removed": entry(2)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	pool := func(set *upstream.Set, name string) *upstream.Pool {
		t.Helper()
		u, ok := set.Named(name)
		if !ok {
			t.Fatalf("%s is not there", name)
		}
		return u.Pool()
	}
	for _, p := range []*upstream.Pool{old.Shared(), pool(old, "same"), pool(old, "changed"), pool(old, "removed")} {
		mustFetch(t, p, s.URL, local)
	}

	if _, err := old.Reload(client(nil), map[string]config.Upstream{"same": entry(2), "bad": entry(0)}); err == nil {
		t.Fatal("a bad configuration was taken")
	}
	same := entry(2)
	same.Endpoints = addresses(s.URL, s.URL+"/v1") // no setting of the pool
	next, err := old.Reload(client(nil), map[string]config.Upstream{"same": same, "changed": entry(3), "added": entry(1)})
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if next.Shared() != old.Shared() || pool(next, "same") != pool(old, "same") {
		t.Error("a pool whose settings are the same did not go on")
	}
	if pool(next, "changed") == pool(old, "changed") {
		t.Error("a pool whose settings changed went on")
	}
	if _, ok := next.Named("removed"); ok {
		t.Error("removed is still there")
	}
	var names []string
	for _, st := range next.Stats() {
		names = append(names, st.Pool)
	}
	if got := strings.Join(names, " "); got != "shared added changed same" {
		t.Errorf("statistics of %s", got)
	}

	old.Close()
	old.Close()
	for name, want := range map[string]int{"same": 1, "changed": 0, "removed": 0} {
		if st := pool(old, name).Stats(); st.Open != want {
			t.Errorf("%s: %d open after the old set was closed, want %d", name, st.Open, want)
		}
	}
	mustFetch(t, pool(next, "same"), s.URL, local)
	mustFetch(t, next.Shared(), s.URL, local)
	if st := pool(next, "same").Stats(); st.Dials != 1 || st.Idle != 1 {
		t.Errorf("same: %+v, want the connection it had", st)
	}
	mustFetch(t, pool(old, "removed"), s.URL, local) // a late call of a plugin that drains
	if st := pool(old, "removed").Stats(); st.Open != 0 {
		t.Errorf("removed: %+v, want no connection kept", st)
	}
	next.Close()
	if st := next.Shared().Stats(); st.Open != 0 {
		t.Errorf("shared: %+v after the last set was closed", st)
	}
}

// TestCloseLetsCallsFinish closes the set under calls that run and calls that wait.
func TestCloseLetsCallsFinish(t *testing.T) {
	g := newGate(serverURL(t))
	set, err := upstream.New(client(func(c *config.Client) { c.MaxConns = 2 }), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := set.Shared()
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() { mustFetch(t, p, g.url, local) })
	}
	eventually(t, "2 run and 4 wait", func() bool { return len(g.arrived()) == 2 && p.Stats().Waiting == 4 })
	set.Close()
	close(g.open)
	all.Wait()
	if st := p.Stats(); st.Open != 0 || st.Waiting != 0 {
		t.Errorf("afterwards: %+v", st)
	}
}

// TestChatsDoNotStarveSearches fills a named pool and calls through the shared one.
func TestChatsDoNotStarveSearches(t *testing.T) {
	chats := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	search := newServer(t, hello)
	set, err := upstream.New(client(nil), map[string]config.Upstream{"gpustack": {Endpoints: addresses(chats.URL), Private: true, MaxConns: 300}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	u, _ := set.Named("gpustack")
	for range 300 {
		resp, err := u.Do(get(t, t.Context(), chats.URL), upstream.Policy{})
		if err != nil {
			t.Fatal(err)
		}
		defer io.Copy(io.Discard, resp.Body)
		defer resp.Body.Close()
	}
	if st := u.Pool().Stats(); st.InUse != 300 {
		t.Fatalf("%+v, want 300 chats open", st)
	}
	mustFetch(t, set.Shared(), search.URL, local)
}
