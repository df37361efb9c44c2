package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// Error is an answer as an error: a handler that returns one answers {"detail": Detail} with Status.
type Error struct {
	Status     int           // 200 to 599; anything else is 500
	Detail     string        // what the client reads
	RetryAfter time.Duration // sent as Retry-After in whole seconds, rounded up, when over 0
	Err        error         // the cause: logged, never sent
}

// Errorf is an Error with a formatted Detail. An operand of %w becomes its cause, too: so use %w only for what the client may read.
func Errorf(status int, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Status: status, Detail: err.Error(), Err: errors.Unwrap(err)}
}

// Error is the detail with its cause, for a log.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Detail
	}
	return e.Detail + ": " + e.Err.Error()
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// FetchError is why a call, or the reading or writing of a body, failed. Text says what to do; it is for logs, not for clients.
type FetchError struct {
	Code       abi.Code
	Text       string
	RetryAfter time.Duration // when trying again may help; 0 is not known

	cause error // of a context, or of the reader of a stream
}

// Error is the text, or the code in words.
func (e *FetchError) Error() string {
	if e.Text == "" {
		return e.Code.String()
	}
	return e.Text
}

// Is reports whether target is the sentinel of the same code, such as ErrDenied.
func (e *FetchError) Is(target error) bool {
	t, ok := target.(*FetchError)
	return ok && t.Text == "" && t.cause == nil && t.Code == e.Code
}

// Unwrap is context.Canceled or context.DeadlineExceeded when a context ended the call, else mostly nil.
func (e *FetchError) Unwrap() error { return e.cause }

// Sentinels for errors.Is.
var (
	ErrUnavailable error = &FetchError{Code: abi.Unavailable} // the upstream is not asked now, see RetryAfter
	ErrDenied      error = &FetchError{Code: abi.Denied}      // no grant allows it; the error's text shows the missing one
	ErrTimeout     error = &FetchError{Code: abi.Timeout}     // out of time
	ErrPool        error = &FetchError{Code: abi.Pool}        // no connection became free in time
	ErrConnect     error = &FetchError{Code: abi.Connect}     // no connection could be made
	ErrReset       error = &FetchError{Code: abi.Reset}       // the other side broke off
	ErrTooLarge    error = &FetchError{Code: abi.TooLarge}    // more bytes than allowed
	ErrCancelled   error = &FetchError{Code: abi.Cancelled}   // the request, or the context of the call, has ended
	ErrBlocked     error = &FetchError{Code: abi.Blocked}     // the address is refused
	ErrLimit       error = &FetchError{Code: abi.Limit}       // over a limit of the plugin
)

var errClosed error = &FetchError{Code: abi.Cancelled, Text: "the reply is closed"}

// ErrReply says that a reply is not the JSON that was expected.
var ErrReply = errors.New("unexpected reply")

type replyError struct{ err error }

func (e *replyError) Error() string        { return "unexpected reply: " + e.err.Error() }
func (e *replyError) Is(target error) bool { return target == ErrReply }
func (e *replyError) Unwrap() error        { return e.err }

// scopeError is the error of what a context's end with err broke off.
func scopeError(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return &FetchError{Code: abi.Timeout, Text: "out of time", cause: err}
	}
	return &FetchError{Code: abi.Cancelled, Text: "cancelled", cause: err}
}

const internalError = "Internal Server Error"

// AsError is err as the answer to a client: an *Error within it as it is, else a status and a detail that tell nothing of the inside,
// with err as the cause. It is what happens to the error that a handler returns.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		if e.Status >= 200 && e.Status <= 599 {
			return e
		}
		return &Error{Status: 500, Detail: internalError, Err: err}
	}
	var pipe *PipeError
	var fetch *FetchError
	code := abi.OK
	switch {
	case errors.As(err, &pipe):
		code = pipe.Code
	case errors.As(err, &fetch):
		code = fetch.Code
	case errors.Is(err, ErrReply):
		return &Error{Status: 502, Detail: "The upstream sent an answer that was not understood.", Err: err}
	case errors.Is(err, context.DeadlineExceeded):
		code = abi.Timeout
	case errors.Is(err, context.Canceled):
		code = abi.Cancelled
	}
	status, detail := 500, internalError
	switch code {
	case abi.Denied, abi.Blocked:
		detail = "The server is not set up to make this call."
	case abi.Timeout:
		status, detail = 504, "The upstream did not answer in time."
	case abi.Pool:
		status, detail = 504, "No connection to the upstream became free in time."
	case abi.Connect:
		status, detail = 502, "The upstream could not be reached."
	case abi.Reset:
		status, detail = 502, "The upstream broke off its answer."
	case abi.TooLarge:
		status, detail = 502, "The upstream's answer is too large."
	case abi.Limit:
		status, detail = 503, "The server is at its limit."
	case abi.Cancelled:
		status, detail = 503, "The request was cancelled."
	case abi.Unavailable:
		status, detail = 503, "The upstream is not available at the moment."
	}
	answer := &Error{Status: status, Detail: detail, Err: err}
	if fetch != nil {
		answer.RetryAfter = fetch.RetryAfter
	}
	return answer
}
