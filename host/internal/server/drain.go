package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Drain is how a server comes to its end. It accepts no more connections at once; what is open goes on for a time.
type Drain struct {
	// Idle is how long each connection between two requests, or before its first, may still send one. The answer says
	// Connection: close, so that the client does not come back on a connection that is about to go: a request that is
	// sent while the server closes is lost. 0 closes idle connections at once.
	Idle time.Duration
	// Requests is how long all of it may take. Requests that still run are cut off then.
	Requests time.Duration
	// Setting is where Requests was set, for the error that says so; "" leaves it out.
	Setting string
}

// ErrCut is wrapped by what Serve returns when requests were cut off.
var ErrCut = errors.New("they have been cut off")

// ending is what Drain and Serve agree on.
type ending struct {
	begun    chan struct{} // closed by the first Drain
	closed   chan struct{} // closed by Serve when nobody new is accepted
	begin    sync.Once
	idleOver context.Context // done when idle connections get no more time
	requests context.Context // done when requests have
	endIdle  context.CancelFunc
	endAll   context.CancelFunc

	mu     sync.Mutex // guards all below; a leaf
	drain  Drain      // the one that ends first
	at     time.Time  // when drain.Requests is over
	timers []*time.Timer
}

func newEnding() *ending {
	e := &ending{begun: make(chan struct{}), closed: make(chan struct{})}
	e.requests, e.endAll = context.WithCancel(context.Background())
	e.idleOver, e.endIdle = context.WithCancel(e.requests)
	return e
}

// Drain has Serve come to an end and returns at once. A later call can only bring the end nearer.
func (s *Server) Drain(d Drain) {
	e := s.ending
	e.mu.Lock()
	defer e.mu.Unlock()
	e.timers = append(e.timers, time.AfterFunc(d.Requests, e.endAll))
	if d.Idle <= 0 || !e.at.IsZero() { // the first Drain's time is each connection's own
		e.timers = append(e.timers, time.AfterFunc(d.Idle, e.endIdle))
	}
	if at := time.Now().Add(d.Requests); e.at.IsZero() || at.Before(e.at) {
		e.drain, e.at = d, at
	}
	s.LastAnswers()
	e.begin.Do(func() { close(e.begun) })
}

// Closed is closed when Serve accepts no more connections.
func (s *Server) Closed() <-chan struct{} { return s.ending.closed }

// LastAnswers makes each answer from now on the last of its connection: HTTP/1 clients are told by Connection: close,
// HTTP/2 clients by GOAWAY. New connections are still accepted.
func (s *Server) LastAnswers() { s.last.Store(true) }

// grace is how long each connection may be idle.
func (e *ending) grace() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.drain.Idle
}

// stop ends the timers.
func (e *ending) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.timers {
		t.Stop()
	}
}

// cut is the error for n requests that outlasted the drain.
func (e *ending) cut(n int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return fmt.Errorf("%d requests were still running after %s: %w", n, strings.TrimSpace(fmt.Sprintf("%s (%v)", e.drain.Setting, e.drain.Requests)), ErrCut)
}
