package wasm_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
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

// conformanceCase is one of the suite. The core is what the runtime of a language decides: how a guest waits and is woken.
type conformanceCase struct {
	run  func(*testing.T, *subject)
	core bool
}

func conformance() map[string]conformanceCase {
	return map[string]conformanceCase{
		"handshake":      {conformHandshake, false},
		"config":         {conformConfig, false},
		"answers":        {conformAnswers, true},
		"headers":        {conformHeaders, false},
		"bodies":         {conformBodies, false},
		"early answer":   {conformEarly, true},
		"timers":         {conformTimers, true},
		"fetch":          {conformFetch, false},
		"fetch fails":    {conformFetchFails, false},
		"fetch headers":  {conformFetchHeaders, false},
		"relay":          {conformRelay, false},
		"pipe":           {conformPipe, true},
		"pipe fails":     {conformPipeFails, false},
		"lockstep":       {conformLockstep, true},
		"both ways":      {conformBothWays, true},
		"credit":         {conformCredit, true},
		"cancel":         {conformCancel, true},
		"undelivered":    {conformUndelivered, true},
		"late":           {conformLate, true},
		"abandon":        {conformAbandon, true},
		"publish":        {conformPublish, false},
		"drain":          {conformDrain, true},
		"fresh":          {conformFresh, true},
		"10,000 at once": {conformMany, false},
	}
}

// TestConformance runs one suite against a guest per language. sdk/conformance/README.md says what a guest must serve.
func TestConformance(t *testing.T) {
	for language, build := range conformanceGuests() {
		t.Run(language, func(t *testing.T) {
			dir := conformanceGuest(language)
			s := newSubject(t, dir, build(t, dir))
			for name, c := range conformance() {
				t.Run(name, func(t *testing.T) { c.run(t, s) })
			}
		})
	}
}

func conformanceGuest(language string) string {
	return filepath.Join(guesttest.Root(), "sdk", "conformance", "guests", language)
}

// TestGoReleases runs the core of the suite against the Go guest built with each release that an author may have: how a guest
// comes to rest depends on Go's scheduler.
func TestGoReleases(t *testing.T) {
	releases := []string{"go1.24.9", "go1.25.5"} // and the one that all other guests are built with
	mod, err := os.ReadFile(filepath.Join(guesttest.Root(), "sdk", "go", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	minor := func(text, before string) (n int) {
		_, after, _ := strings.Cut(text, before)
		fmt.Sscan(strings.SplitN(after+".", ".", 2)[0], &n)
		return n
	}
	for oldest, i := minor(string(mod), "\ngo 1."), 0; oldest+i < minor(runtime.Version(), "go1."); i++ {
		if i >= len(releases) || !strings.HasPrefix(releases[i], fmt.Sprintf("go1.%d.", oldest+i)) {
			t.Errorf("the SDK says that it works with Go 1.%d, and nothing is built with it here", oldest+i)
		}
	}
	dir := conformanceGuest("go")
	for _, release := range releases {
		t.Run(release, func(t *testing.T) {
			binary, err := os.ReadFile(guesttest.BuildRelease(t, dir, release))
			if err != nil {
				t.Fatal(err)
			}
			s := newSubject(t, dir, binary)
			for name, c := range conformance() {
				if c.core {
					t.Run(name, func(t *testing.T) { c.run(t, s) })
				}
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

// newSubject compiles what was built from a folder in guests/.
func newSubject(t *testing.T, dir string, binary []byte) *subject {
	t.Helper()
	m, err := openEngine(t).Compile(t.Context(), binary)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Release)
	return &subject{binary: binary, module: m, routes: manifestRoutes(t, filepath.Join(dir, "manifest.json"))}
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
