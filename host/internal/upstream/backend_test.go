package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
)

// backend is a service that says its name, and can die and come back at its address.
type backend struct {
	name, addr, url string
	hits            atomic.Int64
	delay           atomic.Int64 // of an answer
	status          atomic.Int64 // 0 is 200
	conns           atomic.Int64 // open
	handle          http.HandlerFunc
	listen          func(addr string) (net.Listener, error)
	server          *http.Server
}

func newBackend(t testing.TB, name string, handle http.HandlerFunc) *backend {
	t.Helper()
	b := &backend{name: name, addr: ownAddress(), handle: handle, listen: listenTCP}
	b.start(t)
	t.Cleanup(b.kill)
	return b
}

// ownAddress is one that nobody else listens on, where there are such: the port of a backend that died stays its own, as no connection begins
// at another address of this machine than 127.0.0.1, and nobody who listens on all addresses is given a port of that range.
func ownAddress() string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1:0"
	}
	for {
		addr := fmt.Sprintf("127.%d.%d.%d:%d", 1+rand.IntN(254), rand.IntN(255), 1+rand.IntN(254), 10_000+rand.IntN(20_000))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
}

func listenTCP(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }

func backends(t testing.TB, names string) (all []*backend) {
	t.Helper()
	for _, name := range strings.Split(names, "") {
		all = append(all, newBackend(t, name, nil))
	}
	return all
}

func (b *backend) start(t testing.TB) {
	t.Helper()
	var l net.Listener
	eventually(t, b.addr+" is free", func() (ok bool) {
		var err error
		l, err = b.listen(b.addr)
		return err == nil
	})
	if l.Addr().Network() == "tcp" {
		b.addr = l.Addr().String()
	}
	b.url = "http://" + b.addr
	b.server = &http.Server{Handler: b, ConnState: func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			b.conns.Add(1)
		case http.StateClosed, http.StateHijacked:
			b.conns.Add(-1)
		}
	}}
	go b.server.Serve(l)
}

// kill closes the listener and every connection.
func (b *backend) kill() { b.server.Close() }

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.hits.Add(1)
	if b.handle != nil {
		b.handle(w, r)
		return
	}
	io.Copy(io.Discard, r.Body)
	if d := b.delay.Load(); d > 0 {
		time.Sleep(time.Duration(d))
	}
	if s := b.status.Load(); s > 0 {
		w.WriteHeader(int(s))
	}
	io.WriteString(w, b.name)
}

// entry is the default configuration of an upstream over endpoints on this machine, and what change makes of it.
func entry(change func(*config.Upstream), urls ...string) config.Upstream {
	c := config.DefaultUpstream()
	c.Private, c.Endpoints = true, addresses(urls...)
	c.Health.Timeout = patience
	if change != nil {
		change(&c)
	}
	return c
}

// newUpstream makes an upstream that ends with the test.
func newUpstream(t testing.TB, change func(*config.Upstream), urls ...string) (*upstream.Set, *upstream.Upstream) {
	t.Helper()
	set, err := upstream.New(client(nil), map[string]config.Upstream{"up": entry(change, urls...)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	u, _ := set.Named("up")
	return set, u
}

func urls(all []*backend) (list []string) {
	for _, b := range all {
		list = append(list, b.url)
	}
	return list
}

// ask makes one call and returns the status and the body.
func ask(ctx context.Context, u *upstream.Upstream, method, body string, header ...string) (int, string, error) {
	to, err := u.URL("/x", "")
	if err != nil {
		return 0, "", err
	}
	var from io.Reader
	if body != "" {
		from = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, to.String(), from)
	if err != nil {
		return 0, "", err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := u.Do(req, upstream.Policy{})
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// mustAsk makes a GET that has to go well, and returns who answered.
func mustAsk(t testing.TB, u *upstream.Upstream, header ...string) string {
	t.Helper()
	status, who, err := ask(t.Context(), u, http.MethodGet, "", header...)
	if err != nil || status != http.StatusOK {
		t.Fatalf("status %d, %q, %v", status, who, err)
	}
	return who
}

// state is what the Set says of its one upstream.
func state(set *upstream.Set) *upstream.NamedStats { return set.Stats()[1].Upstream }

// of is what it says of one endpoint.
func of(t testing.TB, set *upstream.Set, b *backend) upstream.EndpointStats {
	t.Helper()
	for _, e := range state(set).Endpoints {
		if e.Endpoint == b.url {
			return e
		}
	}
	t.Fatalf("there is no endpoint %s", b.url)
	return upstream.EndpointStats{}
}

func unavailable(err error) bool { return errors.Is(err, upstream.ErrUnavailable) }
