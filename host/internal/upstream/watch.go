package upstream

import (
	"context"
	"sync"
	"time"
)

// watch ends a call that makes no progress: while it is started, it cancels the call once
// nothing has been sent for the limit. What is received ends a wait, so each wait starts it anew.
type watch struct {
	conn   *conn
	cancel context.CancelCauseFunc

	mu    sync.Mutex // guards what follows
	timer *time.Timer
	on    bool
	kind  error
	limit time.Duration
	since time.Time
	late  error // the kind of the wait that took too long
}

func (w *watch) init(c *conn, cancel context.CancelCauseFunc) { w.conn, w.cancel = c, cancel }

// start begins a wait; a limit of 0 is none.
func (w *watch) start(kind error, limit time.Duration) {
	if limit <= 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on, w.kind, w.limit, w.since = true, kind, limit, time.Now()
	if w.timer == nil {
		w.timer = time.AfterFunc(limit, w.look)
	} else {
		w.timer.Reset(limit)
	}
}

// stop ends a wait. It returns what start was given when the wait took too long.
func (w *watch) stop() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on = false
	if w.timer != nil {
		w.timer.Stop()
	}
	return w.late
}

// fired returns the kind of the wait that took too long, or nil.
func (w *watch) fired() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.late
}

// look is the timer's. It may come late, when the wait is over or another has begun.
func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.on {
		return
	}
	// A request that is still going out is progress, however long it takes.
	last := w.since
	if sent := w.conn.pool.started.Add(time.Duration(w.conn.wrote.Load())); sent.After(last) {
		last = sent
	}
	if left := w.limit - time.Since(last); left > 0 {
		w.timer.Reset(left)
		return
	}
	w.on, w.late = false, w.kind
	w.cancel(w.kind)
}
