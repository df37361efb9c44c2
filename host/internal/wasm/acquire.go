package wasm

import (
	"context"
	"time"
)

// Another worker joins when events have lain in the mailbox for longer than saturated and the worker itself is why: it computes most of the
// time. A worker that is awake serves in batches, so few are better than many; and where others have the processors, another worker would only be one
// more to wait for them.
const (
	saturated     = 2 * time.Millisecond
	saturatedLoad = 60 // percent
)

// acquire picks a worker and puts the call into it: the first that has room and keeps up. It waits while workers
// are being started, and has another one started when all that run are behind.
func (p *Pool) acquire(ctx context.Context, c *call) error {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return errStopped
		}
		var behind *worker
		alive := 0 // a worker that has just died is still in the list
		for _, w := range p.workers {
			s := w.look()
			if s.worn && p.mayRetireLocked() {
				p.retireLocked(w, s.why)
				continue
			}
			if s.lives {
				alive++
			}
			if !s.room {
				continue
			}
			if !s.late && w.admit(c) {
				p.mu.Unlock()
				return nil
			}
			if behind == nil {
				behind = w
			}
		}
		switch {
		case len(p.workers) == 0 && p.starting == 0: // the last one was taken out of service
			p.startLocked(0)
		case alive > 0 && alive+p.starting < p.options.Workers && time.Now().After(p.rest):
			p.startLocked(0)
		}
		if behind != nil && behind.admit(c) {
			p.mu.Unlock()
			return nil
		}
		if alive > 0 {
			p.mu.Unlock()
			return ErrFull
		}
		changed := p.changed
		p.mu.Unlock()
		if err := c.waitFor(ctx, changed); err != nil {
			return err
		}
	}
}

// sight is how a worker stands.
type sight struct {
	lives bool
	room  bool // for one more request
	late  bool // it is behind
	worn  bool // it is to be replaced, and why
	why   int
}

func (w *worker) look() (s sight) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.lives = w.fault == nil
	s.why, s.worn = w.worn()
	s.room = s.lives && w.calls < w.pool.options.InFlight && !(s.worn && s.why == wornMemory)
	s.late = w.waiting != 0 && (w.load.Load() >= saturatedLoad || w.computed.Load() > int64(saturated)) &&
		time.Duration(w.pool.module.engine.nanotime()-w.waiting) > saturated
	return s
}

// admit puts a call and its first event into the worker. The caller kicks.
func (w *worker) admit(c *call) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault != nil || w.calls >= w.pool.options.InFlight {
		return false
	}
	if len(w.free) == 0 {
		w.free = append(w.free, uint32(len(w.slots)))
		w.slots = append(w.slots, slot{})
	}
	i := w.free[len(w.free)-1]
	w.free = w.free[:len(w.free)-1]
	s := &w.slots[i]
	s.generation++
	if s.generation == 0 {
		s.generation = 1
	}
	s.call = c
	w.calls++
	w.served++
	c.id = uint64(s.generation)<<32 | uint64(i)
	c.worker = w
	c.arrival.id = c.id
	w.pushLocked(c.arrival)
	c.arrival = event{}
	return true
}
