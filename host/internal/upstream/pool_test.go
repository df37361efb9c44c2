package upstream_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
)

// gate is a server whose calls wait until they are let through.
type gate struct {
	url  string
	open chan struct{} // one value lets one call through
	mu   sync.Mutex
	seen []string // paths, in the order of their arrival
}

// newGate makes one where serve begins to listen.
func newGate(serve func(http.HandlerFunc) (url string)) *gate {
	g := &gate{open: make(chan struct{})}
	g.url = serve(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.seen = append(g.seen, r.URL.Path)
		g.mu.Unlock()
		select {
		case <-g.open:
		case <-r.Context().Done():
		}
		hello(w, r)
	})
	return g
}

func (g *gate) arrived() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.seen)
}

// TestQueueIsInOrder queues calls to two hosts and three policies behind one place.
func TestQueueIsInOrder(t *testing.T) {
	const n = 30
	p := newPool(t, func(c *config.Client) { c.MaxConns = 1 })
	order := make(chan int, n)
	serve := func(w http.ResponseWriter, r *http.Request) {
		i, _ := strconv.Atoi(strings.Trim(r.URL.Path, "/"))
		order <- i
		hello(w, r)
	}
	urls := []string{newServer(t, serve).URL, newServer(t, serve).URL}
	g := newGate(serverURL(t))
	var all sync.WaitGroup
	all.Go(func() { mustFetch(t, p, g.url, local) })
	eventually(t, "the place is taken", func() bool { return len(g.arrived()) == 1 })
	for i := range n {
		all.Go(func() {
			mustFetch(t, p, urls[i%2]+"/"+strconv.Itoa(i), upstream.Policy{Private: true, Owner: strconv.Itoa(i % 3)})
		})
		eventually(t, "the call waits", func() bool { return p.Stats().Waiting == i+1 })
	}
	g.open <- struct{}{}
	all.Wait()
	for i := range n {
		if got := <-order; got != i {
			t.Fatalf("call %d was served when it was the turn of %d", got, i)
		}
	}
}

// TestQueueHandsConnectionsOn serves a queue for one host from the connections that are there.
func TestQueueHandsConnectionsOn(t *testing.T) {
	p := newPool(t, func(c *config.Client) { c.MaxConns = 2 })
	g := newGate(serverURL(t))
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() { mustFetch(t, p, g.url, local) })
	}
	eventually(t, "2 run and 38 wait", func() bool { return len(g.arrived()) == 2 && p.Stats().Waiting == 38 })
	close(g.open)
	all.Wait()
	if s := p.Stats(); s.Dials != 2 || s.Reused != 38 {
		t.Errorf("%+v, want 2 connections for all", s)
	}
}

func TestContextThatHasEnded(t *testing.T) {
	p := newPool(t, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the client left")
	cancel(why)
	_, err := p.Do(get(t, ctx, "http://127.0.0.1:1"), local)
	if !errors.Is(err, context.Canceled) || !errors.Is(err, why) {
		t.Errorf("%v, want context.Canceled with its cause", err)
	}
	if s := p.Stats(); s.Calls != 0 || s.Dials != 0 {
		t.Errorf("%+v, want nothing done", s)
	}
}

func TestPoolTimeout(t *testing.T) { inBubble(t, testPoolTimeout) }

func testPoolTimeout(t *testing.T, m *memory) {
	p := m.pool(t, func(c *config.Client) { c.MaxConns = 1 })
	g := newGate(func(h http.HandlerFunc) string { return m.backend(t, "gate", h).url })
	var all sync.WaitGroup
	all.Go(func() { mustFetch(t, p, g.url+"/first", local) })
	eventually(t, "the place is taken", func() bool { return len(g.arrived()) == 1 })

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	body := &closer{Reader: strings.NewReader("x")}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+"/late", body)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Do(req, local)
	var late *upstream.PoolTimeout
	if !errors.Is(err, upstream.ErrPoolTimeout) || !errors.As(err, &late) {
		t.Fatalf("%v, want a PoolTimeout", err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Error("a PoolTimeout must be told from an upstream that took too long")
	}
	if late.Pool != "shared" || late.MaxConns != 1 || late.InUse != 1 || late.Waited <= 0 || late.Setting != "client.max_conns" {
		t.Errorf("the figures: %+v", late)
	}
	for _, want := range []string{"shared", "1 of 1", "client.max_conns"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if !body.closed {
		t.Error("the request's body was not closed")
	}

	// One that is cancelled is no time-out, and one behind it is served.
	ctx, cancel = context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := p.Do(get(t, ctx, g.url+"/gone"), local)
		gone <- err
	}()
	eventually(t, "the call waits", func() bool { return p.Stats().Waiting == 1 })
	all.Go(func() { mustFetch(t, p, g.url+"/second", local) })
	eventually(t, "both wait", func() bool { return p.Stats().Waiting == 2 })
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) || errors.Is(err, upstream.ErrPoolTimeout) {
		t.Errorf("cancelled: %v, want context.Canceled", err)
	}
	close(g.open)
	all.Wait()
	if got := strings.Join(g.arrived(), " "); got != "/first /second" {
		t.Errorf("the server saw %s", got)
	}
	if s := p.Stats(); s.PoolTimeouts != 1 || s.Waiting != 0 || s.Open != 1 {
		t.Errorf("afterwards: %+v", s)
	}
}

type closer struct {
	io.Reader
	closed bool
}

func (c *closer) Close() error {
	c.closed = true
	return nil
}

// TestIdleMakesRoom fills the pool with idle connections and calls other hosts.
func TestIdleMakesRoom(t *testing.T) {
	p := newPool(t, func(c *config.Client) { c.MaxConns = 2 })
	a, b, c := newServer(t, hello), newServer(t, hello), newServer(t, hello)
	mustFetch(t, p, a.URL, local)
	mustFetch(t, p, b.URL, local)
	mustFetch(t, p, a.URL, local) // b is now the one used least recently
	mustFetch(t, p, c.URL, local)
	before := p.Stats()
	if before.Open != 2 || before.Idle != 2 || before.Dials != 3 || before.Reused != 1 {
		t.Fatalf("%+v, want 2 idle after 3 dials and 1 reuse", before)
	}
	mustFetch(t, p, a.URL, local)
	if s := p.Stats(); s.Dials != 3 {
		t.Errorf("a's connection was closed, and b's was older")
	}
	mustFetch(t, p, b.URL, local)
	if s := p.Stats(); s.Dials != 4 || s.Open != 2 {
		t.Errorf("%+v, want b dialled again within the cap", s)
	}
	// The same host under another policy is another connection.
	mustFetch(t, p, b.URL, upstream.Policy{Private: true, Owner: "somebody"})
	if s := p.Stats(); s.Dials != 5 || s.Open != 2 {
		t.Errorf("%+v, want a connection of its own for the other policy", s)
	}
}

func TestMaxIdleConns(t *testing.T) {
	p := newPool(t, func(c *config.Client) { c.MaxIdleConns = 2 })
	g := newGate(serverURL(t))
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() { mustFetch(t, p, g.url, local) })
	}
	eventually(t, "5 calls in flight", func() bool { return len(g.arrived()) == 5 })
	if s := p.Stats(); s.InUse != 5 || s.Open != 5 || s.Idle != 0 || s.Dialing != 0 {
		t.Errorf("in flight: %+v", s)
	}
	close(g.open)
	all.Wait()
	if s := p.Stats(); s.Idle != 2 || s.Open != 2 {
		t.Errorf("afterwards: %+v, want 2 idle", s)
	}
}

func TestIdleTimeout(t *testing.T) {
	p := newPool(t, func(c *config.Client) { c.IdleTimeout = 20 * time.Millisecond })
	a, b := newServer(t, hello), newServer(t, hello)
	mustFetch(t, p, a.URL, local)
	mustFetch(t, p, b.URL, local)
	eventually(t, "idle connections close", func() bool { return p.Stats().Open == 0 })
	mustFetch(t, p, a.URL, local)
	eventually(t, "and again", func() bool { return p.Stats().Open == 0 })
}

// TestServerClosesIdle shows that a connection the server gave up leaves the pool by itself.
func TestServerClosesIdle(t *testing.T) {
	p := newPool(t, nil)
	s := newServer(t, hello)
	mustFetch(t, p, s.URL, local)
	s.CloseClientConnections()
	eventually(t, "the place is free", func() bool { return p.Stats().Open == 0 })
}

func TestStatsAreJSON(t *testing.T) {
	p := newPool(t, nil)
	s := newServer(t, hello)
	mustFetch(t, p, s.URL, local)
	mustFetch(t, p, s.URL, local)
	b, err := json.Marshal(p.Stats())
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"pool": "shared", "max_conns": 100., "open": 1., "idle": 1., "in_use": 0., "dialing": 0., "waiting": 0., "calls": 2.,
		"reused": 1., "reuse_rate": 0.5, "dials": 1., "dial_errors": 0., "retries": 0., "pool_timeouts": 0.,
	} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
}
