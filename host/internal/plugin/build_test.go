package plugin_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/plugin"
)

func TestBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles a plugin")
	}
	out := filepath.Join(t.TempDir(), "tiny.wasm")
	path, err := plugin.Build(t.Context(), "testdata/tiny", out)
	if err != nil || path != out {
		t.Fatal(path, err)
	}
	s, err := plugin.Read(config.Plugin{Name: "tiny", Source: out})
	if err != nil || s.Manifest.Name != "tiny" || s.Manifest.Routes[0].String() != "GET /tiny" {
		t.Fatalf("%+v, %v", s, err)
	}
	info, err := os.Stat(out)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(out), ".patchbay-*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
	l, _ := newLoader(t)
	g, err := l.Load(t.Context(), config.Plugin{Name: "tiny", Source: out, Routes: []string{"GET /tiny"}, Workers: 1, Limits: config.Limits{Memory: 64 << 20, InFlight: 1, Answer: 10}})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Retire(t.Context())
	a := &answer{}
	if err := g.Serve(t.Context(), request(g, "GET /tiny"), a); err != nil || a.body.String() != "tiny" {
		t.Errorf("it answers %q, %v", a.body.String(), err)
	}
}

// TestBuildFails wants what is wrong in the author's words or the compiler's, and the old file untouched.
func TestBuildFails(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "old.wasm")
	write(t, out, []byte("old"))
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for _, c := range []struct {
		name, dir, out string
		ctx            context.Context
		text           []string
	}{
		{name: "code that does not compile", dir: "testdata/broken", text: []string{`build plugin "broken"`, "main.go:3:", "undefined: undefinedThing"}},
		{name: "bad manifest", dir: "testdata/badmanifest", text: []string{"testdata/badmanifest/manifest.json", "version: \"1\"", "abi: \"7\"", "routes: there is none"}},
		{name: "no manifest", dir: dir, text: []string{"manifest.json", "a plugin's folder holds manifest.json"}},
		{name: "no folder", dir: filepath.Join(dir, "none"), text: []string{"none"}},
		{name: "stopped", dir: "testdata/tiny", ctx: stopped, text: []string{"canceled"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := c.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			path, err := plugin.Build(ctx, c.dir, out)
			if err == nil || path != "" {
				t.Fatalf("it gave %q", path)
			}
			for _, want := range c.text {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nlacks %q", err, want)
				}
			}
			if b := read(t, out); string(b) != "old" {
				t.Error("the old file was touched")
			}
		})
	}
}
