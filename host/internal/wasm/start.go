package wasm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// startWorker makes an instance, shakes hands, hands over the configuration and waits for the guest's READY.
func (p *Pool) startWorker(ctx context.Context, fresh bool) (_ *worker, err error) {
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	w := &worker{
		pool:   p,
		number: p.made.Add(1),
		fresh:  fresh,
		stop:   stop,
		closed: make(chan struct{}),
		ops:    map[uint64]*operation{},
		ready:  make(chan error, 1),

		cpuLimit: startTimeout,
		fetches:  budget{limit: int64(p.options.Fetches)},
		outbound: budget{limit: p.options.Memory},
		room:     room{limit: p.options.Memory},
	}
	w.ctx = &workerContext{base, w}
	w.streams = [2]lineWriter{{worker: w, level: abi.LevelInfo}, {worker: w, level: abi.LevelError}}
	hurry := context.AfterFunc(ctx, func() { w.closing.Store(true) }) // a guest that computes is stopped too
	defer hurry()
	started := false
	defer func() {
		if !started {
			w.close()
			if ctx.Err() != nil && errors.Is(err, errStopped) { // whoever stopped it has a better reason
				err = fmt.Errorf("start the plugin: %w", context.Cause(ctx))
			}
		}
	}()

	w.state.Store(running) // nobody polls before hands are shaken
	image := p.image.Load()
	w.begin()
	if image != nil {
		err = w.copyOf(image)
	} else {
		err = w.plainly()
	}
	w.end()
	if err != nil {
		p.limits.ended(err)
		return nil, err
	}
	w.poll = w.mod.ExportedFunction(abi.ExportPoll)
	w.began(w.mod.Memory().Size())
	w.settled.Store(image != nil)
	w.state.Store(idle) // from here on somebody else may poll
	if image != nil {
		w.wakeAt(image.due)
	} else if err := w.configure(ctx); err != nil {
		return nil, err
	}
	if !hurry() { // it is ending already
		return nil, fmt.Errorf("start the plugin: %w", context.Cause(ctx))
	}
	w.settled.Store(true)
	started = true
	return w, nil
}

// began notes what the worker is measured by later. The goroutine that polls calls it, or nobody polls yet.
func (w *worker) began(size uint32) {
	w.memory.Store(size)
	w.high.Store(highWater(size, w.pool.options.Memory))
	w.born.Store(w.pool.module.engine.nanotime())
}

// configure hands over the configuration and waits for the guest's READY.
func (w *worker) configure(ctx context.Context) error {
	w.push(event{kind: abi.Config, fields: w.pool.configFields})
	w.kick()
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	select {
	case err := <-w.ready:
		return err
	case <-w.closed:
		return fmt.Errorf("start the plugin: %w", w.fault)
	case <-timer.C:
		return fmt.Errorf("start the plugin: it was not ready within %v", startTimeout)
	case <-ctx.Done():
		return fmt.Errorf("start the plugin: it was not ready: %w", context.Cause(ctx))
	}
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
	w.left = w.mod.ExportedGlobal(c.stack).(api.MutableGlobal)
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
	if err := w.enter(f, nil); err != nil {
		return fmt.Errorf("start the plugin: %w", w.blame(err))
	}
	return nil
}

func (w *worker) handshake() error {
	const features = abi.FeaturePipe | abi.FeatureSSE | abi.FeatureCache | abi.FeaturePublish
	values := []uint64{abi.Version, abi.Version, features}
	if err := w.enter(w.mod.ExportedFunction(abi.ExportHandshake), values); err != nil {
		return fmt.Errorf("shake hands with the plugin: %w", err)
	}
	version, used := abi.SplitHandshake(values[0])
	if version != abi.Version {
		return fmt.Errorf("the plugin speaks ABI %d, this host %d: build it with an SDK of ABI %d", version, abi.Version, abi.Version)
	}
	if used&^features != 0 {
		return fmt.Errorf("the plugin needs features %#x of the ABI, this host has %#x", used, features)
	}
	return nil
}

// free gives back what the module holds; nobody uses it any more.
func (c *compiled) free() {
	if c.runtime != nil {
		_ = c.runtime.Close(context.Background())
	}
}
