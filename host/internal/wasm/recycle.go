package wasm

import (
	"slices"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/events"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// Recycle says when a worker is replaced though nothing went wrong in it. Linear memory never shrinks, so one that has used most of
// what it may is replaced in any case.
type Recycle struct {
	Requests int           // after so many; 0 is never
	Age      time.Duration // after so long; 0 is never
}

// Why a worker was replaced.
const (
	wornMemory = iota
	wornRequests
	wornAge
	reasons
)

func wornName(why int) string { return [reasons]string{"memory", "requests", "age"}[why] }

// highWater is how much memory a worker may have and still get new requests: three quarters of its limit. One that began with more
// than that may have half of the rest, or it would never get any.
func highWater(begin uint32, limit int64) uint32 {
	return uint32(min(max(limit*3/4, (int64(begin)+limit)/2), 1<<32-1))
}

// worn says whether the worker is to be replaced, and why. w.mu is held.
func (w *worker) worn() (why int, yes bool) {
	r := w.pool.options.Recycle
	switch {
	case w.fault != nil:
		return 0, false
	case w.memory.Load() > w.high.Load() && w.served > 0:
		return wornMemory, true
	case r.Requests > 0 && w.served >= r.Requests:
		return wornRequests, true
	case r.Age > 0 && w.served > 0 && w.pool.module.engine.nanotime()-w.born.Load() > int64(r.Age):
		return wornAge, true
	}
	return 0, false
}

// recycle replaces a worker that has become too old with the request that it just served; others find out when they look for one.
func (p *Pool) recycle(w *worker) {
	w.mu.Lock()
	why, worn := w.worn()
	w.mu.Unlock()
	if !worn {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Contains(p.workers, w) && p.mayRetireLocked() && !p.closed {
		p.retireLocked(w, why)
	}
}

// mayRetireLocked bounds how many workers there are beside those that serve. p.mu is held.
func (p *Pool) mayRetireLocked() bool { return len(p.retiring) < p.options.Workers }

// retireLocked takes a worker out of service and has it ended when the requests in it are answered. p.mu is held.
func (p *Pool) retireLocked(w *worker, why int) {
	i := slices.Index(p.workers, w)
	p.workers = slices.Delete(slices.Clone(p.workers), i, i+1)
	p.retiring = append(slices.Clone(p.retiring), w)
	p.recycled[why]++
	p.background.Go(func() {
		p.options.Log.Info("a worker is replaced", "reason", wornName(why), "memory_bytes", w.memory.Load(), "worker", w.number)
		p.options.Event(events.PluginRecycled, "reason: "+wornName(why))
		p.retire(w)
	})
}

func (p *Pool) retire(w *worker) {
	drained := w.retire()
	w.kick()
	select {
	case <-drained:
	case <-w.closed: // it trapped
	case <-p.stopped.Done():
	}
	w.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.retiring, w)
	p.retiring = slices.Delete(slices.Clone(p.retiring), i, i+1)
	p.notifyLocked()
}

// retire tells the guest that nothing new comes. What it returns is closed when no request is left in it. The caller kicks.
func (w *worker) retire() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pushLocked(event{kind: abi.Drain})
	w.drained = make(chan struct{})
	if w.calls == 0 {
		close(w.drained)
	}
	return w.drained
}
