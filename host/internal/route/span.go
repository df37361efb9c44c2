package route

import (
	"errors"

	"github.com/patchbay-run/patchbay/host/internal/trace"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// endSpan ends the span of a plugin with why it gave no answer, if it gave none. The words are few, since an error's own text may be what a
// guest made of somebody's prompt. A plugin that was replaced has read nothing: another one answers, and this span is never sent.
func endSpan(span *trace.Span, err error) {
	if span == nil || errors.Is(err, wasm.ErrDraining) {
		return
	}
	if err != nil && !errors.Is(err, wasm.ErrGone) {
		span.Fail(fault(err), "")
	}
	span.End()
}

// fault is a failure of a plugin in a word.
func fault(err error) string {
	var trap *wasm.TrapError
	var open *wasm.OpenError
	var memory *wasm.MemoryError
	var cpu *wasm.CPUError
	var stack *wasm.StackError
	var big *wasm.LimitError
	var answer *wasm.AnswerError
	var headers *wasm.HeadersError
	switch {
	case errors.As(err, &memory):
		return "memory"
	case errors.As(err, &cpu):
		return "cpu"
	case errors.As(err, &stack):
		return "stack"
	case errors.As(err, &trap):
		return "trap"
	case errors.As(err, &answer), errors.As(err, &headers):
		return "answer too large"
	case errors.As(err, &big), errors.Is(err, errHeadTooLarge), errors.Is(err, errBadBody), errors.Is(err, errLeft):
		return "request"
	case errors.Is(err, wasm.ErrTimeout):
		return "timeout"
	case errors.Is(err, wasm.ErrFull):
		return "full"
	case errors.As(err, &open), errors.Is(err, wasm.ErrNoWorker), errors.Is(err, wasm.ErrStopped):
		return "unavailable"
	case errors.Is(err, wasm.ErrAborted):
		return "aborted"
	}
	return "no answer"
}
