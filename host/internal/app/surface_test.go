package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// TestDemoNeedsNoKeyAndNoNetwork is what `make run` serves.
func TestDemoNeedsNoKeyAndNoNetwork(t *testing.T) {
	p := serve(t, setup{top: "demo: {token_gap: 1ms}"})
	a := p.ok("POST", "/api/tools/search", searchBody("how do trains work"))
	got := decode[found](t, a)
	if len(got.Result.Results) == 0 || got.Result.Results[0].Index != 1 || got.Result.Results[0].Title == "" {
		t.Errorf("%v", a)
	}
	if a.header.Get("X-Patchbay-Demo") != "1" {
		t.Error("a search in the demo does not say so")
	}
	models := decode[struct {
		Models []struct {
			Name  string
			Ready int `json:"ready_replicas"`
		}
	}](t, p.ok("GET", "/api/models", ""))
	if len(models.Models) == 0 || models.Models[0].Name == "" {
		t.Fatalf("%+v", models)
	}
	chat := chatBody(models.Models[0].Name, "Hello, who are you?")
	if s := p.stream(chat); s.resp.Header.Get("X-Patchbay-Demo") != "1" || !strings.Contains(strings.ToLower(s.words()), "demo") {
		t.Error("a chat with the demo does not say so")
	}
	if a := p.ok("POST", "/api/inference/infer", chat); !strings.Contains(strings.ToLower(string(a.body)), "demo") || a.header.Get("X-Patchbay-Demo") != "1" {
		t.Errorf("%v", a)
	}
	if a := p.do("POST", "/api/inference/stream", chatBody("no-such-model", "hi")); a.status != 404 || a.detail(t) == "" {
		t.Errorf("%v", a)
	}
}

// TestSummary: the summary rides on the search, and its failure never fails the search.
func TestSummary(t *testing.T) {
	stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) {
		if strings.Contains(c.Messages[len(c.Messages)-1].Content, "refuse") {
			writeJSON(w, 503, `{"error":{"message":"no ready instance","code":503}}`)
			return
		}
		say(w, c, "Patch bays route signals [1].")
	})
	tavily := newTavily(t, nil)
	p := serve(t, setup{plugins: "search", gpustack: stack.url, tavily: tavily.url, summary: "m"})
	got := decode[found](t, p.ok("POST", "/api/tools/search", searchBody("what is a patch bay"))).Result
	if got.Status != "success" || !strings.HasPrefix(got.Summary, "Patch bays route signals [1].") || !strings.Contains(got.Summary, "Sources:\n[1] Title 1 - https://example.com/1") {
		t.Errorf("%+v", got)
	}
	got = decode[found](t, p.ok("POST", "/api/tools/search", searchBody("refuse this"))).Result
	if got.Status != "api_error" || got.Summary != "" || got.Error == "" || len(got.Results) != 8 {
		t.Errorf("%+v", got)
	}
}

// TestHostRoutes are what the server answers itself.
func TestHostRoutes(t *testing.T) {
	p := serve(t, setup{plugins: "models"})
	for _, c := range []struct{ path, kind, want string }{
		{"/", "application/json", `{"message":"`},
		{"/config.js", "text/javascript; charset=utf-8", "window.CONFIG = {BACKEND_URL: ''};\n"},
		{"/livez", "text/plain; charset=utf-8", "ok\n"},
		{"/readyz", "text/plain; charset=utf-8", "ok\n"},
		{"/api/health", "application/json", `{"status":"healthy",`},
		{"/api/metrics", "application/json", `{"concurrent_connections":1,`},
	} {
		a := p.ok("GET", c.path, "")
		if kind := a.header.Get("Content-Type"); kind != c.kind || !strings.HasPrefix(string(a.body), c.want) {
			t.Errorf("%s: %s %v", c.path, kind, a)
		}
		if head := p.do("HEAD", c.path, ""); head.status != 200 || len(head.body) != 0 || head.header.Get("Content-Type") != c.kind {
			t.Errorf("HEAD %s: %v %v", c.path, head, head.header)
		}
		if a := p.do("POST", c.path, "{}"); a.status != 405 || a.detail(t) != "Method Not Allowed" || !strings.Contains(a.header.Get("Allow"), "GET") {
			t.Errorf("POST %s: %v, Allow %q", c.path, a, a.header.Get("Allow"))
		}
	}
	for _, path := range []string{"/nowhere", "/api", "/api/", "/api/tools/search/", "/api/models/x", "/API/health", "/readyz?verbose&/x/../..", "/metrics", "/debug/pprof/", "/v2"} {
		a := p.do("GET", path, "")
		if strings.HasPrefix(path, "/readyz") {
			if a.status != 200 || string(a.body) != "ok\n" { // the reasons are not for strangers
				t.Errorf("%s: %v", path, a)
			}
			continue
		}
		if a.status != 404 || a.detail(t) != "Not Found" {
			t.Errorf("%s: %v", path, a)
		}
	}
	if a := p.do("GET", "/v1/nowhere", ""); a.status != 404 || !strings.Contains(string(a.body), `{"error":{`) {
		t.Errorf("below /v1: %v", a)
	}
}

// TestCORSAndRequestID: pages of elsewhere may read answers, errors too, and everybody can name a request.
func TestCORSAndRequestID(t *testing.T) {
	p := serve(t, setup{plugins: "models"})
	for _, path := range []string{"/api/health", "/nowhere", "/api/models"} {
		a := p.do("GET", path, "", "Origin", "https://elsewhere.example", "X-Request-Id", "abc-123")
		if a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %v", path, a.header)
		}
		if id := a.header.Get("X-Request-Id"); id != "abc-123" {
			t.Errorf("%s: the id is %q", path, id)
		}
	}
	a := p.do("OPTIONS", "/api/tools/search", "", "Origin", "https://elsewhere.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type")
	if a.status != 204 || a.header.Get("Access-Control-Allow-Headers") != "content-type" || !strings.Contains(a.header.Get("Access-Control-Allow-Methods"), "POST") {
		t.Errorf("%v %v", a, a.header)
	}
	ids := map[string]bool{}
	for _, bad := range []string{"", "two words", strings.Repeat("a", 65), "<script>"} {
		id := p.do("GET", "/api/health", "", "X-Request-Id", bad).header.Get("X-Request-Id")
		if id == "" || id == bad || ids[id] {
			t.Errorf("the id for %q is %q", bad, id)
		}
		ids[id] = true
	}
}

// TestCORSOfListedOrigins: who is not on the list gets no permission, and the answer all the same.
func TestCORSOfListedOrigins(t *testing.T) {
	p := serve(t, setup{plugins: "models", server: `cors: {origins: ["https://ours.example"]}`})
	for origin, want := range map[string]string{"https://ours.example": "https://ours.example", "https://elsewhere.example": "", "null": ""} {
		a := p.do("GET", "/api/health", "", "Origin", origin)
		if got := a.header.Get("Access-Control-Allow-Origin"); got != want || a.header.Get("Vary") != "Origin" {
			t.Errorf("%s: %q, Vary %q", origin, got, a.header.Get("Vary"))
		}
	}
}

// TestLiveFeed: hello first, then both topics whole, on both listeners.
func TestLiveFeed(t *testing.T) {
	p := serve(t, setup{plugins: "models"})
	p.ok("GET", "/api/models", "")
	for _, c := range []struct {
		url    string
		header http.Header
	}{
		{p.url, nil},
		{p.url, http.Header{"Origin": {"https://elsewhere.example"}}},
		{p.admin, http.Header{"Authorization": {"Bearer " + p.token}}},
	} {
		conn, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(c.url, "http")+"/api/live", c.header)
		if err != nil {
			t.Fatal(err, resp)
		}
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		seen := map[string]json.RawMessage{}
		var state struct {
			Total int `json:"total_requests"`
		}
		for i := 0; len(seen) < 3 || state.Total < 1; i++ {
			var f struct {
				Type, Topic string
				Seq         uint64
				Time        time.Time
				Data        json.RawMessage
			}
			if err := conn.ReadJSON(&f); err != nil {
				t.Fatal(err)
			}
			if (i == 0) != (f.Type == "hello") || i > 0 && (f.Type != "state" || f.Seq == 0) || f.Time.IsZero() || len(f.Data) == 0 {
				t.Errorf("frame %d is %+v", i, f)
			}
			seen[f.Type+f.Topic] = f.Data
			if f.Topic == "http" {
				if err := json.Unmarshal(f.Data, &state); err != nil {
					t.Errorf("%s %v", f.Data, err)
				}
			}
		}
	}
	if a := p.do("GET", "/api/live", ""); a.status != 400 {
		t.Errorf("no websocket: %v", a)
	}
}

// TestAdminIsShutWithoutToken: internals are seen with the token only.
func TestAdminIsShutWithoutToken(t *testing.T) {
	p := serve(t, setup{})
	for _, path := range []string{"/", "/api/plugins", "/api/config", "/api/upstreams", "/readyz?verbose", "/metrics", "/debug/pprof/heap", "/api/live", "/nowhere"} {
		a, err := p.try(t.Context(), "GET", p.admin+path, "")
		if err != nil || a.status != 401 {
			t.Errorf("%s without the token: %v %v", path, a, err)
		}
	}
	for _, path := range []string{"/", "/api/plugins", "/api/plugins/search", "/api/config", "/api/upstreams", "/readyz?verbose", "/readyz", "/livez", "/metrics", "/debug/pprof/"} {
		if a := p.admins(path); a.status != 200 {
			t.Errorf("%s: %v", path, a)
		}
	}
	for _, metric := range []string{`patchbay_plugin_up{plugin="models"} 1`, `patchbay_upstream_open_connections{upstream="shared"} 0`, "patchbay_http_in_flight_requests"} {
		if a := p.admins("/metrics"); !strings.Contains(string(a.body), metric) {
			t.Errorf("/metrics has no %s", metric)
		}
	}
	if plugins := p.app.Plugins(); len(plugins) != 3 || plugins[0].State != "serving" || plugins[0].Version == "" || plugins[0].Digest == "" {
		t.Errorf("%+v", plugins)
	}
}
