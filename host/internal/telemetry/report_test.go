package telemetry_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/telemetry"
)

func report(t *testing.T, c *clock) (*telemetry.Tracker, *telemetry.Report) {
	t.Helper()
	tr := telemetry.NewTracker(telemetry.TrackerOptions{Now: c.Now})
	sys := telemetry.NewSystem(context.Background(), telemetry.SystemOptions{})
	plugins := func() []telemetry.Plugin {
		return []telemetry.Plugin{{Name: "x", Routes: []string{"GET /x", "GET /y"}}}
	}
	return tr, telemetry.NewReport(telemetry.ReportOptions{Tracker: tr, System: sys, Plugins: plugins})
}

func get(t *testing.T, h http.Handler, method string) (*httptest.ResponseRecorder, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, "/", nil))
	var doc map[string]any
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
			t.Fatalf("%s: %v", w.Body, err)
		}
	}
	return w, doc
}

// The contract is data: every name in testdata must be there with its type. "int" is a number
// without a fraction.
func TestDocumentsKeepTheirShape(t *testing.T) {
	c := new(clock)
	tr, rep := report(t, c)
	run(tr, c, 1234*time.Millisecond, 200)
	for name, h := range map[string]http.Handler{"health": rep.HealthHandler(), "metrics": rep.MetricsHandler()} {
		raw, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var want map[string]any
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		w, got := get(t, tr.Track(h), http.MethodGet)
		if w.Code != 200 || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
		compare(t, name, got, want)
	}
}

func compare(t *testing.T, path string, got any, want any) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		m, ok := got.(map[string]any)
		if !ok {
			t.Errorf("%s is %T, want an object", path, got)
			return
		}
		for k, v := range want {
			compare(t, path+"."+k, m[k], v)
		}
	case []any:
		list, _ := got.([]any)
		if len(list) == 0 {
			t.Errorf("%s is %v, want a list with something in it", path, got)
		}
		for i, v := range list {
			compare(t, fmt.Sprintf("%s[%d]", path, i), v, want[0])
		}
	case string:
		v, isNumber := got.(float64)
		ok := false
		switch want {
		case "int":
			ok = isNumber && v == float64(int64(v))
		case "number":
			ok = isNumber
		case "string":
			_, ok = got.(string)
		case "users":
			s, _ := got.(string)
			ok = regexp.MustCompile(`^[0-9]+-[0-9]+ users$`).MatchString(s)
		}
		if !ok {
			t.Errorf("%s = %v, want %s", path, got, want)
		}
	}
}

// Fault 1: after N requests every answer says N and itself.
func TestFault1HealthCountsEveryRequestAndItself(t *testing.T) {
	c := new(clock)
	tr, rep := report(t, c)
	for range 300 {
		run(tr, c, 10*time.Millisecond, 200)
	}
	_, doc := get(t, tr.Track(rep.HealthHandler()), http.MethodGet)
	if doc["total_requests"] != 301.0 || doc["active_connections"] != 1.0 {
		t.Errorf("total_requests %v, active_connections %v; want 301, 1", doc["total_requests"], doc["active_connections"])
	}
	perf := doc["performance"].(map[string]any)
	if perf["requests_per_minute"] != 6000.0 || perf["avg_concurrent_users"] != 1.0 {
		t.Errorf("performance %v; want 6000 a minute (300 in 3 s) and 1 user", perf)
	}
}

// A plugin is its routes added up: counts, and the percentiles of all its requests and not of its routes' percentiles.
func TestMetricsByRouteAndPlugin(t *testing.T) {
	c := new(clock)
	tr, rep := report(t, c)
	to := func(route string, took time.Duration, status int) {
		tr.Track(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			telemetry.SetRoute(r.Context(), route)
			telemetry.SetPlugin(r.Context(), "x", "1")
			c.advance(took)
			w.WriteHeader(status)
			_, _ = w.Write([]byte("1234"))
		})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	}
	for range 98 {
		to("GET /x", 10*time.Millisecond, 200)
	}
	to("GET /y", 2*time.Second, 200)
	to("GET /y", 2*time.Second, 502)
	m := rep.Metrics()
	if len(m.Routes) != 2 || m.Routes[0].Pattern != "GET /x" || m.Routes[1].Pattern != "GET /y" || len(m.Plugins) != 1 {
		t.Fatalf("routes %+v, plugins %+v", m.Routes, m.Plugins)
	}
	p := m.Plugins[0]
	if p.Plugin != "x" || p.Requests != 100 || p.Status.Success != 99 || p.Status.ServerError != 1 || p.Bytes != 400 || p.FiveMinutes.Completed != 100 {
		t.Errorf("%+v", p)
	}
	near(t, "p50", p.Latency.P50*100, 1)
	near(t, "p99", p.Latency.P99, 2)
	near(t, "concurrency", p.FiveMinutes.Concurrency, 1)
	near(t, "p99 of the quick route", m.Routes[0].Latency.P99*100, 1)
	c.advance(10 * time.Minute)
	if p := rep.Metrics().Plugins[0]; p.Requests != 100 || p.FiveMinutes.Completed != 0 || p.Latency.P99 != 0 {
		t.Errorf("10 minutes later %+v", p)
	}
}

func TestDocumentsAreGetOnly(t *testing.T) {
	_, rep := report(t, new(clock))
	for _, h := range []http.Handler{rep.HealthHandler(), rep.MetricsHandler()} {
		w, doc := get(t, h, http.MethodPost)
		if w.Code != 405 || doc["detail"] != "Method Not Allowed" || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("POST: %d %v %v", w.Code, doc, w.Header())
		}
		if w, _ := get(t, h, http.MethodHead); w.Code != 200 {
			t.Errorf("HEAD: %d", w.Code)
		}
	}
}

func TestRegistry(t *testing.T) {
	c := new(clock)
	tr := telemetry.NewTracker(telemetry.TrackerOptions{Now: c.Now})
	reg, err := telemetry.NewRegistry(telemetry.RegistryOptions{Tracker: tr, Version: "1.2.3", Revision: "abc"})
	if err != nil {
		t.Fatal(err)
	}
	run(tr, c, 30*time.Millisecond, 200)
	run(tr, c, 2*time.Second, 404)
	w := httptest.NewRecorder()
	tr.Track(reg.Handler()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body := w.Body.String()
	for _, line := range []string{
		`patchbay_http_requests_total{code="200",method="GET",route="GET /x"} 1`,
		`patchbay_http_requests_total{code="404",method="GET",route="GET /x"} 1`,
		`patchbay_http_request_duration_seconds_bucket{route="GET /x",le="0.025"} 0`,
		`patchbay_http_request_duration_seconds_bucket{route="GET /x",le="0.05"} 1`,
		`patchbay_http_request_duration_seconds_bucket{route="GET /x",le="2.5"} 2`,
		`patchbay_http_request_duration_seconds_count{route="GET /x"} 2`,
		`patchbay_http_in_flight_requests 1`,
		`patchbay_http_websockets 0`,
		`revision="abc",version="1.2.3"} 1`,
		"go_goroutines ", "process_resident_memory_bytes ",
	} {
		if !strings.Contains(body, line) {
			t.Errorf("missing %s in\n%s", line, fmt.Sprint(grep(body, "patchbay_")))
		}
	}
	if err := reg.Register(collector{}); err != nil {
		t.Error(err)
	}
	if err := reg.Register(collector{}); err == nil {
		t.Error("the same metrics were registered twice")
	}
}

func grep(s, with string) (out []string) {
	for line := range strings.Lines(s) {
		if strings.Contains(line, with) {
			out = append(out, line)
		}
	}
	return out
}
