package capability

import (
	"context"
	"time"
)

// headContext ends when the head of an answer is late, as a deadline would, but no more once the head is there: the body has
// the pool's limit between two chunks.
type headContext struct {
	context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer // nil is no limit
	due    time.Time   // zero is no limit
}

// longestHead is how long a call may wait for its head when nobody said: GPUStack's own proxy gives a model 30 minutes.
const longestHead = 30 * time.Minute

// newHeadContext begins the wait; 0 is no limit. The caller calls headArrived, and cancel when the call is over.
func newHeadContext(ctx context.Context, limit time.Duration) *headContext {
	h := &headContext{}
	h.Context, h.cancel = context.WithCancelCause(ctx)
	if limit > 0 {
		h.due = time.Now().Add(limit)
		h.timer = time.AfterFunc(limit, func() { h.cancel(context.DeadlineExceeded) })
	}
	return h
}

// Err says DeadlineExceeded for a late head: a call that waited for its place in a pool tells a time-out from a
// cancel by it.
func (h *headContext) Err() error {
	err := h.Context.Err()
	if err != nil && context.Cause(h.Context) == context.DeadlineExceeded {
		return context.DeadlineExceeded
	}
	return err
}

// Deadline is when the head is late, so that an upstream can be told and no retry waits beyond it.
func (h *headContext) Deadline() (time.Time, bool) {
	deadline, ok := h.Context.Deadline()
	if !h.due.IsZero() && (!ok || h.due.Before(deadline)) {
		return h.due, true
	}
	return deadline, ok
}

func (h *headContext) headArrived() {
	if h.timer != nil {
		h.timer.Stop()
	}
}
