// Package plugintest runs a plugin in an ordinary test, without WebAssembly and without a server: the SDK's own loop against a host written in Go
// that gives the same events and takes the same operations, with the same credits, as the real one.
//
//	func TestHello(t *testing.T) {
//		h := plugintest.New(t, Setup, plugintest.Config(`{"greeting": "hello"}`))
//		a := h.Do("GET", "/hello/world", nil)
//		if a.Status != 200 {
//			t.Fatal(a.Status, string(a.Body))
//		}
//	}
//
// Upstreams are http.Handlers behind real loopback servers. What no Upstream option covers is denied, as without a grant. Natively handlers
// run in parallel, so that go test -race finds what they share. When the test ends, every handler must end too, or the test fails.
package plugintest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
	"github.com/patchbay-run/patchbay/sdk/go/internal/bridge"
	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// closeWithin is how long handlers have to end when the test has.
const closeWithin = 5 * time.Second

// Option sets up a Host.
type Option func(*Host)

// Manifest is the plugin's manifest: the path of a file as a string, or the JSON itself as bytes. Without it ./manifest.json is read.
func Manifest[T string | []byte](m T) Option {
	return func(h *Host) {
		b := []byte(m)
		if path, ok := any(m).(string); ok {
			var err error
			if b, err = os.ReadFile(path); err != nil {
				h.t.Fatalf("plugintest: read the manifest: %v", err)
			}
		}
		h.readManifest(b)
	}
}

// Config is the operator's configuration: JSON as a string or as bytes, or a value that is encoded as JSON.
func Config(v any) Option {
	return func(h *Host) {
		switch v := v.(type) {
		case string:
			h.config = v
		case []byte:
			h.config = string(v)
		default:
			b, err := json.Marshal(v)
			if err != nil {
				h.t.Fatalf("plugintest: encode the configuration: %v", err)
			}
			h.config = string(b)
		}
	}
}

// Secret grants a secret. The host sends it as "Authorization: Bearer value" with calls that name it.
func Secret(name, value string) Option {
	return func(h *Host) { h.secrets = append(h.secrets, abi.Field{Name: name, Value: value}) }
}

// Upstream lets the plugin fetch what begins with urlPrefix ("https://api.example.com", "upstream://gpustack"): the rest of the URL goes to handler,
// behind a loopback server. The longest prefix wins.
func Upstream(urlPrefix string, handler http.Handler) Option {
	return func(h *Host) { h.addUpstream(urlPrefix, handler) }
}

// Cached grants the cache: Host.Pass makes what is kept older.
func Cached() Option {
	return func(h *Host) { h.cache = &cache{kept: map[string]*kept{}, flights: map[string]*flight{}} }
}

// Timeout is how long a request may take until the head of its answer; then it is cancelled and answered with 504. Without it there is no limit.
func Timeout(d time.Duration) Option {
	return func(h *Host) { h.timeout = d }
}

// Host is one worker with its host. Its methods may be called by several goroutines.
type Host struct {
	t        testing.TB
	guest    bridge.Guest
	name     string
	version  string
	config   string
	routes   []route
	secrets  []abi.Field
	ups      []*upstream
	timeout  time.Duration
	manifest bool
	cache    *cache // nil: not granted
	client   http.Client
	work     sync.WaitGroup // goroutines of the host

	mu         sync.Mutex // guards what follows
	cond       *sync.Cond // on mu: anything changed
	mail       []event
	polling    bool // the guest is at work on what it took
	closed     bool
	ready      bool
	setupError error
	logs       []string
	topics     map[string]string // granted, with their states
	events     []plugin.Event
	eventLimit *int // of events, in all; nil is none
	generation uint64
	slots      []*exchange
	ops        map[uint64]*operation
}

// New runs setup in a new worker and waits until it is done. See SetupError for its error. The worker ends with the test.
func New(t testing.TB, setup func(*plugin.Plugin) error, opts ...Option) *Host {
	t.Helper()
	h := &Host{t: t, config: "{}", ops: map[uint64]*operation{}, topics: map[string]string{}}
	h.cond = sync.NewCond(&h.mu)
	transport := &http.Transport{DisableCompression: true}
	h.client = http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(transport.CloseIdleConnections)
	for _, o := range opts {
		o(h)
	}
	if !h.manifest {
		Manifest("manifest.json")(h)
	}
	h.guest = plugin.Attach(imports{h}, setup)
	h.work.Add(1)
	go h.run()
	t.Cleanup(h.close)

	h.mu.Lock()
	defer h.mu.Unlock()
	h.push(event{Event: abi.Event{Kind: abi.Config}, fields: h.configBlock()})
	for !h.ready {
		h.cond.Wait()
	}
	return h
}

func (h *Host) configBlock() []byte {
	fields := []abi.Field{{Name: ":plugin", Value: h.name}, {Name: ":version", Value: h.version}, {Name: ":config", Value: h.config}}
	for _, r := range h.routes {
		fields = append(fields, abi.Field{Name: ":route", Value: r.method + " " + r.path})
	}
	for _, s := range h.secrets {
		fields = append(fields, abi.Field{Name: ":secret", Value: s.Name})
	}
	return abi.AppendBlock(nil, fields)
}

// SetupError is why the plugin cannot start, or nil.
func (h *Host) SetupError() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.setupError
}

// Logs is every line that the plugin logged so far: the level, then the text.
func (h *Host) Logs() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.logs...)
}

// run is the worker's thread: it polls when there is something to take.
func (h *Host) run() {
	defer h.work.Done()
	for {
		h.mu.Lock()
		h.polling = false
		h.cond.Broadcast()
		for len(h.mail) == 0 && !h.closed {
			h.cond.Wait()
		}
		done := len(h.mail) == 0
		h.polling = !done
		h.mu.Unlock()
		if done {
			return
		}
		h.guest.Poll()
	}
}

// close drains the worker: it cancels what is left and waits until nothing runs.
func (h *Host) close() {
	h.mu.Lock()
	for _, x := range h.slots {
		if x != nil {
			h.cancel(x, abi.Stopped)
		}
	}
	h.push(event{Event: abi.Event{Kind: abi.Drain}})
	for len(h.mail) > 0 || h.polling { // what began late counts, too
		h.cond.Wait()
	}
	h.mu.Unlock()
	deadline := time.Now().Add(closeWithin)
	for h.guest.Goroutines() > 0 {
		if time.Now().After(deadline) {
			stacks := make([]byte, 64<<10)
			stacks = stacks[:runtime.Stack(stacks, true)]
			h.t.Errorf("plugintest: %d goroutines of the plugin still run %v after their requests were cancelled: do they heed Request.Context?\n%s",
				h.guest.Goroutines(), closeWithin, stacks)
			break
		}
		time.Sleep(time.Millisecond)
	}
	h.mu.Lock()
	for id := range h.ops {
		h.endOp(id)
	}
	h.closed = true
	h.cond.Broadcast()
	h.mu.Unlock()
	h.work.Wait()
	for _, u := range h.ups {
		u.server.CloseClientConnections()
		u.server.Close()
	}
}

// readManifest reads what a host needs of it.
func (h *Host) readManifest(b []byte) {
	var m struct {
		Name, Version string
		Routes        []struct{ Method, Path string }
	}
	if err := json.Unmarshal(b, &m); err != nil {
		h.t.Fatalf("plugintest: read the manifest: %v", err)
	}
	h.manifest, h.name, h.version, h.routes = true, m.Name, m.Version, nil
	for _, r := range m.Routes {
		h.routes = append(h.routes, route{method: r.Method, path: r.Path})
	}
}

// levelName is a level of log/slog as a word.
func levelName(level int32) string {
	switch {
	case level < abi.LevelInfo:
		return "DEBUG"
	case level < abi.LevelWarn:
		return "INFO"
	case level < abi.LevelError:
		return "WARN"
	}
	return "ERROR"
}

// log takes a line from the guest.
func (h *Host) log(_ uint64, level int32, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.logs = append(h.logs, fmt.Sprintf("%s %s", levelName(level), text))
}
