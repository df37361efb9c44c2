package meter_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/patchbay-run/patchbay/host/internal/wasm/meter"
)

// goGuest compiles testdata/guest.
func goGuest(tb testing.TB) []byte {
	tb.Helper()
	out := filepath.Join(tb.TempDir(), "guest.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", out, "./testdata/guest")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if msg, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("build the guest: %v\n%s", err, msg)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// guest is a running instance and its tick.
type guest struct {
	api.Module
	ctx    context.Context
	budget uint64
	ticks  int
	onTick func() // may panic
}

// start instantiates a reactor module, rewritten or not.
func start(tb testing.TB, ctx context.Context, cfg wazero.RuntimeConfig, wasm []byte) *guest {
	tb.Helper()
	rt := wazero.NewRuntimeWithConfig(ctx, cfg)
	tb.Cleanup(func() { rt.Close(context.Background()) })
	wasi_snapshot_preview1.MustInstantiate(ctx, rt)
	g := &guest{ctx: ctx, budget: 1 << 20}
	hostTick(tb, rt, func() uint64 {
		g.ticks++
		if g.onTick != nil {
			g.onTick()
		}
		return g.budget
	})
	m, err := rt.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithStartFunctions("_initialize"))
	if err != nil {
		tb.Fatal(err)
	}
	g.Module = m
	return g
}

// rewrite meters a module with default options.
func rewrite(tb testing.TB, wasm []byte) meter.Result {
	tb.Helper()
	res, err := meter.Rewrite(wasm, meter.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return res
}

// call runs an export with one argument, and the stack that a plugin has by default.
func (g *guest) call(tb testing.TB, name string, arg uint64) uint64 {
	tb.Helper()
	giveStack(g.Module, 8<<20)
	res, err := g.ExportedFunction(name).Call(g.ctx, arg)
	if err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	if len(res) == 0 {
		return 0
	}
	return res[0]
}

// BenchmarkMeter times one guest plain, metered and with the engine's own switch, in turn within every
// iteration, so that a busy machine disturbs all alike. The figures are medians in microseconds and ratios to plain.
func BenchmarkMeter(b *testing.B) {
	wasm := goGuest(b)
	ctx := context.Background()
	ended, cancel := context.WithCancel(ctx)
	b.Cleanup(cancel)
	guests := []*guest{
		start(b, ctx, wazero.NewRuntimeConfigCompiler(), wasm),
		start(b, ctx, wazero.NewRuntimeConfigCompiler(), rewrite(b, wasm).Module),
		start(b, ended, wazero.NewRuntimeConfigCompiler().WithCloseOnContextDone(true), wasm),
	}
	empty := emptyLoop()
	empties := []*guest{
		start(b, ctx, wazero.NewRuntimeConfigCompiler(), empty),
		start(b, ctx, wazero.NewRuntimeConfigCompiler(), rewrite(b, empty).Module),
		start(b, ended, wazero.NewRuntimeConfigCompiler().WithCloseOnContextDone(true), empty),
	}
	for _, c := range []struct {
		name string
		arg  uint64
		in   []*guest
	}{
		{"empty", 300_000, empties},
		{"loop", 100_000, guests},
		{"fib", 20, guests},
		{"alloc", 256, guests},
		{"recode", 40, guests},
		{"move", 1 << 16, guests},
	} {
		b.Run(c.name, func(b *testing.B) {
			times := make([][]time.Duration, len(c.in))
			for _, g := range c.in {
				g.ticks = 0
			}
			for b.Loop() {
				for k, g := range c.in {
					t := time.Now()
					g.call(b, c.name, c.arg)
					times[k] = append(times[k], time.Since(t))
				}
			}
			plain := median(times[0])
			b.ReportMetric(0, "ns/op") // the sum of the three means nothing
			b.ReportMetric(plain/1e3, "plain-us")
			b.ReportMetric(median(times[1])/plain, "metered-ratio")
			b.ReportMetric(median(times[2])/plain, "closeondone-ratio")
			b.ReportMetric(median(times[1])*float64(len(times[1]))/1e3/float64(max(c.in[1].ticks, 1)), "us/tick")
		})
	}
}

// median is the middle of d in nanoseconds.
func median(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2])
}

// TestGoGuest runs what the Go compiler emits, plain and metered: same results, with ticks.
func TestGoGuest(t *testing.T) {
	wasm := goGuest(t)
	ctx := context.Background()
	res := rewrite(t, wasm)
	plain := start(t, ctx, wazero.NewRuntimeConfigCompiler(), wasm)
	metered := start(t, ctx, wazero.NewRuntimeConfigCompiler(), res.Module)
	metered.budget = 10_000
	for _, c := range []struct {
		name string
		arg  uint64
	}{{"loop", 10_000}, {"fib", 15}, {"alloc", 100}, {"recode", 3}, {"move", 300_000}, {"nest", 10_000}} {
		before := metered.ticks
		if p, m := plain.call(t, c.name, c.arg), metered.call(t, c.name, c.arg); p != m {
			t.Errorf("%s(%d): plain %d, metered %d", c.name, c.arg, p, m)
		}
		if metered.ticks == before {
			t.Errorf("%s(%d): no tick", c.name, c.arg)
		}
	}
	if res.Functions < 1000 || res.Loops < 100 || res.BulkSites == 0 || !res.HasMemory || len(res.Imports) == 0 {
		t.Errorf("functions %d, loops %d, bulk %d, memory %v, imports %v", res.Functions, res.Loops, res.BulkSites, res.HasMemory, res.Imports)
	}
}
