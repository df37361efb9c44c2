package telemetry_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/telemetry"
)

func report(t *testing.T, c *clock, limit int) (*telemetry.Tracker, *telemetry.Report) {
	t.Helper()
	tr := telemetry.NewTracker(telemetry.TrackerOptions{Now: c.Now})
	sys := telemetry.NewSystem(context.Background(), telemetry.SystemOptions{})
	return tr, telemetry.NewReport(telemetry.ReportOptions{Tracker: tr, System: sys, Limit: func() int { return limit }})
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
	tr, rep := report(t, c, 200)
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
	tr, rep := report(t, c, 0)
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

// Fault 12: capacity comes from what was measured, and says so.
func TestFault12CapacityIsComputed(t *testing.T) {
	for _, tc := range []struct {
		name                 string
		took                 time.Duration // 0 is no request
		limit                int
		light, medium, heavy string
		service, limitBasis  string
	}{
		// N = 200 * (2 + 60) / 2 = 6200, 70 % of it 4340.
		{"nothing measured", 0, 0, "4300-6200 users", "1500-2200 users", "490-700 users", "assumed", "assumed"},
		{"measured", 10 * time.Second, 10, "49-70 users", "21-30 users", "10-15 users", "measured", "configured"},
		{"slow and narrow", time.Minute, 1, "1-2 users", "1-1 users", "1-1 users", "measured", "configured"},
		{"instant", time.Microsecond, 1, "42000-60000 users", "14000-20000 users", "3500-5000 users", "measured", "configured"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := new(clock)
			tr, rep := report(t, c, tc.limit)
			if tc.took > 0 {
				run(tr, c, tc.took, 200)
			}
			got := rep.Metrics().EstimatedCapacity
			if got.Light != tc.light || got.Medium != tc.medium || got.Heavy != tc.heavy {
				t.Errorf("got %q %q %q, want %q %q %q", got.Light, got.Medium, got.Heavy, tc.light, tc.medium, tc.heavy)
			}
			if got.Basis.Service != tc.service || got.Basis.Limit != tc.limitBasis {
				t.Errorf("basis %+v, want service %s, limit %s", got.Basis, tc.service, tc.limitBasis)
			}
		})
	}
}

func TestCapacityOutlivesAQuietHour(t *testing.T) {
	c := new(clock)
	tr, rep := report(t, c, 10)
	run(tr, c, 10*time.Second, 200)
	want := rep.Metrics().EstimatedCapacity
	c.advance(3 * time.Hour)
	if got := rep.Metrics().EstimatedCapacity; !reflect.DeepEqual(got, want) {
		t.Errorf("3 h later %+v, want %+v", got, want)
	}
}

func TestDocumentsAreGetOnly(t *testing.T) {
	_, rep := report(t, new(clock), 0)
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
