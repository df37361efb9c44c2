package upstream

import (
	"sync"
	"time"
)

// watch ends a call that makes no progress: while it is started, it breaks the call off once
// nothing has been sent for the limit. What is received ends a wait, so each wait starts it anew.
type watch struct {
	call *call

	mu    sync.Mutex // guards what follows
	timer *time.Timer
	fires time.Time // when the timer does; zero is not set
	on    bool
	over  bool // the connection is no more the call's
	kind  error
	limit time.Duration
	since time.Time
	late  error // the kind of the wait that took too long
}

// start begins a wait; a limit of 0 is none. A timer that is set already may fire too early: look sees to that, and one that is set
// once for many waits costs less.
func (w *watch) start(kind error, limit time.Duration) {
	if limit <= 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	w.on, w.kind, w.limit, w.since = true, kind, limit, time.Now()
	if w.fires.IsZero() || w.since.Add(limit).Before(w.fires) {
		w.setLocked(w.since, limit)
	}
}

func (w *watch) setLocked(now time.Time, after time.Duration) {
	w.fires = now.Add(after)
	if w.timer == nil {
		w.timer = time.AfterFunc(after, w.look)
	} else {
		w.timer.Reset(after)
	}
}

// stop ends a wait. It returns what start was given when the wait took too long.
func (w *watch) stop() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on = false
	return w.late
}

// end is the last: the connection is somebody else's from then on.
func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on, w.over = false, true
	if w.timer != nil {
		w.timer.Stop()
	}
}

// fired returns the kind of the wait that took too long, or nil.
func (w *watch) fired() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.late
}

// look is the timer's. It may come when the wait is over or another has begun.
func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fires = time.Time{}
	if !w.on {
		return
	}
	// A request that is still going out is progress, however long it takes.
	last := w.since
	if sent := w.call.pool.started.Add(time.Duration(w.call.conn.wrote.Load())); sent.After(last) {
		last = sent
	}
	now := time.Now()
	if left := w.limit - now.Sub(last); left > 0 {
		w.setLocked(now, left)
		return
	}
	w.on, w.late = false, w.kind
	w.call.breakOff() // before end can give the connection away
}
