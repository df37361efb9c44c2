package wasm

import (
	"errors"
	"fmt"
	"time"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/patchbay-run/patchbay/host/internal/wasm/snapshot"
)

// image is a plugin's first worker as it was when it was ready: initialised and configured. Further workers of the generation
// begin there.
type image struct {
	*snapshot.Image
	due int64 // when its timer fires, by the engine's clock; 0 is none
}

const restTries = 20 // looks at a worker that is to come to rest, a millisecond apart

// remember takes the image of a worker that is ready and serves nothing yet.
func (p *Pool) remember(w *worker) {
	switch i, err := p.capture(w); {
	case err != nil:
		p.plain = err.Error()
	default:
		p.image.Store(i)
	}
}

func (p *Pool) capture(w *worker) (*image, error) {
	plan := p.module.c.plan
	switch {
	case p.options.PlainStart:
		return nil, errors.New("configured")
	case plan == nil:
		return nil, errors.New(p.module.c.plain)
	}
	due, err := w.rest()
	if err != nil {
		return nil, err
	}
	defer w.release()
	all, _ := w.mod.Memory().Read(0, w.mod.Memory().Size())
	taken, err := plan.Capture(all, func(name string) uint64 { return w.mod.ExportedGlobal(name).Get() })
	if err != nil {
		p.options.Log.Warn("workers are started plainly: no image could be taken of the first", "error", err)
		return nil, err
	}
	return &image{taken, due}, nil
}

// rest waits a moment until the worker does nothing, and keeps it from being polled; the caller releases it.
// An image of a worker with operations under way would wait for them for ever.
func (w *worker) rest() (due int64, err error) {
	for range restTries {
		if w.state.CompareAndSwap(idle, running) {
			w.mu.Lock()
			rests, due := w.box.len() == 0 && len(w.ops) == 0, w.due
			w.mu.Unlock()
			if rests {
				return due, nil
			}
			w.release()
		}
		time.Sleep(time.Millisecond)
	}
	return 0, errors.New("it had operations of its own under way when it was ready")
}

func (p *Pool) forgetImage() {
	if i := p.image.Load(); i != nil {
		_ = i.Close()
	}
}

// copyOf starts the instance where the one of the image stood: ready.
func (w *worker) copyOf(image *image) error {
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
	w.left = w.mod.ExportedGlobal(c.stack).(api.MutableGlobal)
	more := uint32((image.Size() - int64(w.mod.Memory().Size())) >> 16)
	if _, ok := w.mod.Memory().Grow(more); !ok {
		return fmt.Errorf("start the plugin: its image of %d KiB is over its limit: raise limits.memory", image.Size()>>10)
	}
	image.Restore(func(name string, value uint64) {
		w.mod.ExportedGlobal(name).(api.MutableGlobal).Set(value)
	})
	w.readySaid = true
	return nil
}

// wakeAt has the guest polled when its timer fires. It had one set when the image was taken, or due is 0.
func (w *worker) wakeAt(due int64) {
	if due == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ringIn(max(time.Duration(due-w.pool.module.engine.nanotime()), 0))
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
