package wasm_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/guesttest"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// conformanceGuests is every language whose SDK claims the ABI: how its guest in sdk/conformance/guests is built.
func conformanceGuests() map[string]func(t testing.TB, dir string) []byte {
	return map[string]func(testing.TB, string) []byte{
		"go": func(t testing.TB, dir string) []byte {
			b, err := os.ReadFile(guesttest.Build(t, dir))
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
		"c": func(t testing.TB, dir string) []byte { return buildC(t, filepath.Join(dir, "guest.c")) },
	}
}

// TestConformance runs one suite against a guest per language. sdk/conformance/README.md says what a guest must serve.
func TestConformance(t *testing.T) {
	for language, build := range conformanceGuests() {
		t.Run(language, func(t *testing.T) {
			dir := filepath.Join(guesttest.Root(), "sdk", "conformance", "guests", language)
			s := &subject{binary: build(t, dir), routes: manifestRoutes(t, filepath.Join(dir, "manifest.json"))}
			var err error
			if s.module, err = openEngine(t).Compile(t.Context(), s.binary); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.module.Release)
			for name, run := range map[string]func(*testing.T, *subject){
				"handshake":      conformHandshake,
				"config":         conformConfig,
				"answers":        conformAnswers,
				"headers":        conformHeaders,
				"bodies":         conformBodies,
				"early answer":   conformEarly,
				"timers":         conformTimers,
				"fetch":          conformFetch,
				"fetch fails":    conformFetchFails,
				"relay":          conformRelay,
				"pipe":           conformPipe,
				"pipe fails":     conformPipeFails,
				"lockstep":       conformLockstep,
				"credit":         conformCredit,
				"cancel":         conformCancel,
				"undelivered":    conformUndelivered,
				"late":           conformLate,
				"10,000 at once": conformMany,
			} {
				t.Run(name, func(t *testing.T) { run(t, s) })
			}
		})
	}
}

// subject is a guest under the suite.
type subject struct {
	binary []byte
	module *wasm.Module
	routes []string
}

// start makes a pool of one worker.
func (s *subject) start(t testing.TB, change func(*wasm.Options)) *kitchen {
	t.Helper()
	o := wasm.Options{
		Name: "conformance", Version: "1.0.0", Routes: s.routes, Workers: 1, Memory: 64 << 20, InFlight: 1024, Answer: 32 << 20,
		Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	p, err := s.module.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return &kitchen{Pool: p, routes: o.Routes}
}

func manifestRoutes(t testing.TB, path string) []string {
	t.Helper()
	var manifest struct {
		Routes []struct{ Method, Path string }
	}
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &manifest)
	}
	if err != nil {
		t.Fatal(err)
	}
	var routes []string
	for _, r := range manifest.Routes {
		routes = append(routes, r.Method+" "+r.Path)
	}
	return routes
}
