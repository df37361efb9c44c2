package admin_test

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/admin"
	"github.com/patchbay-run/patchbay/host/internal/events"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
)

func says(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s) })
}

// The shapes, field by field; a program that reads them relies on each.
func TestShapes(t *testing.T) {
	whole := admin.Options{Metrics: says("metrics"), Live: says("live"), Events: happened()}
	down := full()
	down.ready.Ready = false
	for _, tc := range []struct {
		file    string
		path    string
		options admin.Options
		status  int
	}{
		{"list.json", "/", whole, 200},
		{"list_bare.json", "/", admin.Options{}, 200},
		{"plugins.json", "/api/plugins", whole, 200},
		{"plugin.json", "/api/plugins/search", whole, 200},
		{"plugin_not_loaded.json", "/api/plugins/models", whole, 200},
		{"upstreams.json", "/api/upstreams", whole, 200},
		{"capacity.json", "/api/capacity", whole, 200},
		{"config.json", "/api/config", whole, 200},
		{"readyz.json", "/readyz?verbose", whole, 200},
		{"readyz_not.json", "/readyz?verbose=1", admin.Options{View: down}, 503},
		{"plugins_none.json", "/api/plugins", admin.Options{View: view{}}, 200},
		{"upstreams_none.json", "/api/upstreams", admin.Options{View: view{}}, 200},
		{"events.json", "/api/events", whole, 200},
		{"events_after.json", "/api/events?after=1&limit=1", whole, 200},
		{"events_none.json", "/api/events", admin.Options{Events: events.New(nil)}, 200},
		{"readyz_bare.json", "/readyz?verbose", admin.Options{View: view{ready: admin.Readiness{Ready: true}}}, 200},
	} {
		t.Run(tc.file, func(t *testing.T) {
			want, err := os.ReadFile(filepath.Join("testdata", tc.file))
			if err != nil {
				t.Fatal(err)
			}
			resp, body := send(t, request(t, start(t, tc.options), tc.path, nil))
			if resp.StatusCode != tc.status || resp.Header.Get("Content-Type") != "application/json" {
				t.Errorf("status %d, Content-Type %q", resp.StatusCode, resp.Header.Get("Content-Type"))
			}
			if body != string(want) {
				t.Errorf("got\n%s\nwant\n%s", body, want)
			}
		})
	}
}

func TestText(t *testing.T) {
	ready, not := view{ready: admin.Readiness{Ready: true}}, view{}
	for _, tc := range []struct {
		name, path string
		view       view
		status     int
		body       string
	}{
		{"live", "/livez", not, 200, "ok\n"},
		{"ready", "/readyz", ready, 200, "ok\n"},
		{"not ready", "/readyz", not, 503, "not ready\n"},
		{"metrics", "/metrics", ready, 200, "metrics"},
		{"feed", "/api/live", ready, 200, "live"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr := start(t, admin.Options{View: tc.view, Metrics: says("metrics"), Live: says("live")})
			resp, body := send(t, request(t, addr, tc.path, nil))
			if resp.StatusCode != tc.status || body != tc.body || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
				t.Errorf("status %d, Content-Type %q, body %q", resp.StatusCode, resp.Header.Get("Content-Type"), body)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	nonsense := full()
	nonsense.upstreams = []upstream.Stats{{ReuseRate: math.NaN()}}
	whole := admin.Options{View: nonsense, Metrics: says("metrics"), Live: says("live"), Events: happened()}
	for _, tc := range []struct {
		name, method, path string
		options            admin.Options
		status             int
		detail             string
		allow              string
	}{
		{"unknown path", "GET", "/api", whole, 404, "Not Found", ""},
		{"unknown path, other method", "POST", "/nowhere", whole, 404, "Not Found", ""},
		{"path below a route", "GET", "/livez/x", whole, 404, "Not Found", ""},
		{"unknown plugin", "GET", "/api/plugins/nope", whole, 404, `No plugin is called \"nope\"; GET /api/plugins lists them`, ""},
		{"no feed", "GET", "/api/live", admin.Options{}, 404, "Not Found", ""},
		{"no metrics", "GET", "/metrics", admin.Options{}, 404, "Not Found", ""},
		{"no events", "GET", "/api/events", admin.Options{}, 404, "Not Found", ""},
		{"events after a word", "GET", "/api/events?after=now", whole, 400, "after must be a whole number", ""},
		{"events after nothing", "GET", "/api/events?after=", whole, 400, "after must be a whole number", ""},
		{"fewer than no events", "GET", "/api/events?limit=-1", whole, 400, "limit must be a whole number", ""},
		{"POST list", "POST", "/", whole, 405, "Method Not Allowed", "GET, HEAD"},
		{"POST plugins", "POST", "/api/plugins", whole, 405, "Method Not Allowed", "GET, HEAD"},
		{"DELETE plugin", "DELETE", "/api/plugins/search", whole, 405, "Method Not Allowed", "GET, HEAD"},
		{"PUT config", "PUT", "/api/config", whole, 405, "Method Not Allowed", "GET, HEAD"},
		{"PATCH upstreams", "PATCH", "/api/upstreams", whole, 405, "Method Not Allowed", "GET, HEAD"},
		{"OPTIONS ready", "OPTIONS", "/readyz", whole, 405, "Method Not Allowed", "GET, HEAD"},
		{"POST metrics", "POST", "/metrics", whole, 405, "Method Not Allowed", "GET, HEAD"},
		{"POST feed", "POST", "/api/live", whole, 405, "Method Not Allowed", "GET"},
		{"POST symbol", "POST", "/debug/pprof/symbol", whole, 405, "Method Not Allowed", "GET"},
		{"unknown profile", "GET", "/debug/pprof/nope", whole, 404, "No such profile", ""},
		{"endless profile", "GET", "/debug/pprof/profile?seconds=301", whole, 400, "up to 300", ""},
		{"endless trace", "GET", "/debug/pprof/trace?seconds=1e9", whole, 400, "up to 300", ""},
		{"endless delta", "GET", "/debug/pprof/heap?seconds=999", whole, 400, "up to 300", ""},
		{"seconds that are no number", "GET", "/debug/pprof/trace?seconds=NaN", whole, 400, "up to 300", ""},
		{"seconds below zero", "GET", "/debug/pprof/profile?seconds=-1", whole, 400, "up to 300", ""},
		{"what JSON cannot say", "GET", "/api/upstreams", whole, 500, "could not be encoded", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resp, body := send(t, request(t, start(t, tc.options), tc.path, method(tc.method)))
			refused(t, resp, body, tc.status, tc.detail)
			if got := resp.Header.Get("Allow"); got != tc.allow {
				t.Errorf("Allow: %q, want %q", got, tc.allow)
			}
		})
	}
}

// HEAD says what GET would, and does not do work whose result nobody gets.
func TestHead(t *testing.T) {
	addr := start(t, admin.Options{Live: says("live")})
	for path, status := range map[string]int{"/": 200, "/api/plugins": 200, "/readyz": 200, "/api/live": 405, "/debug/pprof/profile": 405} {
		if resp, body := send(t, request(t, addr, path, method("HEAD"))); resp.StatusCode != status || body != "" {
			t.Errorf("HEAD %s: status %d, body %q", path, resp.StatusCode, body)
		}
	}
}

// What the list shows can be called as it is listed.
func TestListIsWhatThereIs(t *testing.T) {
	addr := start(t, admin.Options{Metrics: says("metrics"), Live: says("live")})
	_, body := send(t, request(t, addr, "/", nil))
	var list struct {
		Routes []struct{ Method, Path, About string }
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatal(err)
	}
	for _, route := range list.Routes {
		path := strings.NewReplacer("{name}", "search", "{profile}", "cmdline").Replace(route.Path)
		if resp, body := send(t, request(t, addr, path, method(route.Method))); resp.StatusCode != 200 || route.About == "" {
			t.Errorf("%s %s: status %d, %s", route.Method, path, resp.StatusCode, body)
		}
	}
}

func TestProfiles(t *testing.T) {
	addr := start(t, admin.Options{})
	for _, tc := range []struct{ path, kind, begins string }{
		{"/debug/pprof/", "text/html; charset=utf-8", "<html>"},
		{"/debug/pprof/cmdline", "text/plain; charset=utf-8", os.Args[0]},
		{"/debug/pprof/symbol", "text/plain; charset=utf-8", "num_symbols"},
		{"/debug/pprof/goroutine?debug=1", "text/plain; charset=utf-8", "goroutine profile:"},
		{"/debug/pprof/heap", "application/octet-stream", "\x1f\x8b"},
		{"/debug/pprof/trace?seconds=0.01", "application/octet-stream", "go 1."},
		{"/debug/pprof/profile?seconds=1", "application/octet-stream", "\x1f\x8b"},
	} {
		t.Run(tc.path, func(t *testing.T) {
			resp, body := send(t, request(t, addr, tc.path, nil))
			if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != tc.kind || !strings.HasPrefix(body, tc.begins) {
				t.Errorf("status %d, Content-Type %q, body %.60q", resp.StatusCode, resp.Header.Get("Content-Type"), body)
			}
		})
	}
	resp, _ := send(t, request(t, addr, "/debug/pprof", nil))
	if to := resp.Header.Get("Location"); resp.StatusCode/100 != 3 || to != "/debug/pprof/" {
		t.Errorf("status %d to %q", resp.StatusCode, to)
	}
}

func TestNewRefuses(t *testing.T) {
	good := admin.Options{Token: token, View: full(), Listen: "127.0.0.1:8001"}
	for _, tc := range []struct {
		name string
		edit func(*admin.Options)
		want []string
	}{
		{"no token", func(o *admin.Options) { o.Token = "" }, []string{"the token is empty"}},
		{"token of two words", func(o *admin.Options) { o.Token = "a b" }, []string{"white space"}},
		{"token that no header carries", func(o *admin.Options) { o.Token = "a\x00b" }, []string{"printable"}},
		{"no view", func(o *admin.Options) { o.View = nil }, []string{"no view"}},
		{"no port", func(o *admin.Options) { o.Listen = "localhost" }, []string{"admin.listen is not host:port"}},
		{"all at once", func(o *admin.Options) { *o = admin.Options{Listen: "x"} }, []string{"the token is empty", "no view", "admin.listen"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := good
			tc.edit(&o)
			_, err := admin.New(o)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want %q in it", err, want)
				}
			}
		})
	}
}

// A view may hand out what it keeps.
func TestViewIsNotChanged(t *testing.T) {
	v := full()
	addr := start(t, admin.Options{View: v})
	for _, path := range []string{"/api/plugins", "/api/plugins/models"} {
		if resp, body := send(t, request(t, addr, path, nil)); resp.StatusCode != 200 {
			t.Errorf("%s: status %d: %s", path, resp.StatusCode, body)
		}
	}
	if v.plugins[1].Routes != nil {
		t.Error("the view's own list was written to")
	}
}
