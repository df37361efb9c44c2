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
		span.Fail(classify(err, "", "").kind, "")
	}
	span.End()
}
