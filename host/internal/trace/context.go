package trace

import (
	"context"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// The headers of W3C Trace Context, https://www.w3.org/TR/trace-context/, as net/http spells them.
const (
	traceparent = "Traceparent"
	tracestate  = "Tracestate"
)

// maxTracestate is how much of a tracestate is taken up, in bytes; what is to be passed on at least, by 3.3.1.5.
const maxTracestate = 512

// joined is a context in the trace of a request's headers, if they hold a valid one.
func joined(ctx context.Context, h http.Header) context.Context {
	parents := h[traceparent]
	if len(parents) != 1 { // several are none
		return ctx
	}
	carrier := propagation.MapCarrier{"traceparent": parents[0]}
	if state := shortened(strings.Join(h[tracestate], ",")); state != "" {
		carrier["tracestate"] = state
	}
	return propagation.TraceContext{}.Extract(ctx, carrier)
}

// shortened leaves out members from the right, as 3.3.1.5 has it, until a tracestate is short enough.
func shortened(state string) string {
	for len(state) > maxTracestate {
		comma := strings.LastIndexByte(state[:maxTracestate+1], ',')
		if comma < 0 {
			return ""
		}
		state = state[:comma]
	}
	return state
}

// Context is what stands in the headers of a trace; the zero value is none.
type Context struct{ Parent, State string }

// Of is the trace that ctx is in, for a guest to see; none while it is not recorded.
func Of(ctx context.Context) Context {
	if !oteltrace.SpanContextFromContext(ctx).IsSampled() {
		return Context{}
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return Context{Parent: carrier["traceparent"], State: carrier["tracestate"]}
}
