package wasm_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/guesttest"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

func kitchenBytes(tb testing.TB) []byte {
	tb.Helper()
	b, err := os.ReadFile(guesttest.Build(tb, "testdata/kitchen"))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// BenchmarkCompile is a Go guest compiled anew, and with the code that an engine before left in the cache's folder.
func BenchmarkCompile(b *testing.B) {
	module := kitchenBytes(b)
	once := func(b *testing.B, dir string) {
		e, err := wasm.Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		m, err := e.Compile(context.Background(), module)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		m.Release()
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.Run("cold", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			once(b, filepath.Join(b.TempDir(), fmt.Sprint(i)))
		}
	})
	b.Run("cached", func(b *testing.B) {
		dir := b.TempDir()
		once(b, dir)
		for b.Loop() {
			once(b, dir)
		}
	})
}

// cycle loads a plugin, has it answer its first route, and takes it away.
func cycle(tb testing.TB, e *wasm.Engine, module []byte, o wasm.Options) {
	m, err := e.Compile(tb.Context(), module)
	if err != nil {
		tb.Fatal(err)
	}
	p, err := m.Start(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	k := &kitchen{Pool: p, routes: o.Routes}
	if got := p.Stats().Start; got != "snapshot" {
		tb.Fatalf("it started %q", got)
	}
	k.must(tb, o.Routes[0], "")
	p.Close()
	m.Release()
}

// usage is what a process holds.
type usage struct{ heap, mappings, goroutines, files int }

func use(tb testing.TB) usage {
	tb.Helper()
	for range 2 { // what finalizers and sync.Pools held goes with the second
		debug.FreeOSMemory()
	}
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		tb.Fatal(err)
	}
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	return usage{int(s.HeapAlloc), bytes.Count(maps, []byte("\n")), runtime.NumGoroutine(), len(files)}
}

// settled is the usage when what ends on its own has ended.
func settled(tb testing.TB, goroutines int) (now usage) {
	for range 100 {
		if now = use(tb); now.goroutines <= goroutines {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return now
}

// BenchmarkCycle loads and closes a plugin again and again, and says what has grown since the first hundred times.
func BenchmarkCycle(b *testing.B) {
	module, e, o := kitchenBytes(b), openEngine(b), kitchenOptions(b)
	for range 100 {
		cycle(b, e, module, o)
	}
	before := use(b)
	for b.Loop() {
		cycle(b, e, module, o)
	}
	after := settled(b, before.goroutines)
	runtime.KeepAlive(module) // it counts in both
	b.ReportMetric(float64(after.heap-before.heap)/1024, "heap-KiB")
	b.ReportMetric(float64(after.mappings-before.mappings), "mappings")
	b.ReportMetric(float64(after.goroutines-before.goroutines), "goroutines")
	b.ReportMetric(float64(after.files-before.files), "files")
}

// TestLoadAndClose: what a plugin held goes with it. It is a small one in C, since there are many; BenchmarkCycle has one in Go.
func TestLoadAndClose(t *testing.T) {
	module, e, o := buildC(t, filepath.Join("testdata", "bench", "guest.c")), openEngine(t), kitchenOptions(t)
	o.Routes = benchRoutes()
	for range 10 {
		cycle(t, e, module, o)
	}
	const cycles = 50
	before := use(t)
	for range cycles {
		cycle(t, e, module, o)
	}
	after := settled(t, before.goroutines)
	runtime.KeepAlive(module) // it counts in both
	if after.goroutines > before.goroutines || after.files > before.files {
		t.Errorf("after %d cycles: %d goroutines and %d files, before %d and %d",
			cycles, after.goroutines, after.files, before.goroutines, before.files)
	}
	// The runtime maps its heap in pieces of its own choice.
	if grown := after.mappings - before.mappings; grown > cycles/2 {
		t.Errorf("%d mappings more after %d cycles", grown, cycles)
	}
	if grown := after.heap - before.heap; grown > cycles<<10 {
		t.Errorf("%d KiB of heap more after %d cycles", grown>>10, cycles)
	}
}
