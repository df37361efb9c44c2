package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/patchbay-run/patchbay/host/internal/guesttest"
)

// TestMain lets scripts call the command as patchbay, in a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"patchbay": main, "watch-health": watchHealthMain})
}

// TestScripts runs testdata/*.txtar: what a person types, and what they get.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			models := guesttest.Build(t, filepath.Join(guesttest.Root(), "plugins", "models"))
			e.Setenv("MODELS_WASM", models)
			e.Setenv("ROOT", guesttest.Root())
			for _, name := range []string{"HOME", "GOCACHE", "GOPATH", "GOMODCACHE", "GOPROXY", "GOFLAGS", "GOSUMDB"} {
				if v, ok := os.LookupEnv(name); ok {
					e.Setenv(name, v)
				}
			}
			b, err := os.ReadFile(models)
			if err != nil {
				return err
			}
			b = append(b, strings.Repeat("\x00\x02\x01x", 2000)...) // custom sections
			if err := os.WriteFile(filepath.Join(e.WorkDir, "sections.wasm"), b, 0o600); err != nil {
				return err
			}
			return os.Symlink(models, filepath.Join(e.WorkDir, "models.wasm"))
		},
	})
}
