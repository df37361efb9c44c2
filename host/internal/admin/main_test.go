package admin_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/admin"
	"github.com/patchbay-run/patchbay/host/internal/cache"
	"github.com/patchbay-run/patchbay/host/internal/capability"
	"github.com/patchbay-run/patchbay/host/internal/events"
	"github.com/patchbay-run/patchbay/host/internal/leaktest"
	"github.com/patchbay-run/patchbay/host/internal/telemetry"
	"github.com/patchbay-run/patchbay/host/internal/topics"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const token = "HN5W2QJ7PXA4KZC3VTYD6MFRGB"

// view is what a test says it is.
type view struct {
	plugins   []admin.Plugin
	upstreams []upstream.Stats
	config    map[string]any
	capacity  telemetry.Capacity
	ready     admin.Readiness
}

func (v view) Plugins() []admin.Plugin      { return v.plugins }
func (v view) Upstreams() []upstream.Stats  { return v.upstreams }
func (v view) Capacity() telemetry.Capacity { return v.capacity }
func (v view) Config() map[string]any       { return v.config }
func (v view) Ready() admin.Readiness       { return v.ready }

// full has something in every field.
func full() view {
	at := time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)
	return view{
		plugins: []admin.Plugin{{
			Name: "search", Version: "1.2.0", Digest: "sha256:0123", Source: "plugins/search/search.wasm",
			Routes: []string{"POST /api/tools/search"}, Since: at, State: admin.StateStale, Problem: "search.wasm: not a module",
			Secrets: []string{"tavily"}, Isolation: "shared",
			Stats: wasm.Stats{Workers: 2, Bound: 3, InFlight: 4, Waiting: 5, Memory: 6 << 20, Requests: 7, Traps: 1, LastError: "unreachable", Draining: true, Mode: "degraded", Instances: 8, Retiring: 1, Recycled: map[string]int64{"memory": 9}, Limits: map[string]int64{"cpu": 1, "memory": 0}},
			Cache: &cache.Stats{
				Entries: 1, Bytes: 2, Limit: 3, Hits: 4, Stale: 5, Shared: 6, Misses: 7, Refreshes: 8, Takeovers: 9, Failures: 10, Failed: 11, TooLarge: 12,
				Evictions: 13, Waiting: 14, Status: map[string]string{"provider/tavily": "rests"},
			},
			Refused: []capability.Refusal{{Text: "fetch of https://a.example/ is not granted", Count: 2, Last: at.Add(time.Minute)}},
			Published: []topics.State{
				{Topic: "news", Updates: 3, Updated: at},
				{Topic: "progress", Public: true, Updates: 2, Updated: at, Bytes: 7, State: json.RawMessage(`{"n":1}`)},
			},
		}, {
			Name: "models", Source: "plugins/models/models.wasm", State: admin.StateNotLoaded, Problem: "there is no such file", Isolation: "shared",
		}},
		upstreams: []upstream.Stats{{
			Pool: "gpustack", MaxConns: 512, Open: 6, Idle: 1, InUse: 3, Dialing: 2, Waiting: 4, Calls: 20, Reused: 15, ReuseRate: 0.75,
			Dials: 5, DialErrors: 1, Retries: 2, PoolTimeouts: 3, UptimeSeconds: 1.5,
			MaxWaiting: 10000, TurnedAway: 1, DNSMillis: 0.5, ConnectMillis: 1.5, DNSSeconds: 0.25, ConnectSeconds: 0.75, BytesIn: 1000, BytesOut: 200,
			Upstream: &upstream.NamedStats{Breaker: "closed", Refused: 1, Retries: 2, OverBudget: 3, Failovers: 4, Endpoints: []upstream.EndpointStats{
				{Endpoint: "http://10.0.0.5", State: upstream.StateUp, Weight: 2, Share: 2, Load: 1.5, InFlight: 3, Open: 4, Idle: 1, Calls: 15, HeadMillis: 12.5},
				{Endpoint: "http://10.0.0.6", State: upstream.StateEjected, EjectedUntil: at, Problem: "get http://10.0.0.6/healthz: status 503", Weight: 1, Queued: 7, Failures: 3, Ejections: 1},
			}},
		}},
		config: map[string]any{"secrets": map[string]any{"tavily": map[string]any{"env": "TAVILY_API_KEY", "value": "***"}}},
		capacity: telemetry.Capacity{
			Light: "49-70 users", Users: telemetry.ByUse[int64]{Light: 70}, BoundBy: telemetry.ByUse[string]{Light: "upstream"}, Rate: 1,
			Bounds: []telemetry.CapacityBound{{Kind: "upstream", Setting: "upstreams.gpustack.max_conns", Limit: 10, Demand: 10, Rate: 1, Utilization: 0.5}},
		},
		ready: admin.Readiness{Ready: true, Reasons: []admin.Reason{
			{What: `plugin "search"`, Problem: "search.wasm: not a module", Since: at},
			{What: "config file", Problem: "line 3: unknown key"},
		}},
	}
}

// happened has an event of the host's and one of a plugin's own.
func happened() *events.Log {
	l := events.New(func() time.Time { return time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC) })
	l.Add(events.Event{Kind: events.ConfigApplied, Subject: "host.yaml"})
	l.Add(events.Event{Kind: events.PluginTrapped, Subject: "search", Text: "unreachable"})
	l.Add(events.Event{Kind: events.PluginTrapped, Subject: "search", Text: "out of bounds memory access"})
	l.Add(events.Event{Kind: "suspended", Subject: "tavily", Text: "it shows a captcha", By: "search"})
	return l
}

// start serves an Admin on a loopback port until the test ends and returns its address, host:port.
func start(t *testing.T, o admin.Options) string {
	t.Helper()
	if o.Token == "" {
		o.Token = token
	}
	if o.View == nil {
		o.View = full()
	}
	a, err := admin.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(a)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// request is a GET with the right token; edit changes it before it is sent.
func request(t *testing.T, addr, path string, edit func(*http.Request)) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if edit != nil {
		edit(r)
	}
	return r
}

// send returns the answer and its body. No answer may show the token or lack the headers that keep
// it from caches, frames and other origins.
func send(t *testing.T, r *http.Request) (*http.Response, string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(r) // not a client, which would follow redirects
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	body := string(b)
	for name, want := range map[string]string{
		"Cache-Control":                "no-store",
		"Content-Security-Policy":      "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Referrer-Policy":              "no-referrer",
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
		"Access-Control-Allow-Origin":  "",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if strings.Contains(body, token) {
		t.Error("the answer shows the token")
	}
	return resp, body
}

// refused checks an answer in the shape of errors.
func refused(t *testing.T, resp *http.Response, body string, status int, detail string) {
	t.Helper()
	if resp.StatusCode != status {
		t.Errorf("status %d, want %d", resp.StatusCode, status)
	}
	if got := resp.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type: %q", got)
	}
	if !strings.HasPrefix(body, `{"detail":"`) || !strings.HasSuffix(body, `"}`) || !strings.Contains(body, detail) {
		t.Errorf("body %s, want a detail with %q", body, detail)
	}
}
