package trace

import (
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/propagation"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// FuzzJoin holds what is read of a request's headers, and written to those of a call, to OpenTelemetry's own propagator.
func FuzzJoin(f *testing.F) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, s := range []string{
		parent, parent[:53] + "00", parent[:53] + "03", parent[:53] + "04", parent[:54], parent + "-", parent + "-00", "01" + parent[2:], "01" + parent[2:] + "-more", "01" + parent[2:] + "x", "01" + parent[2:53] + "ff", parent[:34] + "g" + parent[35:], parent[:54] + "g", "fe" + parent[2:], "ff" + parent[2:], "0g" + parent[2:],
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", "", "-", "00-\xff",
	} {
		f.Add(s, "vendor=1")
	}
	for _, s := range []string{"", "a=1,b=2", "a=1,,b=2", "a=1,a=2", "=", "a", "A=1", "a=1 , b=2", "\x00"} {
		f.Add(parent, s)
	}
	f.Fuzz(func(t *testing.T, parent, state string) {
		if len(state) > maxTracestate || strings.HasPrefix(parent, "00-") && len(parent) == 56 {
			return // we take up less; it overlooks a dash behind what has to be the end
		}
		carrier := propagation.MapCarrier{"traceparent": parent, "tracestate": state}
		theirs := oteltrace.SpanContextFromContext(propagation.TraceContext{}.Extract(t.Context(), carrier))
		tr := &Tracer{propagate: "all"}
		ours, above := tr.joinTrace(http.Header{traceparent: {parent}, tracestate: {state}})
		if (ours != nil) != theirs.IsValid() {
			t.Fatalf("%q is valid: %v, want %v", parent, ours != nil, theirs.IsValid())
		}
		if ours == nil {
			return
		}
		if ours.id != traceID(theirs.TraceID()) || above != spanID(theirs.SpanID()) || ours.flags != byte(theirs.TraceFlags()) || ours.tracestate() != theirs.TraceState().String() {
			t.Errorf("%q %q is %+v below %x, want %+v", parent, state, ours, above, theirs)
		}
		h := http.Header{}
		Call{ours, nil}.Propagate(h, true)
		below := theirs.WithSpanID(oteltrace.SpanID(ours.first))
		want := propagation.HeaderCarrier{}
		propagation.TraceContext{}.Inject(oteltrace.ContextWithSpanContext(t.Context(), below), want)
		if h.Get(traceparent) != want.Get(traceparent) || h.Get(tracestate) != want.Get(tracestate) {
			t.Errorf("%v is written, want %v", h, want)
		}
	})
}

// TestShare: a trace that begins here is recorded by its id, as OpenTelemetry's TraceIDRatioBased has it, so that others who sample by the same
// share decide alike.
func TestShare(t *testing.T) {
	tracer := &Tracer{bound: 1 << 61} // a quarter
	recorded := 0
	for range 2000 {
		tr := tracer.newTrace()
		if got := tr.flags&sampled != 0; got != (tr.id[8] < 0x40) {
			t.Fatalf("%x is recorded: %v", tr.id, got)
		}
		recorded += int(tr.flags & sampled)
	}
	if recorded == 0 || recorded == 2000 {
		t.Errorf("%d are recorded", recorded)
	}
}
