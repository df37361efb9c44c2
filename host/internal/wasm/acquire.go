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
