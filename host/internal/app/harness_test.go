package app_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/patchbay-run/patchbay/host/internal/app"
	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/guesttest"
	"github.com/patchbay-run/patchbay/host/internal/logtest"
)

// patience keeps a broken test from hanging; nothing is expected to take that long.
const patience = 2 * time.Minute

// forever is the time-out of a server whose test is not about it: no machine is so slow.
const forever = "10m"

// setup is the configuration of one test, in parts. What is empty is left out, or as in the examples.
type setup struct {
	host      string // an address to listen at; "" is 127.0.0.1
	server    string // keys of server, one a line
	top       string // whole sections
	client    string // keys of client
	gpustack  string // endpoint of the upstream gpustack; "" is demo:gpustack
	endpoints string // its endpoints, a flow list, in the place of gpustack
	chats     string // more keys of that upstream, "key: value" joined by commas
	tavily    string // endpoint of the search provider; "" is the demo
	search    string // more keys of the plugin's config
	workers   int    // of each plugin; 0 is 1
	limits    string // of each plugin, a flow mapping; "" gives time for slow machines
	models    string // endpoint of another GPUStack, for the plugin models
	plugins   string // the names of those to load; "" is all three
	summary   string // the model of summaries
	cache     string // what the search may keep, such as 1MiB; "" is nothing
	published string // topics of each plugin, a flow list without its brackets
	searchKey string // the name of the secret that goes to the search provider

	searchWasm, modelsWasm string // sources of these plugins; "" is what is built from the tree
}

// yaml is the configuration as a file has it.
func (s setup) yaml(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	section := func(name, lines string) {
		if lines != "" {
			fmt.Fprintf(&b, "%s:\n  %s\n", name, strings.ReplaceAll(strings.TrimSpace(lines), "\n", "\n  "))
		}
	}
	listen := "listen: " + cmp.Or(s.host, "127.0.0.1") + ":0\n"
	section("server", listen+s.server)
	section("admin", listen)
	client := s.client
	if !strings.Contains(client, "response_timeout") {
		client += "\nresponse_timeout: " + forever
	}
	section("client", client)
	fmt.Fprintf(&b, "cache_dir: %s\n%s\n", filepath.Join(guesttest.Cache(t), "app"), s.top)
	chats := ""
	if s.chats != "" {
		chats = ", " + s.chats
	}
	fmt.Fprintf(&b, "upstreams:\n  gpustack: {endpoints: %s, private: true%s}\n", cmp.Or(s.endpoints, fmt.Sprintf("[%q]", cmp.Or(s.gpustack, "demo:gpustack"))), chats)
	fmt.Fprintf(&b, "  demo-search: {endpoints: [\"demo:search\"], private: true}\n")
	if s.models != "" {
		fmt.Fprintf(&b, "  other: {endpoints: [%q], private: true}\n", s.models)
	}
	b.WriteString("plugins:\n")
	plugin := func(name, source, routes, grants, config string) {
		if s.plugins != "" && !strings.Contains(s.plugins, name) {
			return
		}
		if source == "" {
			source = guest(t, name)
		}
		published := ""
		if s.published != "" {
			published = ", publish: [" + s.published + "]"
		}
		fmt.Fprintf(&b, "  - name: %s\n    source: %s\n    routes: [%s]\n    workers: %d\n    limits: {%s}\n    grant: {fetch: [%s], cache: %s%s}\n    config: {%s}\n",
			name, source, routes, max(s.workers, 1), cmp.Or(s.limits, "cpu: 1m, timeout: "+forever), grants, map[bool]string{true: cmp.Or(s.cache, "0"), false: "0"}[name == "search"], published, config)
	}
	grants := "{upstream: demo-search, methods: [POST], paths: [/search]}, {upstream: gpustack, methods: [POST], paths: [/v1/chat/completions]}"
	conf := "provider: demo"
	if s.tavily != "" {
		grants += ", " + hostGrant(s.tavily, "POST", "/search", s.searchKey)
		conf = fmt.Sprintf("provider: tavily, tavily: {endpoint: %q, secret: %q}", s.tavily, s.searchKey)
	}
	if s.summary != "" {
		conf += fmt.Sprintf(", summary: {model: %q}", s.summary)
	}
	if s.search != "" {
		conf += ", " + s.search
	}
	if !strings.Contains(conf, "timeout:") {
		conf += ", timeout: " + forever
	}
	plugin("search", s.searchWasm, `"POST /api/tools/search"`, grants, conf)
	plugin("inference", "", `"POST /api/inference/infer", "POST /api/inference/stream"`,
		"{upstream: gpustack, methods: [POST], paths: [/v1/chat/completions]}", `endpoint: "upstream://gpustack"`)
	models := "gpustack"
	if s.models != "" {
		models = "other"
	}
	plugin("models", s.modelsWasm, `"GET /api/models"`,
		fmt.Sprintf("{upstream: %s, methods: [GET], paths: [/v1/models]}", models), fmt.Sprintf(`endpoint: "upstream://%s"`, models))
	return b.String()
}

// hostGrant allows calls to a provider of a test.
func hostGrant(address, method, path, secret string) string {
	_, port, _ := strings.Cut(strings.TrimPrefix(address, "http://"), ":")
	if secret != "" {
		secret = ", secret: " + secret
	}
	return fmt.Sprintf("{host: 127.0.0.1, scheme: http, port: %s, private: true, methods: [%s], paths: [%s]%s}", port, method, path, secret)
}

// guest is the compiled plugin of that name.
func guest(t testing.TB, name string) string {
	t.Helper()
	return warm.keep(t, "plugins", name)
}

// ownHost is a loopback address that nobody else listens at or calls from: a port of it that was let go stays free.
func ownHost() string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1" // has no other without being told
	}
	return fmt.Sprintf("127.%d.%d.%d", 64+rand.IntN(64), rand.IntN(256), 1+rand.IntN(254))
}

// patchbay is a server that runs in this process.
type patchbay struct {
	*testing.T
	app    *app.App
	url    string
	admin  string
	token  string
	file   string // its configuration
	log    *serverLog
	reload chan os.Signal
	client *http.Client
	stop   func() error // ends Run, and gives what it returned
}

// serve starts a server with a configuration and has it stopped, and looked at for leaks, when the test ends.
func serve(t *testing.T, s setup, environ ...string) *patchbay {
	t.Helper()
	file := filepath.Join(t.TempDir(), "patchbay.yaml")
	write(t, file, s.yaml(t))
	return serveAt(t, file, environ...)
}

// serveAt is serve with a configuration that is there.
func serveAt(t *testing.T, file string, environ ...string) *patchbay {
	t.Helper()
	before := goleak.IgnoreCurrent()
	p := &patchbay{T: t, file: file, log: &serverLog{}, reload: make(chan os.Signal, 1)}
	log := slog.New(slog.NewJSONHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a, err := app.New(t.Context(), app.Options{Config: config.Options{File: file, Environ: environ}, Version: "test", Revision: "abc", Log: log, Engine: warm.open(t)})
	if err != nil {
		t.Fatal(err)
	}
	p.app = a
	p.url, p.admin = "http://"+a.Addr().String(), "http://"+a.AdminAddr().String()
	token, err := os.ReadFile(filepath.Join(guesttest.Cache(t), "app", "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	p.token = strings.TrimSpace(string(token))
	transport := &http.Transport{MaxIdleConnsPerHost: 1000}
	p.client = &http.Client{Transport: transport, Timeout: patience}

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx, p.reload) }()
	p.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := p.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
		transport.CloseIdleConnections()
		var left error
		defer func() {
			if left != nil {
				t.Error(left)
			}
		}()
		eventually(t, "no goroutine is left", func() bool { left = goleak.Find(before); return left == nil })
		if t.Failed() {
			t.Log(p.log.problems())
		}
	})
	return p
}

// answer is what a client read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// detail is the text of an answer in the one shape of errors; it fails the test when that is not the shape.
func (a answer) detail(t testing.TB) string {
	t.Helper()
	var d map[string]any
	if err := json.Unmarshal(a.body, &d); err != nil || len(d) != 1 {
		t.Errorf("%v is not {\"detail\": …}", a)
	}
	text, ok := d["detail"].(string)
	if !ok || text == "" {
		t.Errorf("%v has no text as its detail", a)
	}
	if kind := a.header.Get("Content-Type"); kind != "application/json" {
		t.Errorf("an error has the type %q", kind)
	}
	return text
}

// try sends one request; the error is what the client saw.
func (p *patchbay) try(ctx context.Context, method, url, body string, headers ...string) (answer, error) {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, r)
	if err != nil {
		return answer{}, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, b}, err
}

// do is try with a path of the public listener, for what must be answered.
func (p *patchbay) do(method, path, body string, headers ...string) answer {
	p.Helper()
	a, err := p.try(p.Context(), method, p.url+path, body, headers...)
	if err != nil {
		p.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// ok is do for what must be answered with 200.
func (p *patchbay) ok(method, path, body string) answer {
	p.Helper()
	a := p.do(method, path, body)
	if a.status != http.StatusOK {
		p.Fatalf("%s %s: %v", method, path, a)
	}
	return a
}

func (p *patchbay) search(query string) answer {
	p.Helper()
	return p.do("POST", "/api/tools/search", searchBody(query))
}

func (p *patchbay) health() health {
	p.Helper()
	return decode[health](p.T, p.ok("GET", "/api/health", ""))
}

// admins asks the admin listener.
func (p *patchbay) admins(path string) answer {
	p.Helper()
	a, err := p.try(p.Context(), "GET", p.admin+path, "", "Authorization", "Bearer "+p.token)
	if err != nil {
		p.Fatal(err)
	}
	return a
}

// reasons are what /readyz?verbose says is wrong, as one text.
func (p *patchbay) reasons() string {
	p.Helper()
	var r struct {
		Reasons []struct{ What, Problem string }
	}
	if err := json.Unmarshal(p.admins("/readyz?verbose").body, &r); err != nil {
		p.Fatal(err)
	}
	var b strings.Builder
	for _, r := range r.Reasons {
		fmt.Fprintf(&b, "%s: %s\n", r.What, r.Problem)
	}
	return b.String()
}

// version is the plugin's version that serves, by the admin listener.
func (p *patchbay) version(name string) string {
	p.Helper()
	return decode[struct{ Version string }](p.T, p.admins("/api/plugins/"+name)).Version
}

// health is the document of /api/health.
type health struct {
	Status      string
	Active      int `json:"active_connections"`
	Total       int `json:"total_requests"`
	Performance struct {
		PerMinute float64 `json:"requests_per_minute"`
		Users     float64 `json:"avg_concurrent_users"`
	}
}

// found is the document of a search.
type found struct {
	Result struct {
		Query   string
		Results []struct {
			Title, URL, Content string
			Index               int
		}
		Summary string `json:"llm_summary"`
		Status  string `json:"processing_status"`
		Error   string `json:"processing_error"`
	}
}

func decode[T any](t testing.TB, a answer) (v T) {
	t.Helper()
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("%v: %v", a, err)
	}
	return v
}

// eventually waits until is true; what says what was waited for.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// inTime tries what must happen within a time-out, with longer ones when it did not: a machine that hesitates is no failure. The last
// is so long that none does.
func inTime(t testing.TB, what string, try func(timeout time.Duration) error) {
	t.Helper()
	var err error
	for _, timeout := range []time.Duration{time.Second, 6 * time.Second, time.Minute} {
		if err = try(timeout); err == nil {
			return
		}
		t.Logf("%s, with a time-out of %v: %v", what, timeout, err)
	}
	t.Errorf("%s: %v", what, err)
}

// receive waits for a value.
func receive[T any](t testing.TB, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("not within %v: %s", patience, what)
		panic("unreachable")
	}
}

// each runs n calls at once and waits for all.
func each(n int, do func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { do(i) })
	}
	all.Wait()
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace puts a file in another's place in one step, as editors and builds do.
func replace(t testing.TB, file, text string) {
	t.Helper()
	write(t, file+".new", text)
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// serverLog is what the server logged.
type serverLog struct{ logtest.Buffer }

// problems are the first lines of the log that tell of something wrong, the beginning of each.
func (l *serverLog) problems() string {
	var out strings.Builder
	n := 0
	for line := range strings.Lines(l.String()) {
		if n < 5 && !strings.Contains(line, `"level":"DEBUG"`) && !strings.Contains(line, `"level":"INFO"`) {
			n++
			fmt.Fprintln(&out, line[:min(len(line), 1000)])
		}
	}
	return "the server's log:\n" + out.String()
}
