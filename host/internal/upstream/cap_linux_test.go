package upstream_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
)

// twentyServers start on 20 addresses of this machine and share one count of connections.
func twentyServers(t *testing.T, h http.HandlerFunc) (*openConns, []string) {
	t.Helper()
	open := &openConns{}
	var urls []string
	for i := range 20 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.%d:0", 1+i))
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(h)
		s.Listener.Close()
		s.Listener = open.listener(l)
		s.Start()
		t.Cleanup(s.Close)
		urls = append(urls, s.URL)
	}
	return open, urls
}

// TestCapOverManyHosts sends 2,000 calls at once to 20 hosts through 50 places.
func TestCapOverManyHosts(t *testing.T) {
	const places, calls = 50, 2000
	open, urls := twentyServers(t, hello)
	p := newPool(t, func(c *config.Client) { c.MaxConns = places })
	watched := make(chan struct{})
	stop := make(chan struct{})
	go func() { // readable at any time, and never past the cap
		defer close(watched)
		for {
			if s := p.Stats(); s.Open > places || s.Idle < 0 || s.InUse < 0 || s.Dialing < 0 {
				t.Errorf("impossible state: %+v", s)
				return
			}
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	var all sync.WaitGroup
	for i := range calls {
		all.Go(func() {
			pol := upstream.Policy{Private: true, Owner: []string{"a", "b"}[i/len(urls)%2]}
			if got, err := fetch(p, get(t, t.Context(), urls[i%len(urls)]), pol); err != nil || got != "hello" {
				t.Errorf("call %d: %q, %v", i, got, err)
			}
		})
	}
	all.Wait()
	close(stop)
	<-watched
	if open.most > places {
		t.Errorf("the servers saw %d connections at once, the cap is %d", open.most, places)
	}
	if open.most < places/5 {
		t.Errorf("the servers saw %d connections at once: hardly any, so this shows nothing", open.most)
	}
	s := p.Stats()
	if s.InUse != 0 || s.Dialing != 0 || s.Waiting != 0 || s.Open != s.Idle || s.Calls != calls || s.DialErrors != 0 || s.PoolTimeouts != 0 {
		t.Errorf("afterwards: %+v", s)
	}
	if int(s.Dials) != open.total {
		t.Errorf("%d dials, the servers accepted %d", s.Dials, open.total)
	}
	t.Logf("most open %d, %+v", open.most, s)
}

// TestReuse sends 5,000 calls to 20 hosts. At the worst moment each of the 10 callers needs a
// connection of its own to each host, which is what the pool has places for.
func TestReuse(t *testing.T) {
	const calls, callers = 5000, 10
	open, urls := twentyServers(t, hello)
	p := newPool(t, func(c *config.Client) { c.MaxConns = 200 })
	var all sync.WaitGroup
	for w := range callers {
		all.Go(func() {
			for i := range calls / callers {
				if _, err := fetch(p, get(t, t.Context(), urls[(i+w)%len(urls)]), local); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	s := p.Stats()
	if s.ReuseRate <= 0.95 || open.total >= calls/20 {
		t.Errorf("reuse rate %.3f with %d connections, want over 0.95", s.ReuseRate, open.total)
	}
	if s.Calls != calls || s.Reused+s.Dials != calls {
		t.Errorf("calls %d, reused %d, dials %d do not add up", s.Calls, s.Reused, s.Dials)
	}
	t.Logf("%+v", s)
}

// TestHammer mixes everything that can happen to a call. Places must never be lost nor doubled.
func TestHammer(t *testing.T) {
	const places = 10
	open, urls := twentyServers(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Do") {
		case "die":
			panic(http.ErrAbortHandler)
		case "close":
			w.Header().Set("Connection", "close")
		case "half":
			io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "slow":
			select {
			case <-r.Context().Done():
			case <-time.After(5 * time.Millisecond):
			}
		case "none":
			w.WriteHeader(http.StatusNoContent)
			return
		}
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "hello")
	})
	p := newPool(t, func(c *config.Client) {
		c.MaxConns, c.MaxIdleConns, c.IdleTimeout, c.ChunkTimeout = places, 7, 3*time.Millisecond, 20*time.Millisecond
	})
	var all sync.WaitGroup
	for w := range 60 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			for range 60 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+random.IntN(60))*time.Millisecond)
				var body io.Reader
				if random.IntN(2) == 0 {
					body = io.LimitReader(zeros{}, 20_000) // can be sent only once
				}
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, urls[random.IntN(len(urls))], body)
				if err != nil {
					t.Error(err)
				}
				req.Header.Set("Do", []string{"", "", "", "die", "close", "half", "slow", "none"}[random.IntN(8)])
				resp, err := p.Do(req, local)
				if err == nil {
					if random.IntN(4) > 0 {
						io.Copy(io.Discard, resp.Body)
					}
					resp.Body.Close()
				}
				cancel()
			}
		})
	}
	all.Wait()
	eventually(t, "every place given back", func() bool {
		s := p.Stats()
		return s.Open == 0 && s.Idle == 0 && s.Dialing == 0 && s.Waiting == 0
	})
	if open.most > places {
		t.Errorf("the servers saw %d connections at once, the cap is %d", open.most, places)
	}
	t.Logf("%+v", p.Stats())
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
