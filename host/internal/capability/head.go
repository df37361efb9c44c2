package capability

import (
	"context"
	"time"
)

// headContext is the context of a call, which ends when the head of the answer is late, as at a deadline, but no more once the head is there: the
// body has the pool's limit between two chunks.
type headContext struct {
	context.Context // the operation's own
	timer           *time.Timer
	due             time.Time
}

// longestHead is how long a call may wait for its head when nobody said: GPUStack's own proxy gives a model 30 minutes.
const longestHead = 30 * time.Minute

// newHeadContext begins the wait. stop ends ctx, which is the call's alone. The caller calls arrived.
func newHeadContext(ctx context.Context, stop context.CancelCauseFunc, limit time.Duration) *headContext {
	return &headContext{Context: ctx, due: time.Now().Add(limit), timer: time.AfterFunc(limit, func() { stop(context.DeadlineExceeded) })}
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
	if !ok || h.due.Before(deadline) {
		return h.due, true
	}
	return deadline, ok
}

// arrived ends the wait. It says false when that was too late.
func (h *headContext) arrived() bool { return h.timer.Stop() }
