package telemetry

import (
	"context"
	"sync"
	"time"
)

// Usage is what a chat took, in the words of its upstream. Fields that it does not tell are zero.
type Usage struct {
	Model        string
	InputTokens  int64
	OutputTokens int64
	FirstToken   time.Duration // from the call's begin to the first piece of text
}

// work is what others did for one request. Calls of one request go on side by side, and one may end after the request has.
type work struct {
	mu       sync.Mutex
	upstream time.Duration
	usage    Usage
}

// done returns what was gathered so far.
func (w *work) done() (upstream time.Duration, usage Usage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.upstream, w.usage
}

// AddUpstream adds the time that one call to an upstream took, from its begin to the last byte of its answer, to the request of
// ctx. Calls that go on side by side each count whole. Outside a tracked request it does nothing.
func AddUpstream(ctx context.Context, took time.Duration) {
	if rec, ok := ctx.Value(contextKey{}).(*record); ok {
		rec.work.mu.Lock()
		rec.work.upstream += took
		rec.work.mu.Unlock()
	}
}

// AddUsage adds what one chat took to the request of ctx; the last model named counts, and the first text of all. Outside a
// tracked request it does nothing.
func AddUsage(ctx context.Context, u Usage) {
	rec, ok := ctx.Value(contextKey{}).(*record)
	if !ok {
		return
	}
	w := &rec.work
	w.mu.Lock()
	defer w.mu.Unlock()
	if u.Model != "" {
		w.usage.Model = u.Model
	}
	w.usage.InputTokens += u.InputTokens
	w.usage.OutputTokens += u.OutputTokens
	if u.FirstToken > 0 && (w.usage.FirstToken == 0 || u.FirstToken < w.usage.FirstToken) {
		w.usage.FirstToken = u.FirstToken
	}
}
