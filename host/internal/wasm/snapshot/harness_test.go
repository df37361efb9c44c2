package snapshot_test

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/patchbay-run/patchbay/host/internal/guesttest"
	"github.com/patchbay-run/patchbay/host/internal/wasm/snapshot"
)

// program is a module that has been prepared and compiled, and an image of it once take was called.
type program struct {
	testing.TB
	ctx      context.Context
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	plan     *snapshot.Plan
	empty    *snapshot.Image // of no memory
	image    *snapshot.Image
}

const limit = 64 << 20

func newProgram(tb testing.TB, module []byte) *program {
	tb.Helper()
	plan, err := snapshot.Prepare(module)
	if err != nil {
		tb.Fatal(err)
	}
	ctx := context.Background()
	cache, err := wazero.NewCompilationCacheWithDir(filepath.Join(guesttest.Cache(tb), "compiled"))
	if err != nil {
		tb.Fatal(err)
	}
	p := &program{TB: tb, ctx: ctx, runtime: wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCompilationCache(cache)), plan: plan}
	tb.Cleanup(func() {
		p.runtime.Close(ctx)
		cache.Close(ctx)
	})
	wasi_snapshot_preview1.MustInstantiate(ctx, p.runtime)
	p.empty = capture(tb, new(snapshot.Plan), nil, nil)
	if p.compiled, err = p.runtime.CompileModule(ctx, plan.Module); err != nil {
		tb.Fatal(err)
	}
	return p
}

// on makes an instance whose memory comes from the image.
func (p *program) on(image *snapshot.Image) api.Module {
	p.Helper()
	memory, err := image.Map(limit)
	if err != nil {
		p.Fatal(err)
	}
	ctx := experimental.WithMemoryAllocator(p.ctx, experimental.MemoryAllocatorFunc(func(_, _ uint64) experimental.LinearMemory { return memory }))
	mod, err := p.runtime.InstantiateModule(ctx, p.compiled, wazero.NewModuleConfig().
		WithName("").WithStartFunctions().
		WithSysWalltime().WithSysNanotime().WithRandSource(rand.Reader))
	if err != nil {
		memory.Free()
		p.Fatal(err)
	}
	return mod
}

// plain starts an instance as if there were no snapshots, on a memory that begins with nothing.
func (p *program) plain() api.Module {
	p.Helper()
	mod := p.on(p.empty)
	if err := p.plan.Fill(whole(mod)); err != nil {
		p.Fatal(err)
	}
	for _, name := range []string{p.plan.Start, "_initialize"} {
		if f := mod.ExportedFunction(name); f != nil {
			if _, err := f.Call(p.ctx); err != nil {
				p.Fatal(err)
			}
		}
	}
	return mod
}

// take makes donor the one that all instances come from.
func (p *program) take(donor api.Module) {
	p.Helper()
	p.image = capture(p, p.plan, whole(donor), func(name string) uint64 { return donor.ExportedGlobal(name).Get() })
}

// capture closes the image when the test ends.
func capture(tb testing.TB, plan *snapshot.Plan, memory []byte, global func(string) uint64) *snapshot.Image {
	tb.Helper()
	image, err := plan.Capture(memory, global)
	if errors.Is(err, errors.ErrUnsupported) {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { image.Close() })
	return image
}

// start starts an instance from the image.
func (p *program) start() api.Module {
	p.Helper()
	mod := p.on(p.image)
	missing := p.image.Size() - int64(mod.Memory().Size())
	if _, ok := mod.Memory().Grow(uint32(missing >> 16)); !ok {
		p.Fatalf("the memory does not grow by %d bytes", missing)
	}
	p.image.Restore(func(name string, value uint64) { mod.ExportedGlobal(name).(api.MutableGlobal).Set(value) })
	return mod
}

// instance is start for a module whose donor is at once taken and closed.
func instance(t *testing.T, module []byte) (api.Module, *program) {
	t.Helper()
	p := newProgram(t, module)
	donor := p.plain()
	p.take(donor)
	donor.Close(p.ctx)
	return p.start(), p
}

// call runs an export and returns its result, 0 when it has none.
func call(tb testing.TB, mod api.Module, name string, args ...uint64) uint64 {
	tb.Helper()
	results, err := mod.ExportedFunction(name).Call(context.Background(), args...)
	if err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	if len(results) == 0 {
		return 0
	}
	return results[0]
}

// whole is an instance's memory, not a copy.
func whole(mod api.Module) []byte {
	b, _ := mod.Memory().Read(0, mod.Memory().Size())
	return b
}
