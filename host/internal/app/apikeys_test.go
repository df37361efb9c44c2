package app_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/patchbay-run/patchbay/host/internal/app"
	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/guesttest"
	"github.com/patchbay-run/patchbay/host/internal/keys"
)

// madeKey is a key of a test, and its entry in a configuration.
type madeKey struct{ text, entry string }

func newKey(name string, more ...string) madeKey {
	text, hash := keys.Make()
	if len(more) == 0 {
		more = []string{`routes: ["*"]`}
	}
	return madeKey{text, fmt.Sprintf("{name: %s, hash: %q, %s}", name, hash, strings.Join(more, ", "))}
}

// mirrorYAML is the configuration of a server with the plugin that shows what it sees, and is granted every header that may hold a key.
func mirrorYAML(t *testing.T, auth string) string {
	t.Helper()
	return fmt.Sprintf(`server: {listen: "127.0.0.1:0"}
admin: {listen: "127.0.0.1:0"}
cache_dir: %s
auth: %s
plugins:
  - name: mirror
    source: %s
    routes: ["POST /mirror", "POST /v1/mirror/{name}"]
    limits: {cpu: 10s}
    grant: {headers: [Authorization, X-API-Key, Sec-WebSocket-Protocol, Cookie]}
`, filepath.Join(guesttest.Cache(t), "app"), auth, warm.keep(t, "host", "internal", "app", "testdata", "mirror"))
}

// sends is what a client sends besides a method and a path: "Name: value" lines, a name as often as there are values.
func (p *patchbay) sends(method, path, body string, lines ...string) answer {
	p.Helper()
	req, err := http.NewRequestWithContext(p.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.Fatal(err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		p.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, b}
}

// metric is the value of a line of Prometheus' text; "" is no such line.
func (p *patchbay) metric(name string) string {
	p.Helper()
	for line := range strings.Lines(string(p.admins("/metrics").body)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// TestKeys: each way to be wrong has its status, and no key is told anywhere.
func TestKeys(t *testing.T) {
	web, scoped := newKey("web"), newKey("scoped", `routes: ["POST /v1/mirror/*"]`)
	old, gone := newKey("old", `routes: ["*"]`, "expires: 2020-01-01"), newKey("gone", `routes: ["*"]`, "disabled: true")
	stranger := newKey("stranger")
	mistyped := web.text[:20] + map[bool]string{true: "b", false: "a"}[web.text[20] == 'a'] + web.text[21:]
	file := filepath.Join(t.TempDir(), "patchbay.yaml")
	write(t, file, mirrorYAML(t, fmt.Sprintf("{required: true, keys: [%s]}", strings.Join([]string{web.entry, scoped.entry, old.entry, gone.entry}, ", "))))
	p := serveAt(t, file)

	bearer := func(k string) string { return "Authorization: Bearer " + k }
	for _, c := range []struct {
		what, path string // "" is /mirror
		lines      []string
		status     int
		detail     string // a part of it
	}{
		{"right", "", []string{bearer(web.text)}, 200, ""},
		{"right, the other header", "", []string{"X-API-Key: " + web.text}, 200, ""},
		{"right, twice", "", []string{bearer(web.text), "X-API-Key: " + web.text}, 200, ""},
		{"right, for this route", "/v1/mirror/x", []string{bearer(scoped.text)}, 200, ""},
		{"missing", "", nil, 401, "needs an API key"},
		{"somebody else's", "", []string{bearer("sk-1")}, 401, "no API key of this server"},
		{"wrong", "", []string{bearer(stranger.text)}, 401, "not known"},
		{"malformed", "", []string{bearer(mistyped)}, 401, "mistyped"},
		{"cut off", "", []string{bearer(web.text[:40])}, 401, "cut off"},
		{"expired", "", []string{bearer(old.text)}, 401, "expired"},
		{"revoked", "", []string{bearer(gone.text)}, 401, "revoked"},
		{"out of scope", "", []string{bearer(scoped.text)}, 403, "not for this route"},
		{"out of scope, a host route", "/api/health", []string{bearer(scoped.text)}, 403, "not for this route"},
		{"two", "", []string{bearer(web.text), "X-API-Key: " + scoped.text}, 400, "Two different"},
		{"two of a kind", "", []string{bearer(web.text), bearer(scoped.text)}, 400, "Two different"},
		{"in the query", "/mirror?api_key=" + web.text, nil, 400, "in the URL"},
		{"in the path", "/v1/mirror/" + web.text, []string{bearer(web.text)}, 400, "in the URL"},
		{"in the path of nothing", "/" + web.text, nil, 400, "in the URL"},
		{"as a user", "", []string{"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(web.text+":"))}, 401, "wrong place"},
		{"missing, on a host route", "/api/health", nil, 401, "needs an API key"},
		{"missing, on no route", "/nowhere", nil, 401, "needs an API key"},
		{"missing, the seed's page", "/config.js", nil, 401, "needs an API key"},
		{"missing, below /v1", "/v1/mirror/x", nil, 401, "needs an API key"},
	} {
		path := c.path
		if path == "" {
			path = "/mirror"
		}
		a := p.sends("POST", path, `{}`, c.lines...)
		if a.status != c.status || a.header.Get("X-Request-Id") == "" {
			t.Errorf("%s: %v", c.what, a)
		}
		challenge := a.header.Get("WWW-Authenticate")
		if (c.status != 200) != strings.HasPrefix(challenge, "Bearer ") {
			t.Errorf("%s: WWW-Authenticate %q", c.what, challenge)
		}
		for _, k := range []string{web.text, scoped.text, old.text, gone.text, stranger.text, mistyped} {
			if text := fmt.Sprint(a.header, string(a.body)); strings.Contains(text, k[12:30]) {
				t.Errorf("%s: the key is told: %s", c.what, text)
			}
		}
		switch {
		case c.status == 200:
		case strings.HasPrefix(path, "/v1/"):
			e := decode[struct {
				Error struct {
					Message string
					Code    int
				}
			}](t, a).Error
			if e.Code != c.status || !strings.Contains(e.Message, c.detail) {
				t.Errorf("%s: %v", c.what, a)
			}
		case !strings.Contains(a.detail(t), c.detail):
			t.Errorf("%s: %v", c.what, a)
		}
	}

	// What needs none.
	for _, path := range []string{"/livez", "/readyz"} {
		if a := p.do("GET", path, ""); a.status != 200 {
			t.Errorf("%s: %v", path, a)
		}
	}
	if a := p.do("OPTIONS", "/mirror", "", "Origin", "https://x.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization"); a.status != 204 || a.header.Get("Access-Control-Allow-Headers") != "authorization" {
		t.Errorf("%v %v", a, a.header)
	}
	if a := p.do("OPTIONS", "/mirror", ""); a.status != 401 {
		t.Errorf("no preflight: %v", a)
	}
	if a := p.do("POST", "/mirror", "{}", "Origin", "https://x.example"); a.status != 401 || a.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("a page cannot read why: %v", a.header)
	}

	// A plugin that is granted all sees what is not ours.
	seen := string(p.sends("POST", "/mirror", "{}", "Authorization: Basic dTpw", bearer(web.text), "X-API-Key: abc", "X-API-Key: "+web.text, "Cookie: a=b").body)
	for _, want := range []string{"Basic dTpw", "abc", "a=b"} {
		if !strings.Contains(seen, want) {
			t.Errorf("the plugin does not see %q: %s", want, seen)
		}
	}
	if strings.Contains(seen, "pb_") {
		t.Errorf("the plugin sees the key: %s", seen)
	}

	if a := p.sends("POST", "/mirror", "{}", bearer(web.text), "X-Request-Id: "+web.text); a.status != 200 || strings.Contains(fmt.Sprint(a.header), "pb_") {
		t.Errorf("the id of a request is the key: %v", a.header)
	}

	// A half body is not waited for.
	half := p.dial()
	_, _ = io.WriteString(half, "POST /mirror HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
	if a := readAnswer(p, half); a.status != 401 {
		t.Errorf("a half body: %v", a)
	}

	for name, want := range map[string]string{
		`patchbay_key_requests_total{class="2xx",key="web"}`:                          "5",
		`patchbay_key_requests_total{class="4xx",key="scoped"}`:                       "2",
		`patchbay_key_requests_total{class="4xx",key="old"}`:                          "1",
		`patchbay_key_refusals_total{reason="unknown"}`:                               "1",
		`patchbay_key_refusals_total{reason="url"}`:                                   "3",
		`patchbay_http_requests_total{code="403",method="POST",route="unauthorized"}`: "2",
	} {
		if got := p.metric(name); got != want {
			t.Errorf("%s is %q, want %s", name, got, want)
		}
	}
	said := p.log.String() + string(p.admins("/metrics").body) + string(p.admins("/api/config").body) + string(p.admins("/api/plugins").body) + string(p.admins("/debug/pprof/goroutine?debug=2").body)
	for _, k := range []string{web.text, scoped.text, old.text, gone.text, stranger.text, mistyped} {
		if strings.Contains(said, k[12:30]) {
			t.Errorf("the key %s is told", k)
		}
	}
	for _, want := range []string{`"key":"web"`, `"key":"old"`} {
		if !strings.Contains(said, want) {
			t.Errorf("no line of the log has %s", want)
		}
	}
	if strings.Contains(string(p.admins("/api/config").body), "sha256:") {
		t.Error("the configuration shows a hash")
	}
}

// TestKeysOfTheFeed: programs send the key as a header, browsers as a protocol.
func TestKeysOfTheFeed(t *testing.T) {
	web := newKey("web")
	file := filepath.Join(t.TempDir(), "patchbay.yaml")
	write(t, file, mirrorYAML(t, fmt.Sprintf("{required: true, keys: [%s]}", web.entry)))
	p := serveAt(t, file)
	dial := func(header http.Header, protocols ...string) (status int, protocol string) {
		d := websocket.Dialer{Subprotocols: protocols}
		conn, resp, err := d.DialContext(t.Context(), "ws"+strings.TrimPrefix(p.url, "http")+"/api/live", header)
		if err != nil {
			if resp == nil {
				t.Fatal(err)
			}
			return resp.StatusCode, ""
		}
		defer conn.Close()
		if _, _, err := conn.ReadMessage(); err != nil {
			t.Error(err)
		}
		return resp.StatusCode, conn.Subprotocol()
	}
	for _, c := range []struct {
		what      string
		header    http.Header
		protocols []string
		status    int
		protocol  string
	}{
		{"none", nil, nil, 401, ""},
		{"only a protocol", nil, []string{"patchbay"}, 401, ""},
		{"a header", http.Header{"Authorization": {"Bearer " + web.text}}, nil, 101, ""},
		{"a protocol", nil, []string{"patchbay", "pb." + web.text}, 101, "patchbay"},
		{"a protocol, in the other order", nil, []string{"pb." + web.text, "patchbay"}, 101, "patchbay"},
		{"a mistyped protocol", nil, []string{"patchbay", "pb." + web.text + "a"}, 401, ""},
	} {
		if status, protocol := dial(c.header, c.protocols...); status != c.status || protocol != c.protocol {
			t.Errorf("%s: %d, protocol %q; want %d, %q", c.what, status, protocol, c.status, c.protocol)
		}
	}
	if strings.Contains(p.log.String(), web.text[12:30]) {
		t.Error("the key is logged")
	}
}

// TestKeysChange: the file is read again as the configuration is, and whoever is revoked is out though all else is broken.
func TestKeysChange(t *testing.T) {
	web, batch := newKey("web"), newKey("batch")
	file, keysFile := filepath.Join(t.TempDir(), "patchbay.yaml"), filepath.Join(t.TempDir(), "keys.yaml") // each in a folder that is watched
	write(t, keysFile, "keys:\n- "+web.entry+"\n")
	whole := mirrorYAML(t, fmt.Sprintf("{required: true, keys_file: %q}", keysFile))
	write(t, file, whole)
	p := serveAt(t, file)
	status := func(k madeKey) int { return p.do("POST", "/mirror", "{}", "X-API-Key", k.text).status }
	if status(web) != 200 || status(batch) != 401 {
		t.Fatal("at first")
	}
	replace(t, keysFile, "keys:\n- "+web.entry+"\n- "+batch.entry+"\n")
	eventually(t, "the new key is good", func() bool { return status(batch) == 200 })

	replace(t, keysFile, "keys:\n- {name: web, hash: broken, routes: [\"*\"]}\n")
	eventually(t, "the broken file is a reason", func() bool { return strings.Contains(p.reasons(), "keys[0].hash: want a hash") })
	if status(web) != 200 || status(batch) != 200 || p.do("POST", "/mirror", "{}").status != 401 {
		t.Error("a broken file changed the keys")
	}

	replace(t, file, whole+"colour: red\n")
	eventually(t, "the broken configuration is a reason", func() bool {
		return strings.Contains(p.reasons(), "colour") && strings.Contains(p.reasons(), "keys[0]")
	})
	replace(t, keysFile, "keys:\n- "+batch.entry+"\n- "+strings.TrimSuffix(web.entry, "}")+", disabled: true}\n")
	eventually(t, "the key is revoked, though the configuration is broken", func() bool { return status(web) == 401 })
	if status(batch) != 200 {
		t.Error("the other key is out too")
	}
	eventually(t, "the log says that a key was revoked", func() bool {
		return strings.Contains(p.log.String(), `"msg":"API keys in force","keys":2,"usable":1,"required":true`)
	})
	replace(t, keysFile, "keys: []\n")
	eventually(t, "the last key is gone", func() bool { return status(batch) == 401 })
	if a := p.do("GET", "/livez", ""); a.status != 200 {
		t.Error("probes need a key")
	}
	if !strings.Contains(p.log.String(), "every request is refused") {
		t.Error("nobody says that every request is refused")
	}
	if got := p.metric(`patchbay_key_requests_total{class="2xx",key="web"}`); got != "" {
		t.Errorf("a key that is gone is still counted: %s", got)
	}

	// No longer required: a key that is sent is still checked.
	replace(t, file, strings.Replace(whole, "required: true", "required: false", 1))
	eventually(t, "no key is needed", func() bool { return p.do("POST", "/mirror", "{}").status == 200 })
	if status(web) != 401 {
		t.Error("a wrong key passes where none is needed")
	}
	if a := p.do("POST", "/mirror", "{}", "Authorization", "Bearer sk-1"); a.status != 200 || !strings.Contains(string(a.body), "sk-1") {
		t.Errorf("somebody else's key does not reach the plugin that is granted it: %v", a)
	}
}

// TestRequiredKeysThatAreNotThere: a server that nobody could use does not start, and says how to make a key.
func TestRequiredKeysThatAreNotThere(t *testing.T) {
	old := newKey("old", `routes: ["*"]`, "expires: 2020-01-01")
	for auth, want := range map[string]string{
		"{required: true}": "make one by 'patchbay key new --file keys.yaml'",
		"{required: true, keys: [" + old.entry + "]}": "all 1 keys are expired or disabled",
		"{keys_file: /nowhere/keys.yaml}":             "patchbay key new --file /nowhere/keys.yaml",
	} {
		file := filepath.Join(t.TempDir(), "patchbay.yaml")
		write(t, file, mirrorYAML(t, auth))
		a, err := app.New(t.Context(), app.Options{Config: config.Options{File: file}, Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			a.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", auth, err, want)
		}
	}
}

// TestRevokedKeysEndWhatRuns: a stream, a request that waits and a websocket of a key that is revoked end, with the upstream's call;
// those of another key go on.
func TestRevokedKeysEndWhatRuns(t *testing.T) {
	web, batch := newKey("web"), newKey("batch")
	keysFile := filepath.Join(t.TempDir(), "keys.yaml")
	write(t, keysFile, "keys:\n- "+web.entry+"\n- "+batch.entry+"\n")
	stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) {
		if c.Model == "begun" {
			begin(w)
			event(w, "Hel")
		}
		if p.hang(r) || c.Model != "begun" {
			return
		}
		event(w, "lo")
		done(w)
	})
	p := serve(t, setup{plugins: "inference", gpustack: stack.url, top: fmt.Sprintf("auth: {required: true, keys_file: %q}", keysFile)})
	open := func(k madeKey) (*stream, *websocket.Conn) {
		s := p.stream(chatBody("begun", "hi"), "X-API-Key", k.text)
		s.line("data: ")
		feed := listen(t, p.url+"/api/live", http.Header{"X-Api-Key": {k.text}})
		if _, _, err := feed.ReadMessage(); err != nil {
			t.Fatal(err)
		}
		return s, feed
	}
	ended, feed := open(web)
	kept, keptFeed := open(batch)
	waits := make(chan answer, 1)
	go func() {
		a, err := p.try(t.Context(), "POST", p.url+"/api/inference/stream", chatBody("waits", "hi"), "X-API-Key", web.text)
		if err != nil {
			t.Error(err)
		}
		waits <- a
	}()
	eventually(t, "three chats are open", func() bool { now, _ := stack.inFlight(); return now == 3 })

	replace(t, keysFile, "keys:\n- "+strings.TrimSuffix(web.entry, "}")+", disabled: true}\n- "+batch.entry+"\n")
	if rest, err := io.ReadAll(ended.r); err != io.ErrUnexpectedEOF {
		t.Errorf("the stream ended with %q, %v: want it broken off", rest, err)
	}
	if a := receive(t, "the one that waits", waits); a.status != 401 || !strings.Contains(a.detail(t), "revoked") || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer ") {
		t.Errorf("the one that waits: %v %v", a, a.header)
	}
	for {
		_, _, err := feed.ReadMessage()
		if err == nil {
			continue
		}
		if e := (*websocket.CloseError)(nil); !errors.As(err, &e) || e.Code != websocket.ClosePolicyViolation || e.Text != "the API key has been revoked" {
			t.Errorf("the feed ended with %v", err)
		}
		break
	}
	eventually(t, "one chat is left at the upstream", func() bool { now, _ := stack.inFlight(); return now == 1 })
	stack.release()
	if got := kept.words(); got != "lo" {
		t.Errorf("the other key's stream ended with %q", got)
	}
	for range 3 {
		if _, _, err := keptFeed.ReadMessage(); err != nil {
			t.Errorf("the other key's feed: %v", err)
		}
	}
	if said := p.log.String(); strings.Contains(said, `"level":"ERROR"`) || !strings.Contains(said, "the API key has been revoked") {
		t.Error("the log should tell of it, and not as an error")
	}
}

// TestRevokedKeysEndWhatRunsAtAStop: a stream that a stopping server waits for ends with its key, wherever that stands.
func TestRevokedKeysEndWhatRunsAtAStop(t *testing.T) {
	web, batch := newKey("web"), newKey("batch")
	keysFile := filepath.Join(t.TempDir(), "keys.yaml")
	write(t, keysFile, "keys:\n- "+web.entry+"\n- "+batch.entry+"\n")
	stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, _ chat) {
		begin(w)
		event(w, "Hel")
		p.hang(r)
	})
	p := serve(t, setup{plugins: "inference", gpustack: stack.url, server: "drain_timeout: 10m", top: fmt.Sprintf("auth: {required: true, keys_file: %q}", keysFile)})
	s := p.stream(chatBody("m", "hi"), "X-API-Key", web.text)
	s.line("data: ")
	stopped := make(chan error, 1)
	go func() { stopped <- p.stop() }()
	eventually(t, "nobody new is let in", func() bool { return strings.Contains(p.log.String(), "no new connections are accepted") })
	replace(t, keysFile, "keys:\n- "+batch.entry+"\n")
	ended := make(chan error, 1)
	go func() {
		_, err := io.ReadAll(s.r)
		ended <- err
	}()
	if err := receive(t, "the end of the stream", ended); err != io.ErrUnexpectedEOF {
		t.Errorf("the stream ended with %v: want it broken off", err)
	}
	if err := receive(t, "the server", stopped); err != nil {
		t.Error(err)
	}
	eventually(t, "the log says why the stream ended", func() bool { return strings.Contains(p.log.String(), "the API key has been revoked") })
}
