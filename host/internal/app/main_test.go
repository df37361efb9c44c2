package app_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/guesttest"
	"github.com/patchbay-run/patchbay/host/internal/leaktest"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

func TestMain(m *testing.M) { leaktest.MainThen(m, warm.close) }

// warm is the engine of most servers here, which keeps the plugins compiled: under the race detector that takes longer than most tests.
var warm engine

type engine struct {
	mu     sync.Mutex
	engine *wasm.Engine
	kept   map[string]*wasm.Module // by path
}

func (e *engine) open(t testing.TB) *wasm.Engine {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.engine == nil {
		opened, err := wasm.Open(filepath.Join(guesttest.Cache(t), "app", "compiled"))
		if err != nil {
			t.Fatal(err)
		}
		e.engine, e.kept = opened, map[string]*wasm.Module{}
	}
	return e.engine
}

// keep compiles the plugin of a folder for all tests, and gives its file.
func (e *engine) keep(t testing.TB, folder ...string) string {
	t.Helper()
	path, engine := guesttest.Build(t, filepath.Join(append([]string{guesttest.Root()}, folder...)...)), e.open(t)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.kept[path] == nil {
		binary, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if e.kept[path], err = engine.Compile(t.Context(), binary); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func (e *engine) close() error {
	if e.engine == nil {
		return nil
	}
	for _, m := range e.kept {
		m.Release()
	}
	if err := e.engine.Close(); err != nil {
		return errors.Join(errors.New("close the engine of all tests"), err)
	}
	return nil
}
