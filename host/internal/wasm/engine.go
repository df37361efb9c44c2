// Package wasm runs plugins: it compiles modules, keeps their workers and carries requests, bodies and
// operations between the host and the guests by the ABI of sdk/ABI.md.
//
// It is the only importer of wazero. It knows neither HTTP servers nor policy: a request comes as a Request,
// its answer goes to a Sink, and what a guest asks of the outside goes to a Capability.
package wasm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/patchbay-run/patchbay/host/internal/wasm/snapshot"
	"github.com/patchbay-run/patchbay/host/internal/wasm/turns"
)

// Engine compiles modules. One process has one, since it owns the cache of compiled code.
// Its owner calls Close after every Module was released.
type Engine struct {
	cache wazero.CompilationCache
	start time.Time // what monotonic clocks count from, the guests' too
	turns *turns.Turns

	buffers sync.Pool // *[chunkSize]byte, for bodies on their way
	timers  sync.Pool // *time.Timer, stopped

	mu      sync.Mutex // guards modules and the reference counts in them
	modules map[Digest]*compiled
}

// Digest is the SHA-256 of a module as it lies on disk.
type Digest [sha256.Size]byte

// String is the digest as configurations write it.
func (d Digest) String() string { return "sha256:" + hex.EncodeToString(d[:]) }

// compiled is one runtime with its module. Type identifiers belong to the runtime that compiled, so the two
// live and die together, and the generations of one digest share them.
type compiled struct {
	digest  Digest
	refs    int           // guarded by Engine.mu
	ready   chan struct{} // closed when the fields below are set
	err     error
	runtime wazero.Runtime
	module  wazero.CompiledModule
	memory  uint64 // bytes of linear memory that it declares as its least
	stack   string // the exported global that says how much machine stack is left

	plan  *snapshot.Plan // nil: it is always started plainly
	plain string         // why
}

// Open makes an engine whose compiled code is kept in dir, which is made with mode 0700 when missing.
// The cache is executable input: a folder that others may write is refused.
func Open(dir string) (*Engine, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the cache of compiled plugins: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("look at the cache of compiled plugins: %w", err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("cache of compiled plugins %s may be written by others (mode %v): what lies there is run; set its mode to 0700 or choose another cache_dir", dir, info.Mode().Perm())
	}
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open the cache of compiled plugins: %w", err)
	}
	return &Engine{cache: cache, start: time.Now(), turns: turns.New(), modules: map[Digest]*compiled{}}, nil
}

// Close frees the compiled code. Modules that were not released are an error and stay usable by nobody.
func (e *Engine) Close() error {
	e.mu.Lock()
	left := len(e.modules)
	e.mu.Unlock()
	err := e.cache.Close(context.Background())
	if left > 0 {
		err = errors.Join(err, fmt.Errorf("%d compiled plugins were still in use", left))
	}
	return err
}

// Module is a compiled plugin that its holder may start pools from. The holder calls Release once.
type Module struct {
	engine *Engine
	c      *compiled
	once   sync.Once
}

// Compile checks and compiles a plugin, or hands out what it compiled already from the same bytes.
// Concurrent calls with the same bytes compile once.
func (e *Engine) Compile(ctx context.Context, binary []byte) (*Module, error) {
	digest := Digest(sha256.Sum256(binary))
	e.mu.Lock()
	c, found := e.modules[digest]
	if !found {
		c = &compiled{digest: digest, ready: make(chan struct{})}
		e.modules[digest] = c
	}
	c.refs++
	e.mu.Unlock()

	m := &Module{engine: e, c: c}
	if !found {
		c.err = e.compile(ctx, c, binary)
		close(c.ready)
	}
	<-c.ready
	if c.err != nil {
		m.Release()
		return nil, c.err
	}
	return m, nil
}

func (e *Engine) compile(ctx context.Context, c *compiled, binary []byte) (err error) {
	c.runtime = wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().
		WithCompilationCache(e.cache).
		WithCoreFeatures(api.CoreFeaturesV2))
	if err := instantiateImports(ctx, c.runtime); err != nil {
		return err
	}
	metered, err := meterModule(binary)
	if err != nil {
		return fmt.Errorf("read the module: %w", err)
	}
	c.stack = metered.StackGlobal
	if err := checkOwn(metered.Imports); err != nil {
		return err
	}
	module, err := c.prepare(metered.Module)
	switch {
	case errors.Is(err, snapshot.ErrUnsuitable):
		c.plain = err.Error()
	case err != nil:
		return fmt.Errorf("read the module: %w", err)
	}
	if c.module, err = c.runtime.CompileModule(ctx, module); err != nil {
		return fmt.Errorf("compile: %w", err)
	}
	return c.check()
}

// Digest names the bytes that were compiled.
func (m *Module) Digest() Digest { return m.c.digest }

// Release gives the module back. The last release frees the runtime, and with it every worker that was left.
func (m *Module) Release() {
	m.once.Do(func() {
		m.engine.mu.Lock()
		m.c.refs--
		last := m.c.refs == 0
		if last {
			delete(m.engine.modules, m.c.digest)
		}
		m.engine.mu.Unlock()
		if last {
			m.c.free()
		}
	})
}

// nanotime is a monotonic clock that says nothing about the machine.
func (e *Engine) nanotime() int64 { return int64(time.Since(e.start)) }

func (e *Engine) buffer() []byte {
	if b, ok := e.buffers.Get().(*[chunkSize]byte); ok {
		return b[:]
	}
	return make([]byte, chunkSize)
}

func (e *Engine) reuse(b []byte) { e.buffers.Put((*[chunkSize]byte)(b)) }

// timer is one that dropTimer takes back.
func (e *Engine) timer(d time.Duration) *time.Timer {
	t, ok := e.timers.Get().(*time.Timer)
	if !ok {
		return time.NewTimer(d)
	}
	t.Reset(d)
	return t
}

func (e *Engine) dropTimer(t *time.Timer) {
	t.Stop()
	e.timers.Put(t)
}
