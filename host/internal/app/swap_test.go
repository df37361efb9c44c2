package app_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/guesttest"
	"github.com/patchbay-run/patchbay/host/internal/plugin"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// load keeps asking from n clients until stop, which gives how many were answered. Whatever is not 200 fails the test.
func (p *patchbay) load(n int, method, path, body string) (stop func() int64) {
	var answered atomic.Int64
	var over atomic.Bool
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for !over.Load() {
				a, err := p.try(p.Context(), method, p.url+path, body)
				if err != nil || a.status != 200 {
					p.Errorf("under load: %v %v", a, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	stop = sync.OnceValue(func() int64 {
		over.Store(true)
		all.Wait()
		return answered.Load()
	})
	p.Cleanup(func() { stop() })
	return stop
}

// swapIn writes a configuration and waits until is true.
func (p *patchbay) swapIn(s setup, what string, is func() bool) {
	p.Helper()
	replace(p.T, p.file, s.yaml(p.T))
	eventually(p.T, what, is)
}

func (p *patchbay) resultCount() int {
	p.Helper()
	return len(decode[found](p.T, p.ok("POST", "/api/tools/search", searchBody("hi"))).Result.Results)
}

// TestSwapConfigUnderLoad: no request fails, new requests see the new value.
func TestSwapConfigUnderLoad(t *testing.T) {
	tavily := newTavily(t, nil)
	s := setup{plugins: "search", tavily: tavily.url, workers: 2}
	p := serve(t, s)
	stop := p.load(8, "POST", "/api/tools/search", searchBody("hi"))
	for _, n := range []int{3, 5, 7} {
		s.search = fmt.Sprintf("max_results: %d", n)
		p.swapIn(s, "the new value", func() bool { return p.resultCount() == n })
	}
	if n := stop(); n == 0 {
		t.Error("there was no load")
	}
}

// TestSwapEndpointUnderLoad: the provider of the plugin moves, and the upstream that the plugin was set to is renamed in
// the same edit. Whoever was asked by the old generation asks the old one.
func TestSwapEndpointUnderLoad(t *testing.T) {
	one, two := newGPUStack(t, nil), newGPUStack(t, nil)
	s := setup{plugins: "models", gpustack: one.url, models: one.url}
	p := serve(t, s)
	stop := p.load(8, "GET", "/api/models", "")
	for i := range 4 {
		was, now := one.seen.Load(), two.seen.Load()
		if i%2 == 0 {
			s.models, s.gpustack = "", two.url // by the upstream gpustack; other is gone
			p.swapIn(s, "the second upstream is asked", func() bool { return two.seen.Load() > now })
		} else {
			s.models, s.gpustack = one.url, two.url
			p.swapIn(s, "the first upstream is asked", func() bool { return one.seen.Load() > was })
		}
	}
	stop()
}

// TestSwapOfUpstreamAlone: plugins that stay as they are see an upstream that moves.
func TestSwapOfUpstreamAlone(t *testing.T) {
	one, two := newGPUStack(t, nil), newGPUStack(t, nil)
	s := setup{plugins: "models", gpustack: one.url}
	p := serve(t, s)
	stop := p.load(4, "GET", "/api/models", "")
	s.gpustack = two.url
	p.swapIn(s, "the second upstream is asked", func() bool { return two.seen.Load() > 0 })
	stop()
	was := one.seen.Load()
	p.ok("GET", "/api/models", "")
	if one.seen.Load() != was {
		t.Error("the first upstream is still asked")
	}
}

// TestSwapOfSecretAlone: a key that changes in its file is used from then on.
func TestSwapOfSecretAlone(t *testing.T) {
	keys := make(chan string, 1)
	stack := newProvider(t, func(w http.ResponseWriter, r *http.Request) {
		keys <- r.Header.Get("Authorization")
		writeJSON(w, 200, `{"object":"list","data":[]}`)
	})
	key := filepath.Join(t.TempDir(), "key")
	write(t, key, "first\n")
	p := serve(t, setup{plugins: "models", gpustack: stack.url, chats: "auth: {secret: g}",
		top: fmt.Sprintf("secrets:\n  g: {file: %q, upstream: gpustack, insecure: true}", key)})
	p.ok("GET", "/api/models", "")
	if got := <-keys; got != "Bearer first" {
		t.Errorf("asked with %q", got)
	}
	replace(t, key, "second\n")
	eventually(t, "the second key", func() bool {
		p.ok("GET", "/api/models", "")
		return <-keys == "Bearer second"
	})
	// A configuration that nobody has mended yet is no reason to go on with an old key.
	good, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, p.file, string(good)+"\nnonsense: true\n")
	eventually(t, "the mistake is a reason", func() bool { return strings.Contains(p.reasons(), "nonsense") })
	replace(t, key, "third\n")
	eventually(t, "the third key", func() bool {
		p.ok("GET", "/api/models", "")
		return <-keys == "Bearer third"
	})
}

// variant is a plugin's module with another version in its manifest. It is in the cache of compiled code, since nobody
// should wait for the compiler within a deadline.
func variant(t *testing.T, name, version string) string {
	t.Helper()
	module, err := os.ReadFile(guest(t, name))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := os.ReadFile(filepath.Join(guesttest.Root(), "plugins", name, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(manifest, []byte(`"version": "1.0.0"`), []byte(`"version": "`+version+`"`), 1)
	if module, err = plugin.EmbedManifest(module, changed); err != nil {
		t.Fatal(err)
	}
	engine, err := wasm.Open(filepath.Join(guesttest.Cache(t), "app", "compiled"))
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := engine.Compile(t.Context(), module)
	if err != nil {
		t.Fatal(err)
	}
	compiled.Release()
	if err := engine.Close(); err != nil {
		t.Fatal(err)
	}
	return string(module)
}

// TestSwapOfPluginFile: a file that is replaced, or written over, or broken and repaired. All of it under load.
func TestSwapOfPluginFile(t *testing.T) {
	first, second := variant(t, "models", "1.0.0"), variant(t, "models", "1.0.1")
	file := filepath.Join(t.TempDir(), "models.wasm")
	write(t, file, first)
	s := setup{plugins: "models", gpustack: newGPUStack(t, nil).url, modelsWasm: file}
	p := serve(t, s)
	if v := p.version("models"); v != "1.0.0" {
		t.Fatalf("version %s serves", v)
	}
	stop := p.load(2, "GET", "/api/models", "")

	replace(t, file, second)
	eventually(t, "the renamed file serves", func() bool { return p.version("models") == "1.0.1" })

	f, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for part := range 4 { // as a slow build writes
		if _, err := f.WriteString(first[part*len(first)/4 : (part+1)*len(first)/4]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	f.Close()
	eventually(t, "the rewritten file serves", func() bool { return p.version("models") == "1.0.0" })

	for name, broken := range map[string]string{"garbage": "no wasm at all", "half": first[:len(first)/2], "empty": ""} {
		replace(t, file, broken)
		eventually(t, name+" is a reason", func() bool { return strings.Contains(p.reasons(), `plugin "models"`) })
		if v := p.version("models"); v != "1.0.0" {
			t.Errorf("%s: version %s serves", name, v)
		}
		if a := p.admins("/readyz"); a.status != 200 {
			t.Errorf("%s: the old one serves, and readyz says %v", name, a)
		}
		if !strings.Contains(string(p.admins("/api/plugins/models").body), `"state": "stale"`) {
			t.Errorf("%s: %v", name, p.admins("/api/plugins/models"))
		}
		replace(t, file, first)
		eventually(t, name+" repaired", func() bool { return p.reasons() == "" })
	}
	if !strings.Contains(p.log.String(), `"msg":"a change was not taken; what was in force stays","error":"plugin \"models\"`) {
		t.Error("the log does not say why a file is not in force")
	}

	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the missing file is a reason", func() bool { return strings.Contains(p.reasons(), "models.wasm") })
	p.ok("GET", "/api/models", "")
	replace(t, file, second)
	eventually(t, "it is back", func() bool { return p.version("models") == "1.0.1" && p.reasons() == "" })
	stop()
}

// TestSwapRefusesMistakes: a configuration with mistakes leaves the old one in force, with all of them as the reason.
func TestSwapRefusesMistakes(t *testing.T) {
	tavily := newTavily(t, nil)
	s := setup{plugins: "search", tavily: tavily.url, search: "max_results: 3"}
	p := serve(t, s)
	stop := p.load(4, "POST", "/api/tools/search", searchBody("hi"))
	for _, c := range []struct {
		name, yaml string
		want       []string
	}{
		{"mistakes", strings.Replace(s.yaml(t), "workers: 1", "wrokers: 1\n    isolation: none", 1), []string{"configuration", "wrokers", "isolation"}},
		{"no yaml", "plugins: [", []string{"configuration"}},
		{"empty grant", strings.Replace(s.yaml(t), "private: true, methods: [POST], paths: [/search]", "private: true", 1), []string{"configuration", "methods"}},
		{"the plugin's own", strings.Replace(s.yaml(t), "max_results: 3", "max_results: 99", 1), []string{`plugin "search"`, "max_results"}},
		{"unknown in the plugin's own", strings.Replace(s.yaml(t), "max_results: 3", "max_result: 3", 1), []string{`plugin "search"`, "max_result"}},
	} {
		replace(t, p.file, c.yaml)
		eventually(t, c.name+" is a reason", func() bool { return strings.Contains(p.reasons(), c.want[len(c.want)-1]) })
		for _, want := range c.want {
			if reasons := p.reasons(); !strings.Contains(reasons, want) {
				t.Errorf("%s: %q does not name %s", c.name, reasons, want)
			}
		}
		if n := p.resultCount(); n != 3 {
			t.Errorf("%s: %d results", c.name, n)
		}
		eventually(t, c.name+": the log says so", func() bool { return strings.Contains(p.log.String(), c.want[len(c.want)-1]) })
		replace(t, p.file, s.yaml(t))
		eventually(t, c.name+" repaired", func() bool { return p.reasons() == "" })
	}
	// A file that is gone is a mistake too.
	if err := os.Remove(p.file); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the missing file is a reason", func() bool { return strings.Contains(p.reasons(), "patchbay.yaml") })
	s.search = "max_results: 4"
	p.swapIn(s, "it is back", func() bool { return p.resultCount() == 4 && p.reasons() == "" })
	stop()
}

// TestSwapStaleKeepsItsUpstreams: an edit renames an upstream and has a mistake in the plugin's own configuration. The
// generation that goes on serving still knows the upstream that it was made for.
func TestSwapStaleKeepsItsUpstreams(t *testing.T) {
	stack := newGPUStack(t, nil)
	s := setup{plugins: "models", gpustack: stack.url, models: stack.url}
	p := serve(t, s)
	stop := p.load(2, "GET", "/api/models", "")
	bad := strings.NewReplacer("  other:", "  renamed:", "upstream: other", "upstream: renamed",
		`endpoint: "upstream://other"`, `endpoint: "upstream://renamed", nonsense: 1`).Replace(s.yaml(t))
	replace(t, p.file, bad)
	eventually(t, "the mistake is a reason", func() bool { return strings.Contains(p.reasons(), "nonsense") })
	for range 5 {
		p.ok("GET", "/api/models", "")
	}
	stop()
}

// TestWritingTheLogIsNoChange: a log in the folder of the configuration is written to for each failed reload. That is no reason to look again,
// or it would go on for ever.
func TestWritingTheLogIsNoChange(t *testing.T) {
	p := serve(t, setup{plugins: "models", gpustack: newGPUStack(t, nil).url})
	good, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(filepath.Dir(p.file), "patchbay.log")
	write(t, log, "begun\n")
	replace(t, p.file, string(good)+"\nnonsense: true\n")
	eventually(t, "the mistake is a reason", func() bool { return strings.Contains(p.reasons(), "nonsense") })
	failed := func() int {
		return strings.Count(p.log.String(), `"msg":"a change was not taken; what was in force stays"`)
	}
	eventually(t, "it is told", func() bool { return failed() > 0 })
	before := failed()
	const lines = 8
	for range lines {
		write(t, log, "a line\n")
		time.Sleep(400 * time.Millisecond) // longer than files must be quiet
	}
	// The file's own change may be looked at more than once, when its events come apart.
	if n := failed() - before; n > 3 {
		t.Errorf("%d more reloads after %d lines", n, lines)
	}
	// What is written to a file in force still counts.
	write(t, p.file, string(good))
	eventually(t, "it is mended", func() bool { return p.reasons() == "" })
}

// TestSwapBySignal: a reload looks again even where a watch sees nothing, here above a link on the way to the file.
func TestSwapBySignal(t *testing.T) {
	s := setup{plugins: "models", gpustack: newGPUStack(t, nil).url}
	dir := t.TempDir()
	put := func(name string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "patchbay.yaml"), s.yaml(t))
		if err := os.Symlink(name, filepath.Join(dir, "new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "current")); err != nil {
			t.Fatal(err)
		}
	}
	put("one")
	p := serveAt(t, filepath.Join(dir, "current", "patchbay.yaml"))
	p.ok("GET", "/api/models", "")
	s.workers = 2
	put("two")
	p.reload <- os.Interrupt // any signal will do
	eventually(t, "the new value", func() bool { return strings.Contains(string(p.admins("/api/plugins/models").body), `"workers_max": 2`) })

	since := p.app.Plugins()[0].Since
	for range 3 { // the third is taken only when the first has been worked off
		p.reload <- os.Interrupt
	}
	if !p.app.Plugins()[0].Since.Equal(since) || strings.Count(p.log.String(), `"configuration in force"`) != 1 {
		t.Error("a reload without a change made a new generation")
	}
}

// TestSwapAddsAndRemovesPlugins: routes come and go with their plugin, and one that cannot be loaded is a 503 of its own.
func TestSwapAddsAndRemovesPlugins(t *testing.T) {
	stack := newGPUStack(t, nil)
	all := setup{gpustack: stack.url, plugins: "models inference"}
	p := serve(t, all)
	p.ok("POST", "/api/inference/infer", chatBody("m", "hi"))
	stop := p.load(2, "GET", "/api/models", "")

	less := all
	less.plugins = "models"
	p.swapIn(less, "the plugin is gone", func() bool {
		return p.do("POST", "/api/inference/infer", chatBody("m", "hi")).status == 404
	})
	p.swapIn(all, "the plugin is back", func() bool {
		return p.do("POST", "/api/inference/infer", chatBody("m", "hi")).status == 200
	})

	broken := filepath.Join(t.TempDir(), "broken.wasm")
	write(t, broken, "no wasm")
	more := all
	more.plugins, more.searchWasm = "models inference search", broken
	p.swapIn(more, "the new plugin's routes are there", func() bool {
		return p.do("POST", "/api/tools/search", searchBody("hi")).status == 503
	})
	a := p.do("POST", "/api/tools/search", searchBody("hi"))
	if a.detail(t) == "" || a.header.Get("Retry-After") == "" {
		t.Errorf("%v %v", a, a.header)
	}
	eventually(t, "it is not ready", func() bool { a = p.do("GET", "/readyz", ""); return a.status == 503 })
	if a.detail(t) != "Not ready" {
		t.Errorf("readyz: %v", a)
	}
	if h := p.health(); h.Status != "degraded" {
		t.Errorf("health says %q", h.Status)
	}
	if !strings.Contains(p.reasons(), "broken.wasm") {
		t.Errorf("reasons: %q", p.reasons())
	}
	p.ok("POST", "/api/inference/infer", chatBody("m", "hi"))

	module, err := os.ReadFile(guest(t, "search"))
	if err != nil {
		t.Fatal(err)
	}
	replace(t, broken, string(module))
	eventually(t, "the new plugin serves", func() bool { return p.do("POST", "/api/tools/search", searchBody("hi")).status == 200 })
	eventually(t, "it is ready", func() bool { return p.do("GET", "/readyz", "").status == 200 })
	stop()
}

// TestSwapKeepsRunningStreams: what has begun ends as it began, through two swaps.
func TestSwapKeepsRunningStreams(t *testing.T) {
	stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) {
		begin(w)
		event(w, "Hel")
		if p.hang(r) {
			return
		}
		event(w, "lo")
		done(w)
	})
	s := setup{plugins: "inference", gpustack: stack.url}
	p := serve(t, s)
	first := p.stream(chatBody("m", "hi"))
	first.line("data: ")
	s.workers = 2
	p.swapIn(s, "a new generation", func() bool {
		return strings.Contains(string(p.admins("/api/plugins/inference").body), `"workers_max": 2`)
	})
	second := p.stream(chatBody("m", "hi"))
	second.line("data: ")
	s.workers, s.gpustack = 3, newGPUStack(t, nil).url
	p.swapIn(s, "another generation", func() bool {
		return strings.Contains(string(p.admins("/api/plugins/inference").body), `"workers_max": 3`)
	})
	p.ok("POST", "/api/inference/stream", chatBody("m", "hi"))
	if now, _ := stack.inFlight(); now != 2 {
		t.Errorf("%d of the 2 streams are open", now)
	}
	stack.release()
	for _, s := range []*stream{first, second} {
		if got := s.words(); got != "lo" {
			t.Errorf("a stream ended with %q", got)
		}
	}
}

// TestSwapBesideAnotherFileThatChanges: a log in the same folder must not keep a change from being seen.
func TestSwapBesideAnotherFileThatChanges(t *testing.T) {
	s := setup{plugins: "models", gpustack: newGPUStack(t, nil).url}
	p := serve(t, s)
	var over atomic.Bool
	var noise sync.WaitGroup
	noise.Go(func() {
		for !over.Load() {
			_ = os.WriteFile(filepath.Join(filepath.Dir(p.file), "access.log"), []byte("a line\n"), 0o600)
			time.Sleep(50 * time.Millisecond)
		}
	})
	defer noise.Wait()
	defer over.Store(true)
	s.workers = 2
	p.swapIn(s, "the new value", func() bool { return strings.Contains(string(p.admins("/api/plugins/models").body), `"workers_max": 2`) })
}

// TestSwapThroughSymlink: a folder of configuration that is replaced whole, as a cluster does it.
func TestSwapThroughSymlink(t *testing.T) {
	s := setup{plugins: "models", gpustack: newGPUStack(t, nil).url}
	dir := t.TempDir()
	put := func(name, yaml string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "patchbay.yaml"), yaml)
		if err := os.Symlink(name, filepath.Join(dir, "new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	put("one", s.yaml(t))
	if err := os.Symlink("..data/patchbay.yaml", filepath.Join(dir, "patchbay.yaml")); err != nil {
		t.Fatal(err)
	}
	p := serveAt(t, filepath.Join(dir, "patchbay.yaml"))
	for n, name := range []string{"two", "three", "four"} {
		s.workers = n + 2
		put(name, s.yaml(t))
		eventually(t, name, func() bool {
			return strings.Contains(string(p.admins("/api/plugins/models").body), fmt.Sprintf(`"workers_max": %d`, n+2))
		})
	}
}

// TestSwapLeavesNoGenerationBehind: the engine complains at its end about plugins that nobody released.
func TestSwapLeavesNoGenerationBehind(t *testing.T) {
	s := setup{plugins: "models", gpustack: newGPUStack(t, nil).url}
	p := serve(t, s)
	for n := range 5 {
		s.workers = n + 2
		p.swapIn(s, "the new value", func() bool {
			return strings.Contains(string(p.admins("/api/plugins/models").body), fmt.Sprintf(`"workers_max": %d`, n+2))
		})
	}
	p.ok("GET", "/api/models", "")
	if strings.Contains(p.log.String(), "was not drained") {
		t.Error("an old generation was cut off")
	}
}
