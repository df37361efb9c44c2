package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// What can go wrong with a call. Each error that Pool.Do or a body's Read returns matches exactly
// one of these, or context.Canceled or context.DeadlineExceeded when the caller's context ended, or
// none when the request itself could not be sent (a bad URL, a body that failed).
var (
	ErrPoolTimeout     = errors.New("no connection became free in time")
	ErrConnect         = errors.New("connect failed")
	ErrConnectTimeout  = errors.New("no connection in time")
	ErrResponseTimeout = errors.New("no response headers in time")
	ErrChunkTimeout    = errors.New("no data in time")
	ErrReset           = errors.New("the connection died")
	ErrProtocol        = errors.New("the answer is not acceptable HTTP")
	ErrBlocked         = errors.New("the address is refused")
	ErrUnavailable     = errors.New("the upstream is not asked now")
)

var errNoURL = errors.New("call: the request has no URL or no header map: make it with http.NewRequest")

// Error is a call that reached for an upstream and failed there.
type Error struct {
	Kind error  // one of this package's Err values
	Pool string // the pool's name
	Addr string // host:port that was called
	Hint string // what happened in figures, and which setting changes it; may be empty
	Err  error  // the cause; may be nil
}

func (e *Error) Error() string {
	s := fmt.Sprintf("call %s (pool %s): %v", e.Addr, e.Pool, e.Kind)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives errors.Is both the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// Timeout tells a net.Error's user that waiting longer might have helped.
func (e *Error) Timeout() bool {
	return e.Kind == ErrConnectTimeout || e.Kind == ErrResponseTimeout || e.Kind == ErrChunkTimeout
}

// PoolTimeout is an ErrPoolTimeout with its figures: the call's deadline passed while it waited in
// the queue, and nothing was sent.
type PoolTimeout struct {
	Pool     string
	MaxConns int           // the cap
	InUse    int           // connections in use or dialling when the deadline passed
	Waited   time.Duration // from joining the queue
	Setting  string        // the path of the setting to raise
}

func (e *PoolTimeout) Error() string {
	return fmt.Sprintf("pool %s: %v: waited %v while %d of %d connections were in use; raise %s, or the caller's deadline",
		e.Pool, ErrPoolTimeout, e.Waited.Round(time.Millisecond), e.InUse, e.MaxConns, e.Setting)
}

// Is makes a PoolTimeout an ErrPoolTimeout.
func (e *PoolTimeout) Is(target error) bool { return target == ErrPoolTimeout }

// Timeout is always true.
func (e *PoolTimeout) Timeout() bool { return true }

// PoolFull is an ErrUnavailable: as many calls as may wait for the pool wait already.
type PoolFull struct {
	Pool       string
	MaxWaiting int
	Setting    string // the path of the setting to raise
}

func (e *PoolFull) Error() string {
	return fmt.Sprintf("pool %s: %v: %d calls wait for a connection already, the most that %s allows", e.Pool, ErrUnavailable, e.MaxWaiting, e.Setting)
}

// Is makes a PoolFull an ErrUnavailable.
func (e *PoolFull) Is(target error) bool { return target == ErrUnavailable }

// RetryAfter is when trying again may help.
func (e *PoolFull) RetryAfter() time.Duration { return time.Second }

// Open is an ErrUnavailable: the upstream's circuit breaker is open.
type Open struct {
	Upstream string
	Retry    time.Duration // until a call may be let through
}

func (e *Open) Error() string {
	return fmt.Sprintf("upstream %s: %v: too many calls failed of late, and upstreams.%s.breaker is open for another %v",
		e.Upstream, ErrUnavailable, e.Upstream, e.Retry.Round(time.Millisecond))
}

// Is makes an Open an ErrUnavailable.
func (e *Open) Is(target error) bool { return target == ErrUnavailable }

// RetryAfter is when trying again may help.
func (e *Open) RetryAfter() time.Duration { return e.Retry }

// contextError says that the caller's own context ended the call, and keeps the caller's cause.
func contextError(ctx context.Context, addr string) error {
	err := ctx.Err()
	if err == nil { // the dialer can notice a deadline just before the context does
		err = context.DeadlineExceeded
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, err) {
		return fmt.Errorf("call %s: %w: %w", addr, err, cause)
	}
	return fmt.Errorf("call %s: %w", addr, err)
}
