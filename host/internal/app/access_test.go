package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/patchbay-run/patchbay/host/internal/app"
	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/logs"
)

// linesOf are the lines of the log that have this message, and of all if it is "".
func (p *patchbay) linesOf(message string) (all []map[string]any) {
	p.Helper()
	for line := range strings.Lines(p.log.String()) {
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			p.Fatalf("%q: %v", line, err)
		}
		if message == "" || l["msg"] == message {
			all = append(all, l)
		}
	}
	return all
}

// TestRequestIDGoesAllTheWay: from the client to the answer, the access line, the plugin's own lines and a named upstream, but not to a
// host that is somebody else's.
func TestRequestIDGoesAllTheWay(t *testing.T) {
	var atStack, atTavily atomic.Pointer[string]
	note := func(at *atomic.Pointer[string], r *http.Request) {
		id := strings.Join(r.Header["X-Request-Id"], ",")
		at.Store(&id)
	}
	stack := newGPUStack(t, func(_ *provider, w http.ResponseWriter, r *http.Request, _ chat) {
		note(&atStack, r)
		writeJSON(w, 500, `{"error":{"message":"no","code":500}}`)
	})
	tavily := newTavily(t, func(_ *provider, r *http.Request, _ string) { note(&atTavily, r) })
	p := serve(t, setup{plugins: "inference, search", gpustack: stack.url, tavily: tavily.url, chats: "health: {failures: 0}"})

	if a := p.do("POST", "/api/inference/infer", chatBody("m", "a private prompt"), "X-Request-Id", "mine-1"); a.status != 502 || a.header.Get("X-Request-Id") != "mine-1" {
		t.Errorf("%v %v", a, a.header)
	}
	if a := p.do("POST", "/api/tools/search?q=private", searchBody("a private query"), "X-Request-Id", "mine-2"); a.status != 200 || a.header.Get("X-Request-Id") != "mine-2" {
		t.Errorf("%v %v", a, a.header)
	}
	if got := *atStack.Load(); got != "mine-1" {
		t.Errorf("the upstream was told %q", got)
	}
	if got := *atTavily.Load(); got != "" {
		t.Errorf("a host that is no upstream was told %q", got)
	}
	var access, said []map[string]any
	eventually(t, "both access lines", func() bool { access = p.linesOf("request"); return len(access) == 2 })
	for i, want := range []map[string]any{
		{"id": "mine-1", "route": "POST /api/inference/infer", "status": 502.0, "plugin": "inference", "left": "server", "level": "INFO"},
		{"id": "mine-2", "route": "POST /api/tools/search", "status": 200.0, "plugin": "search", "left": "server", "level": "INFO"},
	} {
		for key, value := range want {
			if access[i][key] != value {
				t.Errorf("%s is %v, want %v: %v", key, access[i][key], value, access[i])
			}
		}
		for _, key := range []string{"version", "bytes_in", "bytes_out", "duration_ms", "first_byte_ms"} {
			if v := access[i][key]; v == nil || v == 0.0 {
				t.Errorf("%s is missing: %v", key, access[i])
			}
		}
		if access[i]["client"] != nil {
			t.Errorf("it tells the client's address: %v", access[i])
		}
	}
	for _, l := range p.linesOf("") {
		if l["plugin"] == "inference" && l["request"] == "mine-1" {
			said = append(said, l)
		}
	}
	if len(said) == 0 || said[0]["worker"] != 1.0 || said[0]["version"] != access[0]["version"] {
		t.Errorf("the plugin's own lines of that request are %v", said)
	}
	if text := p.log.String(); strings.Contains(text, "private") {
		t.Error("what a client asked is in the log")
	}
}

// TestHostRoutesHaveTheirLines: what the host answers itself goes by its own route, the live feed's upgrade too, and that has an id.
func TestHostRoutesHaveTheirLines(t *testing.T) {
	p := serve(t, setup{plugins: "models"})
	p.ok("GET", "/", "")
	p.ok("GET", "/config.js", "")
	p.ok("GET", "/livez", "")
	p.do("GET", "/nowhere", "")
	conn, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(p.url, "http")+"/api/live", http.Header{"X-Request-Id": {"feed-1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if id := resp.Header.Get("X-Request-Id"); id != "feed-1" {
		t.Errorf("the upgrade has the id %q", id)
	}
	want := []string{"INFO GET / 200", "INFO GET /config.js 200", "DEBUG GET /livez 200", "INFO unmatched 404", "INFO GET /api/live 101"}
	var got []string
	eventually(t, "all lines", func() bool {
		got = nil
		for _, l := range p.linesOf("request") {
			got = append(got, fmt.Sprint(l["level"], " ", l["route"], " ", l["status"]))
		}
		return len(got) >= len(want)
	})
	if !slices.Equal(got, want) {
		t.Errorf("the lines are %q, want %q", got, want)
	}
}

// TestLogSettingsChangeAtAReload uses the log as the command does.
func TestLogSettingsChangeAtAReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "patchbay.yaml")
	text := setup{plugins: "models"}.yaml(t)
	settings := func(s string) string { return text + "log: {" + s + "}\n" }
	write(t, file, settings("level: info, format: json"))
	p := &patchbay{T: t, file: file, log: &serverLog{}, reload: make(chan os.Signal, 1), client: &http.Client{Timeout: patience}}
	c, err := config.Load(config.Options{File: file})
	if err != nil {
		t.Fatal(err)
	}
	lines := logs.New(p.log, c.Log)
	a, err := app.New(t.Context(), app.Options{Config: config.Options{File: file}, Version: "test", Log: lines.Logger, Lines: lines})
	if err != nil {
		t.Fatal(err)
	}
	p.app, p.url = a, "http://"+a.Addr().String()
	done := make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	go func() { done <- a.Run(ctx, p.reload) }()
	defer func() {
		p.client.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		lines.Close()
		if strings.Contains(p.log.String(), "next start") {
			t.Errorf("a setting that changed is said to wait for the next start: %v", p.linesOf("a setting changed that takes effect at the next start"))
		}
	}()
	seen := 0
	for i, step := range []struct {
		settings       string
		models, probes bool // whether their lines are written
		client         bool
	}{
		{"level: info, format: json", true, false, false},
		{"level: debug, format: json, client: true", true, true, true},
		{"level: debug, format: json, access: false", false, false, false},
		{"level: warn, format: json", false, false, false},
		{"level: info, format: json", true, false, false},
	} {
		replace(t, file, settings(step.settings))
		if err := a.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.ok("GET", "/livez", "")
		p.ok("GET", "/api/models", "")
		want := seen
		for _, told := range []bool{step.models, step.probes} {
			if told {
				want++
			}
		}
		lines.Error("a mark")
		eventually(t, "what was logged is written", func() bool { return len(p.linesOf("a mark")) == i+1 })
		access := p.linesOf("request")
		if len(access) != want {
			t.Errorf("%s: %d lines, want %d", step.settings, len(access)-seen, want-seen)
		}
		for _, l := range access[seen:] {
			if (l["client"] == "127.0.0.1") != step.client {
				t.Errorf("%s: %v", step.settings, l)
			}
		}
		seen = len(access)
	}
}
