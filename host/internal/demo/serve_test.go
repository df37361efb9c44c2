package demo_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/demo"
)

func TestCheckLoopback(t *testing.T) {
	for addr, ok := range map[string]bool{
		"127.0.0.1:8000":          true,
		"127.9.9.9:0":             true,
		"[::1]:80":                true,
		"[::ffff:127.0.0.1]:80":   true,
		"localhost:80":            true,
		":8000":                   false,
		"0.0.0.0:8000":            false,
		"[::]:8000":               false,
		"192.168.1.2:80":          false,
		"[::ffff:10.0.0.1]:80":    false,
		"localhost.example.com:1": false,
		"127.0.0.1":               false,
		"":                        false,
	} {
		if err := demo.CheckLoopback(addr); (err == nil) != ok {
			t.Errorf("%q: %v", addr, err)
		}
	}
}

// fakeListener claims an address; nothing can connect to it.
type fakeListener struct {
	addr   net.Addr
	closed bool
}

func (l *fakeListener) Accept() (net.Conn, error) { return nil, errors.New("nobody can connect") }
func (l *fakeListener) Addr() net.Addr            { return l.addr }
func (l *fakeListener) Close() error              { l.closed = true; return nil }

func TestOnlyLoopbackUnlessAllowed(t *testing.T) {
	everywhere := &net.TCPAddr{IP: net.IPv4zero, Port: 80}
	for _, allow := range []bool{false, true} {
		s, err := demo.New(demo.Options{AllowRemote: allow})
		if err != nil {
			t.Fatal(err)
		}
		ln := &fakeListener{addr: everywhere}
		want := "is not a loopback address"
		if allow {
			want = "accept connections: nobody can connect"
		}
		if err := s.Serve(context.Background(), ln); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Serve, allowed %v: %v", allow, err)
		}
		if !ln.closed {
			t.Errorf("allowed %v: the listener was left open", allow)
		}
	}
	s, err := demo.New(demo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Listen(context.Background(), "0.0.0.0:0"); err == nil || !strings.Contains(err.Error(), "is not a loopback address") {
		t.Errorf("Listen: %v", err)
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	for name, opts := range map[string]demo.Options{
		"delay":      {Delay: -1},
		"token gap":  {TokenGap: -1},
		"error rate": {ErrorRate: 1.1},
		"negative":   {ErrorRate: -0.1},
		"not number": {ErrorRate: math.NaN()},
		"max body":   {MaxBody: -1},
		"in flight":  {MaxInFlight: -1},
	} {
		if _, err := demo.New(opts); err == nil || !strings.HasPrefix(err.Error(), "demo upstream: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Serve returns when it is told to stop, although a stream is running; its client sees a broken stream, not an end.
func TestServeStopsRunningStreams(t *testing.T) {
	u := start(t, demo.Options{TokenGap: time.Hour})
	answered, _ := u.open("POST", "/v1/chat/completions", streamBody)
	resp := answered()
	if err := u.stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if st := u.Stats(); st.InFlight != 0 || st.OpenConns != 0 || st.Cancelled != 1 {
		t.Errorf("after Serve: %+v", st)
	}
	if got, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("the stream ended without an error: %s", got)
	}
	if conn, err := net.Dial("tcp", strings.TrimPrefix(u.base, "http://")); err == nil {
		_ = conn.Close()
		t.Error("the listener is still open")
	}
}

// A client that has sent its next request already keeps net/http from noticing that the connection was closed.
func TestServeStopsPipelinedRequests(t *testing.T) {
	u := start(t, demo.Options{Delay: time.Hour})
	const request = "POST /search HTTP/1.1\r\nHost: demo\r\nContent-Length: 13\r\n\r\n{\"query\":\"x\"}"
	conn := u.dial(request)
	eventually(t, "the first one runs", func() bool { return u.Stats().InFlight == 1 })
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // so that net/http meets the second one; without it the test proves less, but passes
	stopped := make(chan error, 1)
	go func() { stopped <- u.stop() }()
	select {
	case err := <-stopped:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("Serve does not return")
	}
}

func TestServeTwiceAtOnce(t *testing.T) {
	u := start(t, demo.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	ln, err := u.Listen(ctx, "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- u.Serve(ctx, ln) }()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if r := u.do("POST", "/search", `{"query":"wazero"}`); r.status != 200 {
		t.Errorf("the first one: %d %s", r.status, r.body)
	}
}

func TestOneConnectionForManyChats(t *testing.T) {
	u := start(t, demo.Options{})
	for i := range 20 {
		body := streamBody
		if i%2 == 0 {
			body = strings.Replace(body, "true", "false", 1)
		}
		if r := u.do("POST", "/v1/chat/completions", body); r.status != 200 {
			t.Fatalf("status %d: %s", r.status, r.body)
		}
	}
	if st := u.Stats(); st.Conns != 1 || st.OpenConns != 1 || st.Chats != 20 || st.Requests != 20 {
		t.Errorf("%+v", st)
	}
}

func TestProbesAndUnknownPaths(t *testing.T) {
	// Probes neither wait nor fail.
	u := start(t, demo.Options{Delay: time.Hour, ErrorRate: 1})
	for _, path := range []string{"/healthz", "/readyz"} {
		if r := u.do("GET", path, ""); r.status != 200 || r.body != "ok" {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
		if r := u.do("POST", path, ""); r.status != 405 {
			t.Errorf("POST %s: %d", path, r.status)
		}
	}
	if r := u.do("GET", "/", ""); r.status != 200 || !strings.Contains(r.body, "demo upstream") {
		t.Errorf("/: %d %s", r.status, r.body)
	}
	if st := u.Stats(); st.Requests != 0 {
		t.Errorf("probes were counted: %+v", st)
	}
	checkGPUStackError(t, "embeddings", u.do("POST", "/v1/embeddings", "{}"), 404, "NotFound", "there is no path /v1/embeddings")
	checkGPUStackError(t, "delete", u.do("DELETE", "/v1/models", ""), 405, "MethodNotAllowed", "/v1/models does not take DELETE")
	if r := u.do("PUT", "/search", ""); r.status != 405 || r.header.Get("Allow") != "POST, GET" {
		t.Errorf("PUT /search: %d, Allow %q", r.status, r.header.Get("Allow"))
	}
	if r := u.do("GET", "/search/more", ""); r.status != 404 || !strings.HasPrefix(r.body, `{"detail":{"error":"demo: `) {
		t.Errorf("/search/more: %d %s", r.status, r.body)
	}
}

// The routes with what each says of an error.
var dialects = []struct{ method, path, body, want string }{
	{"POST", "/search", `{"query":"x"}`, `{"detail":{"error":"demo: `},
	{"GET", "/search?q=x&format=json", "", `{"error":"demo: `},
	{"GET", "/v1/models", "", `{"error":{"code":%d,"message":"demo: `},
	{"POST", "/v1/chat/completions", streamBody, `{"error":{"code":%d,"message":"demo: `},
}

func TestErrorRate(t *testing.T) {
	u := start(t, demo.Options{ErrorRate: 1})
	for _, d := range dialects {
		r := u.do(d.method, d.path, d.body)
		if r.status != 500 || !strings.HasPrefix(r.body, strings.ReplaceAll(d.want, "%d", "500")) {
			t.Errorf("%s: %d %s", d.path, r.status, r.body)
		}
	}

	// The same requests fail in every run.
	run := func() (statuses []int, failed int) {
		u := start(t, demo.Options{ErrorRate: 0.3})
		for range 100 {
			r := u.do("GET", "/v1/models", "")
			statuses = append(statuses, r.status)
			if r.status == 500 {
				failed++
			}
		}
		return statuses, failed
	}
	first, failed := run()
	second, _ := run()
	if failed < 15 || failed > 45 {
		t.Errorf("%d of 100 requests failed at a rate of 0.3", failed)
	}
	if !slices.Equal(first, second) {
		t.Errorf("two runs differ:\n%v\n%v", first, second)
	}
}

func TestHeadersForTests(t *testing.T) {
	u := start(t, demo.Options{})
	for _, d := range dialects {
		for _, status := range []int{400, 401, 404, 429, 432, 503, 504} {
			r := u.do(d.method, d.path, d.body, "X-Demo-Status", itoa(status))
			if r.status != status || !strings.HasPrefix(r.body, strings.ReplaceAll(d.want, "%d", itoa(status))) {
				t.Errorf("%s: %d %s", d.path, r.status, r.body)
			}
			if got := r.header.Get("Retry-After") != ""; got != (status == 429 || status == 503) {
				t.Errorf("%s: Retry-After with %d: %v", d.path, status, got)
			}
		}
	}
	const wait = 50 * time.Millisecond
	begun := time.Now()
	if r := u.do("POST", "/search", `{"query":"x"}`, "X-Demo-Delay", wait.String()); r.status != 200 || time.Since(begun) < wait {
		t.Errorf("%d after %v", r.status, time.Since(begun))
	}
	for header, values := range map[string][]string{
		"X-Demo-Delay":  {"soon", "-1s", "61s"},
		"X-Demo-Status": {"200", "600", "x"},
		"X-Demo-Cut":    {"-1", "x"},
	} {
		for _, v := range values {
			if r := u.do("POST", "/search", `{"query":"x"}`, header, v); r.status != 400 || !strings.Contains(r.body, header) {
				t.Errorf("%s: %s: %d %s", header, v, r.status, r.body)
			}
		}
	}
}

// The header replaces the option, so a fast call to a slow demo is possible too.
func TestDelayHeaderReplacesDelay(t *testing.T) {
	u := start(t, demo.Options{Delay: time.Hour})
	if r := u.do("GET", "/v1/models", "", "X-Demo-Delay", "0s"); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestTooManyAtOnce(t *testing.T) {
	u := start(t, demo.Options{Delay: time.Hour, MaxInFlight: 1})
	_, leave := u.open("POST", "/search", `{"query":"x"}`)
	eventually(t, "the first request runs", func() bool { return u.Stats().InFlight == 1 })
	r := u.do("POST", "/v1/chat/completions", streamBody, "X-Demo-Delay", "0s")
	checkGPUStackError(t, "second", r, 503, "ServiceUnavailable", "more than 1 requests at once")
	leave()
	eventually(t, "the first request ends", func() bool { return u.Stats().InFlight == 0 })
}

// A client that promises a body and goes away half-way costs nothing.
func TestHalfABody(t *testing.T) {
	u := start(t, demo.Options{})
	conn := u.dial("POST /search HTTP/1.1\r\nHost: demo\r\nContent-Length: 100\r\n\r\n{\"query\":")
	eventually(t, "the request runs", func() bool { return u.Stats().InFlight == 1 })
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(answer); s != "" && !strings.HasPrefix(s, "HTTP/1.1 400 ") {
		t.Errorf("answer: %s", s)
	}
	eventually(t, "the request ends", func() bool { return u.Stats().InFlight == 0 })
}

// Headers beyond 64 KiB are refused by net/http before the demo sees them.
func TestHeaderBomb(t *testing.T) {
	u := start(t, demo.Options{})
	conn := u.dial("GET /v1/models HTTP/1.1\r\nHost: demo\r\nX-Bomb: " + strings.Repeat("x", 70<<10))
	answer := make([]byte, len("HTTP/1.1 431"))
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 431" {
		t.Errorf("%q, %v", answer, err)
	}
}
