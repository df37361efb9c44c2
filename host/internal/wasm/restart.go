package wasm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/events"
)

const (
	restartMin  = 50 * time.Millisecond
	restartMax  = 10 * time.Second
	restartCalm = 10 * time.Second // a worker that lived this long was no failure to start
)

// addLocked takes a worker in, unless it died since it was ready: nobody would replace it. p.mu is held.
func (p *Pool) addLocked(w *worker) error {
	w.mu.Lock()
	fault := w.fault
	w.mu.Unlock()
	if fault != nil {
		return fmt.Errorf("start the plugin: it was ready and died: %w", fault)
	}
	p.workers, p.born = append(p.workers, w), time.Now()
	p.notifyLocked()
	return nil
}

// startLocked starts one more worker after a delay; p.mu is held.
func (p *Pool) startLocked(delay time.Duration) {
	p.starting++
	p.starts.Add(1)
	go func() {
		defer p.starts.Done()
		w, err := p.startLater(delay)
		if err := p.started(w, err); err != nil {
			p.options.Log.Error("a worker did not start", "error", err)
		}
	}()
}

// started takes in a worker that was started, or has another started later. It returns why there is none, if that is worth telling.
func (p *Pool) started(w *worker, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.starting--
	if err == nil {
		err = p.addLocked(w)
	}
	if err == nil || errors.Is(err, errStopped) {
		return nil
	}
	p.lastErr = err.Error()
	delay := p.backOff()
	p.rest = time.Now().Add(max(delay, restartMin))
	if len(p.workers) == 0 && !p.closed {
		p.startLocked(delay)
	}
	return err
}

func (p *Pool) startLater(delay time.Duration) (*worker, error) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.stopped.Done():
		return nil, errStopped
	}
	w, err := p.startWorker(p.stopped, false)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		w.close()
		return nil, errStopped
	}
	return w, nil
}

// backOff is how long to wait before the next start, doubling while workers die young; p.mu is held.
func (p *Pool) backOff() time.Duration {
	if time.Since(p.born) > restartCalm {
		p.restart = restartMin
		p.born = time.Now() // the next failure in a row is no first one
		return 0
	}
	d := p.restart
	p.restart = min(2*p.restart, restartMax)
	return d
}

// died replaces a worker that trapped. lost are the ids of the requests that it held.
func (p *Pool) died(w *worker, fault error, lost []string) {
	if !w.settled.Load() {
		return // it died while it started, which its starter reports
	}
	trap := &TrapError{fault}
	degraded := p.replace(w, trap)
	// What is logged may wait for whoever reads it: nobody is to wait for that.
	p.options.Log.Error("a worker trapped", "error", trap, "worker", w.number)
	p.options.Event(events.PluginTrapped, trap.Reason()+lostText(lost))
	if degraded {
		const text = "workers trapped repeatedly: for a while each request has an instance of its own"
		p.options.Log.Warn(text)
		p.options.Event(events.PluginDegraded, text)
	}
}

// replace takes a worker that trapped out and has another started if it was the last. It says whether requests are alone from now on.
func (p *Pool) replace(w *worker, trap *TrapError) (degraded bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.traps++
	p.lastErr = trap.Reason()
	if w.fresh {
		return false
	}
	degraded = p.guard.trap(time.Now())
	i := slices.Index(p.workers, w)
	if i < 0 {
		return degraded // it took no request any more
	}
	p.workers = slices.Delete(slices.Clone(p.workers), i, i+1)
	if len(p.workers) == 0 && p.starting == 0 && !p.closed {
		p.startLocked(p.backOff())
	}
	p.notifyLocked()
	return degraded
}

// lostText names the requests that failed with a worker, the first few of many.
func lostText(lost []string) string {
	const named = 3
	switch {
	case len(lost) == 0:
		return ""
	case len(lost) <= named:
		return "; failed with it: " + strings.Join(lost, ", ")
	}
	return fmt.Sprintf("; failed with it: %s and %d more", strings.Join(lost[:named], ", "), len(lost)-named)
}
