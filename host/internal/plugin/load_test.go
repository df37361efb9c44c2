package plugin_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/capability"
	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/guesttest"
	"github.com/patchbay-run/patchbay/host/internal/logtest"
	"github.com/patchbay-run/patchbay/host/internal/plugin"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// warm is the engine of all tests, which keeps the kitchen compiled: under the race detector that takes longer than most of them.
var warm engine

type engine struct {
	once   sync.Once
	engine *wasm.Engine
	module *wasm.Module
}

func (e *engine) open(t testing.TB) *wasm.Engine {
	t.Helper()
	e.once.Do(func() {
		binary := read(t, guesttest.Build(t, "../wasm/testdata/kitchen"))
		var err error
		if e.engine, err = wasm.Open(filepath.Join(guesttest.Cache(t), "compiled")); err != nil {
			t.Fatal(err)
		}
		if e.module, err = e.engine.Compile(t.Context(), binary); err != nil {
			t.Fatal(err)
		}
	})
	return e.engine
}

// close complains when anything of a generation is left.
func (e *engine) close() error {
	if e.engine == nil {
		return nil
	}
	if e.module != nil {
		e.module.Release()
	}
	return e.engine.Close()
}

func newLoader(t *testing.T) (*plugin.Loader, *logtest.Buffer) {
	t.Helper()
	set, err := upstream.New(config.Client{MaxConns: 1}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	log := &logtest.Buffer{}
	l := &plugin.Loader{Engine: warm.open(t), Log: slog.New(slog.NewTextHandler(log, nil))}
	l.Host = capability.NewHost(&capability.Parts{Upstreams: set, Secrets: secrets(t, "KEY=x")})
	return l, log
}

func secrets(t *testing.T, environ ...string) *capability.Secrets {
	t.Helper()
	s, err := capability.ReadSecrets(map[string]config.Secret{"key": {Env: "KEY", Hosts: []string{"api.example.com"}}}, environ)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func kitchen(t *testing.T) config.Plugin {
	return config.Plugin{
		Name: "kitchen", Source: guesttest.Build(t, "../wasm/testdata/kitchen"), Workers: 1,
		Routes: []string{"GET /word", "GET /hang"},
		Limits: config.Limits{Memory: 64 << 20, InFlight: 16, Answer: 1 << 20},
		Grant:  config.Grant{Fetch: []config.Fetch{{Host: "api.example.com", Methods: []string{"GET"}, Paths: []string{"/"}, Secret: "key"}}},
		Config: map[string]any{"word": "hello"},
	}
}

// answer is a sink that keeps the body.
type answer struct{ body bytes.Buffer }

func (a *answer) Head(int, []abi.Field, int64) error { return nil }
func (a *answer) Write(p []byte) error               { a.body.Write(p); return nil }
func (a *answer) Flush() error                       { return nil }

// request asks for a route by its index in the manifest.
func request(g *plugin.Generation, route string) *wasm.Request {
	for i, r := range g.Manifest.Routes {
		if r.String() == route {
			method, path, _ := strings.Cut(route, " ")
			return &wasm.Request{Route: i, Timeout: 10 * time.Minute, Fields: []abi.Field{{Name: ":method", Value: method}, {Name: ":path", Value: path}}}
		}
	}
	panic("no route " + route)
}

func word(t *testing.T, g *plugin.Generation) string {
	t.Helper()
	a := &answer{}
	if err := g.Serve(t.Context(), request(g, "GET /word"), a); err != nil {
		t.Fatal(err)
	}
	return a.body.String()
}

func TestLoad(t *testing.T) {
	l, log := newLoader(t)
	c := kitchen(t)
	g, err := l.Load(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { g.Retire(t.Context()) }()
	if got := word(t, g); got != "hello" {
		t.Errorf("it answers %q", got)
	}
	if g.Manifest.Name != "kitchen" || g.Since.IsZero() || len(g.Secrets) != 1 || g.Stats().Workers != 1 || g.Refused == nil {
		t.Errorf("%+v", g)
	}

	// What would be the same again.
	if !l.Current(g, c) || !l.Current(g, kitchen(t)) {
		t.Error("nothing changed, and it is not current")
	}
	for name, change := range map[string]func(*config.Plugin){
		"config":  func(c *config.Plugin) { c.Config = map[string]any{"word": "bye"} },
		"routes":  func(c *config.Plugin) { c.Routes = c.Routes[:1] },
		"limits":  func(c *config.Plugin) { c.Limits.InFlight++ },
		"grant":   func(c *config.Plugin) { c.Grant = config.Grant{} },
		"no file": func(c *config.Plugin) { c.Source += ".gone" },
	} {
		changed := kitchen(t)
		change(&changed)
		if l.Current(g, changed) {
			t.Errorf("%s changed, and it is current", name)
		}
	}
	before := l.Host.Swap(&capability.Parts{Upstreams: l.Host.Parts().Upstreams, Secrets: secrets(t)})
	if l.Current(g, c) {
		t.Error("a secret went, and it is current")
	}
	l.Host.Swap(before)

	// A new generation beside the old one.
	c.Config = map[string]any{"word": "new"}
	next, err := l.Load(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if word(t, g) != "hello" || word(t, next) != "new" {
		t.Error("two generations are not apart")
	}
	next.Retire(t.Context())
	if err := next.Serve(t.Context(), request(next, "GET /word"), &answer{}); !errors.Is(err, wasm.ErrDraining) {
		t.Errorf("a retired one says %v", err)
	}
	if word(t, g) != "hello" {
		t.Error("the old one went with the new one")
	}
	if strings.Contains(log.String(), "level=WARN") {
		t.Errorf("log:\n%s", log)
	}
}

// TestFileChanges replaces a plugin's file under its generation.
func TestFileChanges(t *testing.T) {
	l, _ := newLoader(t)
	c := kitchen(t)
	c.Source = filepath.Join(t.TempDir(), "kitchen.wasm")
	module := read(t, guesttest.Build(t, "../wasm/testdata/kitchen"))
	write(t, c.Source, module)
	g, err := l.Load(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Retire(t.Context())
	write(t, c.Source, module)
	if !l.Current(g, c) {
		t.Error("the same bytes were written, and it is not current")
	}
	write(t, c.Source, append(bytes.Clone(module), custom("x", "y")...))
	if l.Current(g, c) {
		t.Error("other bytes were written, and it is current")
	}
	write(t, c.Source, module[:1000])
	if l.Current(g, c) {
		t.Error("half of it was written, and it is current")
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRetire waits for requests in flight as long as it may, and ends the rest.
func TestRetire(t *testing.T) {
	l, log := newLoader(t)
	g, err := l.Load(t.Context(), kitchen(t))
	if err != nil {
		t.Fatal(err)
	}
	start := func(route string) (leave context.CancelFunc, done chan error) {
		ctx, leave := context.WithCancel(t.Context())
		done = make(chan error, 1)
		before := g.Stats().InFlight
		go func() { done <- g.Serve(ctx, request(g, route), &answer{}) }()
		for g.Stats().InFlight == before {
			time.Sleep(time.Millisecond)
		}
		return leave, done
	}
	leave, first := start("GET /hang")
	_, second := start("GET /hang")
	ctx, hurry := context.WithCancel(t.Context())
	retired := make(chan struct{})
	go func() {
		g.Retire(ctx)
		close(retired)
	}()
	for !g.Stats().Draining {
		time.Sleep(time.Millisecond)
	}
	leave()
	if err := <-first; !errors.Is(err, wasm.ErrGone) {
		t.Errorf("the first ended with %v", err)
	}
	select {
	case <-retired:
		t.Fatal("it did not wait for the second")
	default:
	}
	hurry()
	<-retired
	if err := <-second; !errors.Is(err, wasm.ErrStopped) {
		t.Errorf("the second ended with %v", err)
	}
	if !strings.Contains(log.String(), "not drained in time") || !strings.Contains(log.String(), "plugin=kitchen") {
		t.Errorf("log:\n%s", log)
	}
}

// TestPlainStart loads a plugin that cannot be copied, which is served nevertheless and said, and one whose operator wants no copies.
func TestPlainStart(t *testing.T) {
	l, log := newLoader(t)
	load := func(change func(*config.Plugin)) string {
		t.Helper()
		c := kitchen(t)
		change(&c)
		g, err := l.Load(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		defer g.Retire(t.Context())
		if got := word(t, g); got != "hello" {
			t.Errorf("it answers %q", got)
		}
		return g.Stats().Start
	}
	if got := load(func(*config.Plugin) {}); got != "snapshot" {
		t.Errorf("the kitchen starts %q", got)
	}
	if got := load(func(c *config.Plugin) { c.Start = "plain" }); got != "plain: configured" {
		t.Errorf("by the operator's wish it starts %q", got)
	}
	if log.String() != "" {
		t.Errorf("nothing is worth a line, and there is\n%s", log)
	}
	source := filepath.Join(t.TempDir(), "global.wasm")
	write(t, source, withGlobal(t, read(t, kitchen(t).Source)))
	got := load(func(c *config.Plugin) { c.Source = source })
	if !strings.HasPrefix(got, "plain: ") || !strings.Contains(got, "can change and is no i32") {
		t.Errorf("it starts %q", got)
	}
	if !strings.Contains(log.String(), "initialises itself") || !strings.Contains(log.String(), "can change and is no i32") {
		t.Errorf("log:\n%s", log)
	}
}

// withGlobal adds a global that an image cannot hold: a reference that may change.
func withGlobal(t *testing.T, module []byte) []byte {
	t.Helper()
	const globals = 6
	for at := 8; at < len(module); {
		size, n := binary.Uvarint(module[at+1:])
		content := module[at+1+n:][:size]
		if module[at] != globals {
			at += 1 + n + int(size)
			continue
		}
		count, skip := binary.Uvarint(content)
		content = slices.Concat(binary.AppendUvarint(nil, count+1), content[skip:], []byte{0x70, 1, 0xd0, 0x70, 0x0b})
		return slices.Concat(module[:at+1], binary.AppendUvarint(nil, uint64(len(content))), content, module[at+1+n+int(size):])
	}
	t.Fatal("the module has no globals")
	return nil
}

// TestLoadFails wants an error that says what to do, and nothing left: the engine says so when it is closed.
func TestLoadFails(t *testing.T) {
	l, _ := newLoader(t)
	dir := t.TempDir()
	in := func(name, content string) string {
		path := filepath.Join(dir, name)
		write(t, path, []byte(content))
		return path
	}
	pipe := filepath.Join(dir, "pipe.wasm")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*config.Plugin)
		text   []string
	}{
		"missing":           {func(c *config.Plugin) { c.Source = filepath.Join(dir, "none", "x.wasm") }, []string{`plugin "kitchen"`, "x.wasm", filepath.Join(dir, "none"), "make build"}},
		"missing, relative": {func(c *config.Plugin) { c.Source = "none/x.wasm" }, []string{"x.wasm", must(filepath.Abs("none"))}},
		"a folder":          {func(c *config.Plugin) { c.Source = dir }, []string{"is a folder"}},
		"a pipe":            {func(c *config.Plugin) { c.Source = pipe }, []string{"no plain file"}},
		"empty":             {func(c *config.Plugin) { c.Source = in("empty", "") }, []string{"no WebAssembly module"}},
		"no manifest":       {func(c *config.Plugin) { c.Source = in("bare", head) }, []string{"patchbay plugin build"}},
		"digest":            {func(c *config.Plugin) { c.Digest = "sha256:" + strings.Repeat("0", 64) }, []string{"has digest sha256:", "is pinned"}},
		"route":             {func(c *config.Plugin) { c.Routes = []string{"GET /none"} }, []string{"cannot answer GET /none"}},
		"no code": {func(c *config.Plugin) {
			c.Source = in("hollow", head+custom("patchbay.manifest", `{"name": "kitchen", "version": "1.0.0", "abi": "1", "routes": [{"method": "GET", "path": "/word"}, {"method": "GET", "path": "/hang"}]}`))
		}, []string{"hollow", "does not export"}},
		"its own words": {func(c *config.Plugin) { c.Config = map[string]any{"refuse": "the moon is wrong"} }, []string{"the moon is wrong"}},
		"memory":        {func(c *config.Plugin) { c.Limits.Memory = 1 << 16 }, []string{"limits.memory"}},
	} {
		t.Run(name, func(t *testing.T) {
			conf := kitchen(t)
			c.change(&conf)
			g, err := l.Load(t.Context(), conf)
			if err == nil {
				g.Retire(t.Context())
				t.Fatal("it loads")
			}
			for _, want := range append(c.text, `plugin "kitchen"`) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v: lacks %q", err, want)
				}
			}
		})
	}
}

func must(s string, err error) string {
	if err != nil {
		panic(err)
	}
	return s
}

func TestDigestPin(t *testing.T) {
	c := kitchen(t)
	s, err := plugin.Read(c)
	if err != nil {
		t.Fatal(err)
	}
	c.Digest = s.Digest.String()
	if _, err := plugin.Read(c); err != nil {
		t.Error(err)
	}
}

func TestWishesAreWarnings(t *testing.T) {
	l, log := newLoader(t)
	c := kitchen(t)
	c.Source = filepath.Join(t.TempDir(), "kitchen.wasm")
	module := read(t, guesttest.Build(t, "../wasm/testdata/kitchen"))
	m, err := plugin.ReadManifest(module)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(read(t, "../wasm/testdata/kitchen/manifest.json")), "{", `{"wants": [{"capability": "fetch", "hosts": ["other.example.com"], "reason": "asks it"}],`, 1)
	if module, err = plugin.EmbedManifest(module, []byte(text)); err != nil {
		t.Fatal(err)
	}
	write(t, c.Source, module)
	g, err := l.Load(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Retire(t.Context())
	if len(g.Manifest.Routes) != len(m.Routes) || !strings.Contains(log.String(), "other.example.com (asks it)") {
		t.Errorf("log:\n%s", log)
	}
}
