package plugin

import (
	"context"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// scope is what operations belong to: a request, or the plugin itself. It is also its context.
// A context of our own costs nothing for a request that never asks for Done, and lets Fetch wait on one thing only.
type scope struct {
	rt      *runtime
	request uint64 // 0: the plugin itself

	// Guarded by rt.mu.
	err    error         // why it has ended; nil while it lives
	done   chan struct{} // made when first asked for
	ops    *operation    // the unfinished ones
	afters *after
}

// after is one function that waits for the end of a scope.
type after struct {
	f    func()
	next *after
}

// scopeKey is the key under which a context gives its scope.
type scopeKey struct{}

// scopeOf is the scope that ctx descends from, or nil.
func scopeOf(ctx context.Context) *scope {
	if s, ok := ctx.(*scope); ok {
		return s
	}
	s, _ := ctx.Value(scopeKey{}).(*scope)
	return s
}

// Deadline says that there is none: the host keeps the time and cancels.
func (s *scope) Deadline() (time.Time, bool) { return time.Time{}, false }

func (s *scope) Value(key any) any {
	if _, ok := key.(scopeKey); ok {
		return s
	}
	return nil
}

func (s *scope) Err() error {
	s.rt.mu.Lock()
	defer s.rt.mu.Unlock()
	return s.err
}

func (s *scope) Done() <-chan struct{} {
	s.rt.mu.Lock()
	defer s.rt.mu.Unlock()
	if s.done == nil {
		s.done = make(chan struct{})
		if s.err != nil {
			close(s.done)
		}
	}
	return s.done
}

// AfterFunc is what package context asks a foreign parent for; without it every derived context would cost a goroutine.
func (s *scope) AfterFunc(f func()) (stop func() bool) {
	s.rt.mu.Lock()
	defer s.rt.mu.Unlock()
	if s.err != nil {
		go f()
		return func() bool { return false }
	}
	a := &after{f, s.afters}
	s.afters = a
	return func() bool {
		s.rt.mu.Lock()
		defer s.rt.mu.Unlock()
		for at := &s.afters; *at != nil; at = &(*at).next {
			if *at == a {
				*at = a.next
				return true
			}
		}
		return false
	}
}

// refused is the error for an operation that the host did not take.
func (s *scope) refused(what string, code abi.Code) error {
	if code == abi.NotFound && s.request != 0 { // the request has ended, and the event that says so is on its way
		return scopeError(context.Canceled)
	}
	return &FetchError{Code: code, Text: what + ": " + code.String()}
}

// end ends the scope and what belongs to it. The host has cancelled its operations, or is about to. Called with rt.mu held.
func (s *scope) end(err error) {
	if s.err != nil {
		return
	}
	s.err = err
	if s.done != nil {
		close(s.done)
	}
	for op := s.ops; op != nil; op = s.ops {
		op.fail(scopeError(err))
	}
	for a := s.afters; a != nil; a = a.next {
		go a.f()
	}
	s.afters = nil
}
