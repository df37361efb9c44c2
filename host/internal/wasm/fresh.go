package wasm

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/events"
)

// serveFresh has a request answered by an instance that serves nothing else, before or after.
func (p *Pool) serveFresh(c *call, sink Sink) error {
	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.stopped, func() { cancel(errStopped) })()
	if !c.due.IsZero() {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadlineCause(ctx, c.due, ErrNoWorker)
		defer stop()
	}
	if !p.slots.TryAcquire(1) {
		if err := p.wait(ctx); err != nil {
			return c.whyNot(ctx, err)
		}
	}
	defer p.slots.Release(1)
	w, err := p.startWorker(ctx, true)
	if err != nil {
		return c.whyNot(ctx, err)
	}
	if err := p.keep(w); err != nil {
		w.close()
		return err
	}
	defer p.drop(w)
	defer context.AfterFunc(c.ctx, func() { w.closing.Store(true) })() // there is nobody else to compute for
	var late atomic.Bool
	if !c.due.IsZero() { // the goroutine that waits for the time may be the one that computes
		timer := time.AfterFunc(time.Until(c.due), func() {
			if !c.begun() {
				late.Store(true)
				w.closing.Store(true)
			}
		})
		defer timer.Stop()
	}
	if !w.admit(c) {
		return errUndelivered
	}
	err = c.serve(sink)
	switch {
	case !errors.Is(err, errStopped):
		return err
	case c.ctx.Err() != nil:
		return ErrGone
	case late.Load():
		return ErrTimeout
	}
	return err
}

// wait waits for room for one more instance, in order. As many requests may wait as the shared workers would have taken in.
func (p *Pool) wait(ctx context.Context) error {
	defer p.queue.Add(-1)
	if p.queue.Add(1) > int64(p.options.Workers)*int64(p.options.InFlight) {
		return ErrFull
	}
	return p.slots.Acquire(ctx, 1)
}

// whyNot says why a request got no instance.
func (c *call) whyNot(ctx context.Context, err error) error {
	switch {
	case c.ctx.Err() != nil:
		return ErrGone
	case errors.Is(err, ErrFull):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return &FreshError{err}
}

// FreshError says that no instance could be started for a request that was to have its own.
type FreshError struct{ Cause error }

// Error says why.
func (e *FreshError) Error() string { return fmt.Sprintf("no instance for the request: %v", e.Cause) }

// Unwrap gives the cause.
func (e *FreshError) Unwrap() error { return e.Cause }

// keep notes an instance that serves one request, so that Close can end it.
func (p *Pool) keep(w *worker) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errStopped
	}
	p.fresh[w] = struct{}{}
	return nil
}

func (p *Pool) drop(w *worker) {
	w.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.fresh, w)
}

// outcomeOf says what the end of a request tells about the plugin.
func outcomeOf(err error) outcome {
	var trap *TrapError
	var fresh *FreshError
	var pipe *PipeError
	var answer *AnswerError
	var headers *HeadersError
	switch {
	case err == nil, errors.Is(err, errGuestAborted), errors.As(err, &pipe), errors.As(err, &answer), errors.As(err, &headers):
		return answered
	case errors.As(err, &trap), errors.As(err, &fresh), errors.Is(err, errUndelivered):
		return trapped
	}
	return neither
}

// judge takes a request's pass back and tells people what became of the plugin.
func (p *Pool) judge(with pass, err error) {
	if !with.fresh {
		return // shared workers tell of their traps themselves
	}
	opened, closed := p.guard.done(with, outcomeOf(err), time.Now())
	switch {
	case opened:
		const text = "the plugin traps on every request; none is let in but one now and then, to try"
		p.options.Log.Error(text)
		p.options.Event(events.PluginOpened, text)
	case closed:
		const text = "the plugin answers again"
		p.options.Log.Info(text)
		p.options.Event(events.PluginClosed, text)
	}
}
