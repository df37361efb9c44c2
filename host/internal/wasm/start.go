package wasm

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/patchbay-run/patchbay/host/internal/wasm/snapshot"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// instantiate makes the worker's instance, initialised and with hands shaken: from the image of one before it where there is
// one, else plainly. It holds no configuration yet, so the image serves all generations of the same bytes.
func (w *worker) instantiate() error {
	c, o := w.pool.module.c, w.pool.options
	if image := c.image.Load(); image != nil && !o.PlainStart {
		return w.copyOf(image)
	}
	if err := w.plainly(); err != nil {
		return err
	}
	if c.plan != nil && !o.PlainStart {
		if err := c.capture(w.mod); err != nil {
			o.Log.Warn("workers are started plainly: no image could be taken of the first", "error", err)
		}
	}
	return nil
}

func (w *worker) config() wazero.ModuleConfig {
	return wazero.NewModuleConfig().
		WithName("").
		WithStartFunctions(). // called here, where it is known what was put into the memory before
		WithSysWalltime().WithNanotime(w.pool.module.engine.nanotime, 1).
		WithRandSource(rand.Reader)
}

// plainly starts the module as if it were the first.
func (w *worker) plainly() error {
	c, limit := w.pool.module.c, w.pool.options.Memory
	if c.memory > uint64(limit) {
		return fmt.Errorf("the plugin begins with %d KiB of memory, over its limit of %d KiB: raise limits.memory", c.memory>>10, limit>>10)
	}
	memory, err := reserve(limit, c.memory)
	if err != nil {
		return fmt.Errorf("start the plugin: %w", err)
	}
	w.mod, err = c.runtime.InstantiateModule(experimental.WithMemoryAllocator(w.ctx, w.allocator(memory)), c.module, w.config())
	if err != nil {
		memory.Free() // wazero does not when the module's start function fails
		return fmt.Errorf("start the plugin: %w", err)
	}
	if c.plan != nil {
		all, _ := w.mod.Memory().Read(0, w.mod.Memory().Size())
		if err := c.plan.Fill(all); err != nil {
			return fmt.Errorf("start the plugin: %w", err)
		}
		if err := w.callIfThere(c.plan.Start); err != nil {
			return err
		}
	}
	if err := w.callIfThere("_initialize"); err != nil {
		return err
	}
	return w.handshake()
}

func (w *worker) callIfThere(name string) error {
	f := w.mod.ExportedFunction(name)
	if f == nil {
		return nil
	}
	if _, err := f.Call(w.ctx); err != nil {
		return fmt.Errorf("start the plugin: %w", w.blame(err))
	}
	return nil
}

// copyOf starts the instance where the one of the image stood.
func (w *worker) copyOf(image *snapshot.Image) error {
	c := w.pool.module.c
	memory, err := image.Map(w.pool.options.Memory)
	if err != nil {
		return fmt.Errorf("start the plugin: %w", err)
	}
	w.mod, err = c.runtime.InstantiateModule(experimental.WithMemoryAllocator(w.ctx, w.allocator(memory)), c.module, w.config())
	if err != nil {
		memory.Free()
		return fmt.Errorf("start the plugin: %w", err)
	}
	more := uint32((image.Size() - int64(w.mod.Memory().Size())) >> 16)
	if _, ok := w.mod.Memory().Grow(more); !ok {
		return fmt.Errorf("start the plugin: its image of %d KiB is over its limit: raise limits.memory", image.Size()>>10)
	}
	image.Restore(func(name string, value uint64) {
		w.mod.ExportedGlobal(name).(api.MutableGlobal).Set(value)
	})
	return nil
}

// capture takes the image that further workers begin from, once.
func (c *compiled) capture(donor api.Module) error {
	c.capturing.Lock()
	defer c.capturing.Unlock()
	if c.image.Load() != nil {
		return nil
	}
	all, _ := donor.Memory().Read(0, donor.Memory().Size())
	image, err := c.plan.Capture(all, func(name string) uint64 { return donor.ExportedGlobal(name).Get() })
	if err != nil {
		return err
	}
	c.image.Store(image)
	return nil
}

func (w *worker) handshake() error {
	const features = abi.FeaturePipe | abi.FeatureSSE
	results, err := w.mod.ExportedFunction(abi.ExportHandshake).Call(w.ctx, abi.Version, abi.Version, features)
	if err != nil {
		return fmt.Errorf("shake hands with the plugin: %w", err)
	}
	version, used := abi.SplitHandshake(results[0])
	if version != abi.Version {
		return fmt.Errorf("the plugin speaks ABI %d, this host %d: build it with an SDK of ABI %d", version, abi.Version, abi.Version)
	}
	if used&^features != 0 {
		return fmt.Errorf("the plugin needs features %#x of the ABI, this host has %#x", used, features)
	}
	return nil
}

// prepare chooses what of a metered module is compiled: a variant that can be started from an image, or when that cannot be,
// the module itself.
func (c *compiled) prepare(metered []byte) ([]byte, error) {
	plan, err := snapshot.Prepare(metered)
	if err != nil {
		return metered, err
	}
	module := plan.Module
	plan.Module = nil // which is the compiler's now
	c.plan = plan
	return module, nil
}

// free gives back what the module holds; nobody uses it any more.
func (c *compiled) free() {
	if c.runtime != nil {
		_ = c.runtime.Close(context.Background())
	}
	if image := c.image.Load(); image != nil {
		_ = image.Close()
	}
}
