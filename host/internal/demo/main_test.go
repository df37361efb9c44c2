package demo_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/demo"
	"github.com/patchbay-run/patchbay/host/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// upstream is a demo on a real socket, with a client that keeps its connections to it.
type upstream struct {
	*demo.Server
	t      *testing.T
	base   string
	client *http.Client
	stop   func() error // ends Serve and returns what it returned
}

// start runs a demo until the test ends. At its end nothing may be in flight and no connection open.
func start(t *testing.T, opts demo.Options) *upstream {
	t.Helper()
	s, err := demo.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	host := "127.0.0.1"
	if runtime.GOOS == "linux" { // one that nobody else uses: a port that was let go stays free
		host = fmt.Sprintf("127.%d.%d.%d", 64+rand.IntN(64), rand.IntN(256), 1+rand.IntN(254))
	}
	ln, err := s.Listen(ctx, host+":0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	transport := &http.Transport{}
	u := &upstream{Server: s, t: t, base: "http://" + ln.Addr().String(), client: &http.Client{Transport: transport}}
	var stopped bool
	u.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := u.stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
		if st := s.Stats(); st.InFlight != 0 || st.OpenConns != 0 {
			t.Errorf("left behind after Serve: %+v", st)
		}
	})
	return u
}

// reply is an answer that was read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

// do sends a request; headers are pairs of name and value. Every answer must say that it is the demo's.
func (u *upstream) do(method, path, body string, headers ...string) reply {
	u.t.Helper()
	req, err := http.NewRequest(method, u.base+path, strings.NewReader(body))
	if err != nil {
		u.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := u.client.Do(req)
	if err != nil {
		u.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		u.t.Fatal(err)
	}
	if resp.Header.Get(demo.Header) != "1" {
		u.t.Errorf("%s %s: header %s is missing", method, path, demo.Header)
	}
	return reply{resp.StatusCode, resp.Header, string(got)}
}

// get and post decode an answer that must be 200.
func (u *upstream) get(path string, into any) {
	u.t.Helper()
	decode(u.t, u.do("GET", path, ""), into)
}

func (u *upstream) post(path string, body, into any) {
	u.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		u.t.Fatal(err)
	}
	decode(u.t, u.do("POST", path, string(raw), "Authorization", "Bearer any-key-at-all"), into)
}

func decode(t *testing.T, r reply, into any) {
	t.Helper()
	if r.status != http.StatusOK {
		t.Fatalf("status %d: %s", r.status, r.body)
	}
	if got := r.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	if err := json.Unmarshal([]byte(r.body), into); err != nil {
		t.Fatalf("%v in %s", err, r.body)
	}
}

// open begins a request whose answer is not read yet. The caller calls leave, which breaks the connection.
func (u *upstream) open(method, path, body string) (resp func() *http.Response, leave func()) {
	u.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, method, u.base+path, strings.NewReader(body))
	if err != nil {
		u.t.Fatal(err)
	}
	answered := make(chan *http.Response, 1)
	go func() {
		defer close(answered)
		resp, err := u.client.Do(req)
		if err == nil {
			answered <- resp
		}
	}()
	u.t.Cleanup(func() {
		cancel()
		if resp := <-answered; resp != nil {
			_ = resp.Body.Close()
		}
	})
	return func() *http.Response { return <-answered }, cancel
}

// eventually waits for something that another goroutine does. The deadline is for a test that fails only.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// dial opens a bare connection to the demo and writes raw to it, for what a client library would not send.
func (u *upstream) dial(raw string) net.Conn {
	u.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(u.base, "http://"))
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		u.t.Fatal(err)
	}
	if _, err := io.WriteString(conn, raw); err != nil {
		u.t.Fatal(err)
	}
	return conn
}

// events splits a stream into the data of its events.
func events(t *testing.T, body io.Reader) []string {
	t.Helper()
	var out []string
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		line := lines.Bytes()
		if len(line) == 0 {
			continue
		}
		data, ok := bytes.CutPrefix(line, []byte("data: "))
		if !ok {
			t.Fatalf("line %q is no data line", line)
		}
		out = append(out, string(data))
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}
