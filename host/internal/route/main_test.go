package route_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/capability"
	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/guesttest"
	"github.com/patchbay-run/patchbay/host/internal/leaktest"
	"github.com/patchbay-run/patchbay/host/internal/logtest"
	"github.com/patchbay-run/patchbay/host/internal/plugin"
	"github.com/patchbay-run/patchbay/host/internal/route"
	"github.com/patchbay-run/patchbay/host/internal/server"
	"github.com/patchbay-run/patchbay/host/internal/telemetry"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

func TestMain(m *testing.M) { leaktest.MainThen(m, warm.close) }

// warm is the engine of all tests, which keeps the guest compiled: under the race detector that takes longer than most of them.
var warm engine

type engine struct {
	once   sync.Once
	engine *wasm.Engine
	module *wasm.Module
}

func (e *engine) open(t testing.TB) *wasm.Engine {
	t.Helper()
	e.once.Do(func() {
		binary, err := os.ReadFile(guesttest.Build(t, "testdata/probe"))
		if err != nil {
			t.Fatal(err)
		}
		if e.engine, err = wasm.Open(filepath.Join(guesttest.Cache(t), "compiled")); err != nil {
			t.Fatal(err)
		}
		if e.module, err = e.engine.Compile(t.Context(), binary); err != nil {
			t.Fatal(err)
		}
	})
	return e.engine
}

func (e *engine) close() error {
	if e.engine == nil {
		return nil
	}
	if e.module != nil {
		e.module.Release()
	}
	return e.engine.Close()
}

// site is a server as the app puts it together, with the guest of testdata/probe.
type site struct {
	t       *testing.T
	handler *route.Handler
	loader  *plugin.Loader
	tracker *telemetry.Tracker
	host    map[string]http.Handler
	log     *logtest.Buffer
	client  *http.Client
	addr    string
}

// open starts a server without a table.
func open(t *testing.T, change func(*config.Server)) *site {
	t.Helper()
	s := &site{t: t, log: &logtest.Buffer{}}
	log := slog.New(slog.NewTextHandler(s.log, nil))

	set, err := upstream.New(config.Client{MaxConns: 1}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	secrets, err := capability.ReadSecrets(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.loader = &plugin.Loader{Engine: warm.open(t), Host: capability.NewHost(&capability.Parts{Upstreams: set, Secrets: secrets}), Log: log}
	s.handler = route.NewHandler(log)
	s.tracker = telemetry.NewTracker(telemetry.TrackerOptions{})
	s.host = map[string]http.Handler{"GET /{$}": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "home") })}

	c := config.Default().Server
	c.MaxBody, c.DrainTimeout = 1<<20, 10*time.Second
	if change != nil {
		change(&c)
	}
	front, err := server.New(server.Options{Config: c, Handler: s.tracker.Track(server.CORS(c.CORS)(s.handler)), Error: route.Error})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- front.Serve(ctx, ln) }()
	transport := &http.Transport{DisableCompression: true}
	s.client = &http.Client{Transport: transport, Timeout: 2 * time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// plugged is open with a generation in the table that ends with the test.
func plugged(t *testing.T, change func(*config.Plugin)) *site {
	t.Helper()
	return openPlugged(t, nil, change)
}

func openPlugged(t *testing.T, server func(*config.Server), change func(*config.Plugin)) *site {
	t.Helper()
	s := open(t, server)
	s.swap(s.load(change))
	return s
}

// probe is the configuration of the guest: all its routes that can stand in one table.
func probe(t testing.TB) config.Plugin {
	return config.Plugin{
		Name: "probe", Source: guesttest.Build(t, "testdata/probe"), Workers: 1, Isolation: "shared",
		Routes: []string{
			"GET /request", "GET /items/{id}/parts/{part}", "DELETE /items/{id}", "GET /files/{rest...}", "POST /", "GET /v1/models", "GET /answer", "GET /word",
			"POST /count", "POST /echo", "POST /early", "GET /half", "GET /big", "GET /hang", "GET /v1/hang", "GET /exit", "GET /loop", "GET /memory",
		},
		Limits: config.Limits{Memory: 64 << 20, Timeout: 10 * time.Minute, InFlight: 64, Answer: 1 << 20},
		Config: map[string]any{"word": "hello"},
	}
}

func (s *site) load(change func(*config.Plugin)) *plugin.Generation {
	s.t.Helper()
	c := probe(s.t)
	if change != nil {
		change(&c)
	}
	g, err := s.loader.Load(s.t.Context(), c)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { retire(g) })
	return g
}

// retire ends a generation at once; a second time does nothing.
func retire(g *plugin.Generation) {
	if g.Stats().Draining {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	g.Retire(ctx)
}

func (s *site) swap(serving ...*plugin.Generation) {
	s.t.Helper()
	table, err := route.NewTable(s.handler, s.host, serving, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.handler.Swap(table)
}

// answer is a response that was read to its end.
type answer struct {
	*http.Response
	body string
}

// ask sends a request; target is a method and a path.
func (s *site) ask(target string, body io.Reader, headers ...string) (*answer, error) {
	method, path, _ := strings.Cut(target, " ")
	req, err := http.NewRequest(method, "http://"+s.addr+path, body)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return &answer{resp, string(b)}, err
}

// must is ask for a request that is to be answered whole.
func (s *site) must(target string, headers ...string) *answer {
	s.t.Helper()
	a, err := s.ask(target, nil, headers...)
	if err != nil {
		s.t.Fatalf("%s: %v", target, err)
	}
	return a
}

// isDetail wants an answer in the API's shape.
func (a *answer) isDetail(t testing.TB, status int, detail string) {
	t.Helper()
	var got map[string]string
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.StatusCode != status || len(got) != 1 || !strings.HasPrefix(got["detail"], detail) ||
		a.Header.Get("Content-Type") != "application/json" || a.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s %s: %d %s %v, want %d %q", a.Request.Method, a.Request.URL.Path, a.StatusCode, a.body, a.Header, status, detail)
	}
}

// told is what the guest says of a request.
type told struct {
	Method, Path, Query, Host, Client, ID string
	Params                                map[string]string
	Headers                               map[string][]string
}

func (a *answer) told(t testing.TB) told {
	t.Helper()
	var v told
	if err := json.Unmarshal([]byte(a.body), &v); err != nil || a.StatusCode != 200 {
		t.Fatalf("%d %s: %v", a.StatusCode, a.body, err)
	}
	return v
}

// dial opens a raw connection. Its deadline only keeps a broken test from hanging.
func (s *site) dial() (net.Conn, *bufio.Reader) {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	return c, bufio.NewReader(c)
}

// eventually waits for what another goroutine brings about.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("still not: ", what)
		}
	}
}
