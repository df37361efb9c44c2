package upstream_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/leaktest"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// local lets calls reach the test's own servers.
var local = upstream.Policy{Private: true}

// client is a configuration whose limits no test meets by accident.
func client(change func(*config.Client)) config.Client {
	c := config.Client{
		MaxConns: 100, IdleTimeout: time.Minute,
		ConnectTimeout: 30 * time.Second, ResponseTimeout: 30 * time.Second, ChunkTimeout: 30 * time.Second,
	}
	if change != nil {
		change(&c)
	}
	return c
}

// newPool makes a shared pool that ends with the test.
func newPool(t testing.TB, change func(*config.Client), opts ...upstream.Option) *upstream.Pool {
	t.Helper()
	set, err := upstream.New(client(change), nil, nil, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	return set.Shared()
}

// newServer starts an HTTP server that ends with the test.
func newServer(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// serverURL starts servers, and tells where.
func serverURL(t testing.TB) func(http.HandlerFunc) string {
	return func(h http.HandlerFunc) string { return newServer(t, h).URL }
}

func hello(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }

func get(t testing.TB, ctx context.Context, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func post(t testing.TB, url, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// fetch makes one call and reads its body to the end.
func fetch(p *upstream.Pool, req *http.Request, pol upstream.Policy) (string, error) {
	resp, err := p.Do(req, pol)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func mustFetch(t testing.TB, p *upstream.Pool, url string, pol upstream.Policy) {
	t.Helper()
	got, err := fetch(p, get(t, t.Context(), url), pol)
	if err != nil {
		t.Fatal(err)
	}
	if got != "hello" {
		t.Fatalf("body %q, want hello", got)
	}
}

// eventually waits for what another goroutine brings about.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// rawServer answers every connection with serve, which gets its number from 1; the connection is
// closed when serve returns.
func rawServer(t testing.TB, serve func(n int, c net.Conn)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 1; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(n, c)
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String()
}

// nobody is an address that refuses connections until the test is over: a connection that is open has its port.
func nobody(t testing.TB) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); l.Close() })
	return c.LocalAddr().String()
}

// addresses lists URLs, as a configuration may.
func addresses(urls ...string) []config.Endpoint {
	var list []config.Endpoint
	for _, u := range urls {
		list = append(list, config.Endpoint{URL: u})
	}
	return list
}
