package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/patchbay-run/patchbay/host/internal/guesttest"
	"github.com/patchbay-run/patchbay/host/internal/keys"
	"github.com/patchbay-run/patchbay/host/internal/logtest"
	"github.com/patchbay-run/patchbay/host/internal/otlptest"
)

// The secrets of the test: from a variable, from a file that changes, and one with all that is escaped somewhere.
const (
	fromEnv  = "tvly-4711-do-not-tell-anybody"
	fromFile = "gpustack_0123456789abcdef_0123456789abcdef0123456789abcdef"
	changed  = "gpustack_fedcba9876543210_fedcba9876543210fedcba9876543210"
	escaped  = `p@ss/w+rd="a&b"<c>%20 \d`
)

// apiKey is what clients of the test send, in clear and as the configuration has it.
var apiKey, apiKeyHash = keys.Make()

// told is which secrets stand in a text, in any spelling.
func told(text string) (found []string) {
	for _, s := range []string{fromEnv, fromFile, changed, escaped, apiKey[12:]} {
		inJSON, _ := json.Marshal(s)
		twice, _ := json.Marshal(string(inJSON))
		spellings := []string{
			s, url.QueryEscape(s), url.PathEscape(s), strings.Trim(string(inJSON), `"`), strings.Trim(string(twice), `"`), html.EscapeString(s), fmt.Sprintf("%q", s), hex.EncodeToString([]byte(s)),
			s[:16], // a part is too much as well
		}
		for _, around := range []string{s, "Bearer " + s, "user:" + s, "x:" + s + ":y"} {
			whole := base64.RawStdEncoding.EncodeToString([]byte(around))
			spellings = append(spellings, whole, whole[len(whole)/2:]) // the second half is the secret's alone
		}
		if slices.ContainsFunc(spellings, func(spelling string) bool { return strings.Contains(text, spelling) }) {
			found = append(found, s)
		}
	}
	return found
}

// indiscreet is a service that says back all that it was sent, in the way that the path names.
func indiscreet(t *testing.T, seen *sync.Map) string {
	var self *httptest.Server
	self = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		keys := append(slices.Clone(r.Header.Values("Authorization")), r.Header.Values("X-Api-Key")...)
		for _, k := range keys {
			seen.Store(strings.TrimPrefix(k, "Bearer "), true)
		}
		key := strings.Join(keys, " ")
		bare := strings.TrimPrefix(key, "Bearer ")
		echo := fmt.Sprintf("%v %s %s", r.Header, b, key)
		message, _ := json.Marshal(map[string]any{"error": map[string]any{"message": "Incorrect API key provided: " + key, "echo": echo}, "detail": echo})
		raw := func(text string) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = io.WriteString(c, text)
				time.Sleep(20 * time.Millisecond)
				_ = c.Close()
			}
		}
		say := func(status int, kind, text string) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
		}
		_, how, _ := strings.Cut(r.URL.Path, "/say/")
		switch how {
		case "200", "400", "401", "403", "404", "429", "500", "503":
			status := 0
			fmt.Sscan(how, &status)
			say(status, "application/json", string(message))
		case "text":
			say(200, "text/plain", echo)
		case "html":
			say(200, "text/html", html.EscapeString(echo))
		case "hex":
			say(200, "text/plain", hex.EncodeToString([]byte(bare)))
		case "base64":
			say(200, "text/plain", base64.StdEncoding.EncodeToString([]byte("user:"+bare))+" "+base64.URLEncoding.EncodeToString([]byte("x:"+bare+":y")))
		case "query":
			say(200, "text/plain", url.QueryEscape(bare)+" "+url.PathEscape(bare))
		case "header":
			w.Header().Set("X-Echo", key)
			w.Header().Set("Www-Authenticate", "Bearer "+key)
			w.Header().Set("Set-Cookie", "key="+url.QueryEscape(bare))
		case "redirect":
			http.Redirect(w, r, "/say/text?key="+url.QueryEscape(bare), 302)
		case "away":
			http.Redirect(w, r, strings.Replace(self.URL, "127.0.0.1", "localhost", 1)+"/say/text?key="+url.QueryEscape(bare), 302)
		case "refused":
			http.Redirect(w, r, "http://127.0.0.9/"+url.PathEscape(bare)+"?key="+url.QueryEscape(bare), 302)
		case "bytes":
			for _, b := range []byte(echo) {
				_, _ = w.Write([]byte{b})
				_ = http.NewResponseController(w).Flush()
			}
		case "events":
			say(200, "text/event-stream", "data: {\"a\":\"hello\"}\n\ndata: "+string(message)+"\n\ndata: [DONE]\n\n")
		case "error-event":
			say(200, "text/event-stream", "data: "+string(message)+"\n\n")
		case "cut":
			say(200, "text/plain", echo)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "garbage":
			raw(key + "\r\n\r\n")
		case "status-line":
			raw("HTTP/1.1 " + key + "\r\n\r\n")
		case "bad-header":
			raw("HTTP/1.1 200 OK\r\n" + key + "\r\n\r\n")
		case "bad-length":
			raw("HTTP/1.1 200 OK\r\nContent-Length: " + key + "\r\n\r\n")
		case "bad-chunk":
			raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" + key + "\r\n")
		case "behind":
			raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + "HTTP/1.1 400 " + key + "\r\n\r\n")
		case "switch":
			raw("HTTP/1.1 101 " + key + "\r\nUpgrade: " + key + "\r\nConnection: upgrade\r\n\r\n")
		case "coding":
			w.Header().Set("Content-Encoding", key)
			_, _ = io.WriteString(w, key)
		default:
			say(404, "application/json", string(message))
		}
	}))
	t.Cleanup(self.Close)
	return self.URL
}

// TestNothingSaidIsASecret runs the server as a process through its paces, with services and a plugin that tell all they know, and
// looks for the secrets in everything that came out of it: both streams, every answer, the admin listener, the feed, the traces.
func TestNothingSaidIsASecret(t *testing.T) {
	var seen sync.Map
	service := indiscreet(t, &seen)
	port := service[strings.LastIndexByte(service, ':')+1:]
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	file := filepath.Join(dir, "host.yaml")
	put := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	build := func(elements ...string) string {
		return guesttest.Build(t, filepath.Join(append([]string{guesttest.Root()}, elements...)...))
	}
	put(key, fromFile+"\n")
	receiver := otlptest.Start(t, "grpc", nil)
	conf := fmt.Sprintf(`
log: {level: debug}
traces: {endpoint: %[7]q}
auth: {required: true, keys: [{name: web, hash: "`+apiKeyHash+`", routes: ["*"]}]}
cache_dir: %[1]q
client: {response_timeout: 2s}
upstreams:
  far: {endpoints: ["%[2]s/far"], private: true, auth: {secret: file}, response_timeout: 2s}
secrets:
  env: {env: FROM_ENV, hosts: [127.0.0.1], insecure: true}
  escaped: {env: ESCAPED, hosts: [127.0.0.1], insecure: true}
  file: {file: %[3]q, upstream: far, insecure: true}
plugins:
  - name: fetcher
    source: %[4]q
    routes: ["POST /fetch", "POST /drain", "POST /pipe", "POST /tell", "POST /trap"]
    limits: {cpu: 10s}
    grant:
      headers: [Authorization, X-API-Key, Sec-WebSocket-Protocol]
      fetch:
        - {host: 127.0.0.1, scheme: http, port: %[5]s, private: true, methods: [GET, POST], paths: [/say], secret: env}
        - {host: 127.0.0.1, scheme: http, port: %[5]s, private: true, methods: [GET, POST], paths: [/say], secret: escaped, as: X-Api-Key}
        - {host: localhost, scheme: http, port: %[5]s, private: true, methods: [GET, POST], paths: [/say]}
        - {upstream: far, methods: [GET, POST], paths: [/say]}
  - name: inference
    source: %[6]q
    routes: ["POST /api/inference/infer", "POST /api/inference/stream"]
    grant: {fetch: [{upstream: far, methods: [POST], paths: [/v1/chat/completions]}]}
    config: {endpoint: "upstream://far"}
`, filepath.Join(guesttest.Cache(t), "server"), service, key, build("host", "internal", "app", "testdata", "fetcher"), port, build("plugins", "inference"), receiver.URL)
	put(file, conf)

	public, admin := freeAddr(t), freeAddr(t)
	var out, errs logtest.Buffer
	cmd := exec.Command("patchbay", "serve", "--config", file, "--listen", public, "--set", "admin.listen="+admin)
	cmd.Env = []string{"FROM_ENV=" + fromEnv, "ESCAPED=" + escaped, "HTTP_PROXY=http://127.0.0.1:1"}
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })

	stars, turn := 0, 0
	ask := func(method, address, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(method, address, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(address, admin) {
			token, _ := os.ReadFile(filepath.Join(guesttest.Cache(t), "server", "admin-token"))
			req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
		}
		if strings.Contains(address, public) {
			if turn++; turn%2 == 0 {
				req.Header.Set("Authorization", "Bearer "+apiKey)
			} else {
				req.Header.Set("X-API-Key", apiKey)
			}
		}
		req.Header.Set("X-Stream-Events", "1")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		text := fmt.Sprint(resp.Status, resp.Header, string(b), err)
		if found := told(text); len(found) > 0 {
			t.Errorf("%s %s %s tells %q: %.1500s", method, address, body, found, text)
		}
		if strings.Contains(text, "********") {
			stars++
		}
		return resp.StatusCode, string(b)
	}
	until := func(what string, is func() bool) {
		t.Helper()
		for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not within two minutes: %s\n%s", what, errs.String())
			}
		}
	}
	until("ready", func() bool { status, _ := ask("GET", "http://"+public+"/readyz", ""); return status == 200 })
	feed, _, err := (&websocket.Dialer{Subprotocols: []string{"patchbay", "pb." + apiKey}}).Dial("ws://"+public+"/api/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()

	ways := strings.Fields("200 400 401 403 404 429 500 503 text html hex base64 query header redirect away refused bytes events error-event cut garbage status-line bad-header bad-length bad-chunk behind switch coding other")
	paces := func() {
		for _, way := range ways {
			for _, to := range []string{`"url":"` + service + `/say/` + way + `","secret":"env"`, `"url":"` + service + `/say/` + way + `","secret":"escaped"`, `"url":"upstream://far/say/` + way + `"`} {
				for _, path := range []string{"/fetch", "/drain", "/tell", "/pipe"} {
					ask("POST", "http://"+public+path, "{"+to+"}")
				}
				ask("POST", "http://"+public+"/pipe", "{"+to+`,"sse":true}`)
				ask("POST", "http://"+public+"/fetch", "{"+to+`,"header":{"accept-encoding":"gzip","x-mine":"y"},"redirects":-1,"method":"POST","body":"hello"}`)
			}
		}
		for _, secret := range []string{"env", "escaped"} {
			ask("POST", "http://"+public+"/trap", `{"url":"`+service+`/say/text","secret":"`+secret+`"}`)
		}
		for _, wrong := range []string{
			`{"url":"` + service + `/nowhere","secret":"env"}`, `{"url":"` + service + `/say/text","secret":"file"}`, `{"url":"http://localhost:` + port + `/say/text","secret":"env"}`, `{"url":"upstream://far/say/text","secret":"env"}`,
		} {
			ask("POST", "http://"+public+"/fetch", wrong)
		}
		for _, path := range []string{"infer", "stream"} {
			ask("POST", "http://"+public+"/api/inference/"+path, `{"model":"m","messages":[{"role":"user","content":"hello"}]}`)
		}
		for _, path := range []string{"/", "/api/plugins", "/api/plugins/fetcher", "/api/config", "/api/upstreams", "/readyz?verbose", "/metrics", "/debug/pprof/", "/debug/pprof/goroutine?debug=2", "/debug/pprof/cmdline", "/debug/pprof/heap?debug=1"} {
			if status, _ := ask("GET", "http://"+admin+path, ""); status != 200 && path != "/" {
				t.Errorf("admin %s: %d", path, status)
			}
		}
		for _, path := range []string{"/nowhere?key=" + apiKey, "/" + apiKey, "/api/health?" + apiKey} { // each refused
			if status, _ := ask("GET", "http://"+public+path, ""); status != 400 {
				t.Errorf("a key in the URL: %d", status)
			}
		}
		for _, path := range []string{"/", "/api/health", "/api/metrics", "/readyz", "/livez", "/config.js"} {
			ask("GET", "http://"+public+path, "")
		}
	}
	paces()

	put(key, changed+"\n")
	until("the changed key is sent", func() bool {
		ask("POST", "http://"+public+"/fetch", `{"url":"upstream://far/say/text"}`)
		_, ok := seen.Load(changed)
		return ok
	})
	paces()

	// Mistakes in the midst of secrets, each a reason on the admin side.
	for what, text := range map[string]string{
		"a value in the file": strings.Replace(conf, "{env: FROM_ENV,", "{env: FROM_ENV, value: "+fromEnv+",", 1),
		"a key in a URL":      strings.Replace(conf, service+"/far", "https://user:"+fromEnv+"@far.example.com/", 1),
		"a proxy's password":  strings.Replace(conf, "auth: {secret: file}", "auth: {secret: file}, proxy: \"http://user:"+fromEnv+"@127.0.0.1:3128\"", 1),
	} {
		put(file, text)
		_ = cmd.Process.Signal(syscall.SIGHUP)
		until(what, func() bool {
			_, b := ask("GET", "http://"+admin+"/readyz?verbose", "")
			return strings.Contains(b, "secrets.env") || strings.Contains(b, "upstreams.far")
		})
		put(file, conf)
		_ = cmd.Process.Signal(syscall.SIGHUP)
		until("it is mended", func() bool {
			_, b := ask("GET", "http://"+admin+"/readyz?verbose", "")
			return !strings.Contains(b, "configuration")
		})
	}
	put(key, changed[:20]+"\n"+changed[20:]+"\n")
	until("a key of two lines is a reason", func() bool {
		_, b := ask("GET", "http://"+admin+"/readyz?verbose", "")
		return strings.Contains(b, "secrets.file holds a line break")
	})

	_ = feed.SetReadDeadline(time.Now().Add(2 * time.Minute))
	for range 3 {
		_, b, err := feed.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if found := told(string(b)); len(found) > 0 {
			t.Errorf("the feed tells %q", found)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the server ended with %v", err)
	}
	spans := receiver.Spans()
	for _, span := range spans {
		if found := told(span.String()); len(found) > 0 {
			t.Errorf("a span tells %q: %.1500v", found, span)
		}
	}
	if len(spans) < 1000 {
		t.Errorf("only %d spans came: %q", len(spans), otlptest.Names(spans))
	}
	for name, stream := range map[string]*logtest.Buffer{"standard output": &out, "standard error": &errs} {
		for line := range strings.Lines(stream.String()) {
			if found := told(line); len(found) > 0 {
				t.Errorf("%s tells %q: %.1500s", name, found, line)
			}
		}
	}
	for _, s := range []string{fromEnv, fromFile, changed, escaped} {
		if _, ok := seen.Load(s); !ok {
			t.Errorf("the service was never sent %q: this looked for nothing", s)
		}
	}
	if _, ok := seen.Load(apiKey); ok {
		t.Error("the service was sent the client's API key")
	}
	if !strings.Contains(errs.String(), "Unsolicited response received") {
		t.Error("nothing came behind an answer, or it is not logged any more: then aside can go")
	}
	if lines := strings.Count(errs.String(), "\n"); lines < 100 || stars < 100 {
		t.Errorf("%d lines were logged, %d answers had stars: too few to mean something", lines, stars)
	}
}
