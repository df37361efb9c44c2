package wasm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// Errors of Serve. Before the head was sent they are to be answered; after it, the connection is to be broken off:
// Serve joins ErrAborted then.
var (
	ErrFull    = errors.New("the plugin has as many requests in flight as it may")
	ErrStopped = errStopped
	// ErrDraining says that the pool takes no new requests.
	ErrDraining = errors.New("the plugin takes no new requests")
	ErrTimeout  = errors.New("the plugin did not answer in time")
	ErrGone     = errors.New("the client is gone")
	ErrAborted  = errors.New("the answer was broken off")
	// ErrWithdrawn says that Request.Valid has ended, whose cause it is joined with.
	ErrWithdrawn = errors.New("whoever asked may not any more")
	// ErrNoWorker says that no worker could be started in time.
	ErrNoWorker = errors.New("the plugin has no worker that runs")
)

var (
	errStopped      = errors.New("the plugin was stopped")
	errGuestAborted = errors.New("the plugin aborted the request")
	errNotTaken     = errors.New("it returned from patchbay_poll and had taken none of the events that waited for it")
	errFlooded      = fmt.Errorf("its mailbox holds over %d events, and it does not keep up with them", maxWaiting)
	errUndelivered  = errors.New("the worker died before it took the request")
)

// StartError is the guest's own reason why it cannot start.
type StartError struct{ Reason string }

// Error gives the reason.
func (e *StartError) Error() string { return "the plugin cannot start: " + e.Reason }

// TrapError says that a worker died while it held the request.
type TrapError struct{ Cause error }

// Error names the trap with the guest's stack, which is for the log and not for a client.
func (e *TrapError) Error() string { return "the plugin trapped: " + e.Cause.Error() }

// Unwrap gives the trap.
func (e *TrapError) Unwrap() error { return e.Cause }

// Reason is the first line of the trap, without the guest's stack.
func (e *TrapError) Reason() string {
	line, _, _ := strings.Cut(e.Cause.Error(), "\n")
	return strings.TrimSuffix(line, " (recovered by wazero)")
}

// AnswerError says that an answer was over the plugin's limit.
type AnswerError struct{ Limit int64 }

// Error names the limit.
func (e *AnswerError) Error() string {
	return fmt.Sprintf("the answer is over limits.answer (%d bytes); a route that declares streams is not bound by it", e.Limit)
}

// HeadersError says that an answer's headers were over the plugin's limit.
type HeadersError struct{ Limit int }

// Error names the limit.
func (e *HeadersError) Error() string {
	return fmt.Sprintf("the answer's headers are over limits.headers (%d bytes)", e.Limit)
}

// PipeError says that a piped stream failed after its first byte.
type PipeError struct{ Cause error }

// Error says why.
func (e *PipeError) Error() string { return "the stream broke off: " + e.Cause.Error() }

// Unwrap gives the cause.
func (e *PipeError) Unwrap() error { return e.Cause }

// asCode turns what a capability or a body returned into what the guest is told.
func asCode(ctx context.Context, err error) *abi.Error {
	var coded *abi.Error
	switch {
	case errors.As(err, &coded):
		return coded
	case errors.Is(context.Cause(ctx), ErrTimeout):
		return &abi.Error{Code: abi.Timeout, Text: context.Cause(ctx).Error()}
	case errors.Is(err, context.DeadlineExceeded):
		return &abi.Error{Code: abi.Timeout, Text: err.Error()}
	case errors.Is(err, context.Canceled):
		return &abi.Error{Code: abi.Cancelled, Text: err.Error()}
	}
	return &abi.Error{Code: abi.Reset, Text: err.Error()}
}
