package trace

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"

	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/patchbay-run/patchbay/host/internal/telemetry"
)

// The headers of W3C Trace Context, https://www.w3.org/TR/trace-context/, as net/http spells them.
const (
	traceparent = "Traceparent"
	tracestate  = "Tracestate"
)

// maxTracestate is how much of a tracestate is taken up, in bytes; what is to be passed on at least, by 3.3.1.5.
const maxTracestate = 512

type (
	traceID [16]byte
	spanID  [8]byte
)

// The flags of a traceparent.
const (
	sampled byte = 1
	random  byte = 2 // the trace's id is
)

// trace is one that a request is part of, or that a call of nobody's request began. It does not change.
type trace struct {
	tracer *Tracer
	id     traceID
	flags  byte
	joined bool   // another server began it
	first  spanID // of our first span, recorded or not
	root   *Span  // that span; nil is not recorded

	lines []string // of its tracestate
	once  sync.Once
	state string // what is left of them
}

// newTrace begins a trace, and decides whether it is recorded as OpenTelemetry's TraceIDRatioBased does.
func (t *Tracer) newTrace() *trace {
	tr := &trace{tracer: t, first: newSpanID()}
	for tr.id == (traceID{}) {
		binary.BigEndian.PutUint64(tr.id[:8], rand.Uint64())
		binary.BigEndian.PutUint64(tr.id[8:], rand.Uint64())
	}
	if binary.BigEndian.Uint64(tr.id[8:])>>1 < t.bound {
		tr.flags = sampled
	}
	return tr
}

// newSpanID is unique and no secret: the runtime's generator will do.
func newSpanID() (id spanID) {
	for id == (spanID{}) {
		binary.BigEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}

// joinTrace is the trace of a request's headers and the span above; nil when they hold no valid one.
func (t *Tracer) joinTrace(h http.Header) (*trace, spanID) {
	parents := h[traceparent]
	if len(parents) != 1 { // several are none
		return nil, spanID{}
	}
	id, above, flags, ok := parseParent(parents[0])
	if !ok {
		return nil, spanID{}
	}
	return &trace{tracer: t, id: id, flags: flags, joined: true, first: newSpanID(), lines: bounded(h[tracestate])}, above
}

// bounded are the lines of a tracestate, and no more than is taken up of them: a client's headers may be long, and a trace is kept until its
// spans are sent.
func bounded(lines []string) []string {
	length := len(lines) - 1
	for _, line := range lines {
		length += len(line)
	}
	if length <= maxTracestate {
		return lines
	}
	return []string{strings.Clone(shortened(strings.Join(lines, ",")))}
}

// parseParent reads a traceparent, by 3.2 of the specification. One of a later version may have more behind it.
func parseParent(s string) (id traceID, span spanID, flags byte, ok bool) {
	const length = len("00-00000000000000000000000000000000-0000000000000000-00")
	if len(s) < length || s[2] != '-' || s[35] != '-' || s[52] != '-' || len(s) > length && s[length] != '-' {
		return id, span, 0, false
	}
	var version, last [1]byte
	if !unhex(version[:], s[:2]) || !unhex(id[:], s[3:35]) || !unhex(span[:], s[36:52]) || !unhex(last[:], s[53:55]) {
		return id, span, 0, false
	}
	if version[0] == 0xff || version[0] == 0 && (len(s) > length || last[0] > sampled|random) {
		return id, span, 0, false
	}
	return id, span, last[0] & (sampled | random), id != traceID{} && span != spanID{}
}

// unhex reads as many bytes as there are in out. Capitals are none of the specification's digits.
func unhex(out []byte, s string) bool {
	for i := range out {
		hi, lo := digit(s[2*i]), digit(s[2*i+1])
		if hi|lo > 15 {
			return false
		}
		out[i] = hi<<4 | lo
	}
	return true
}

// digit is the value of a hexadecimal one, and more than 15 of anything else.
func digit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}

// parent is the traceparent of what stands below a span.
func (t *trace) parent(of spanID) string {
	const digits = "0123456789abcdef"
	b := make([]byte, 0, 55)
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, t.id[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, of[:])
	b = append(b, '-', '0', digits[t.flags&15])
	return string(b)
}

// tracestate is that of the trace; "" is none. It is looked at when somebody is told of it.
func (t *trace) tracestate() string {
	if len(t.lines) == 0 {
		return ""
	}
	t.once.Do(func() {
		if state, err := oteltrace.ParseTraceState(strings.Join(t.lines, ",")); err == nil {
			t.state = state.String()
		}
	})
	return t.state
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

// TraceID implements telemetry.Trace.
func (t *trace) TraceID() string {
	if t.root == nil {
		return ""
	}
	return hex.EncodeToString(t.id[:])
}

type spanKey struct{}

// current is the trace that ctx is in and the span, both nil when there is none. The tracker's record holds the trace and its first span, so
// that a request needs no context of its own for them.
func current(ctx context.Context) (*trace, *Span) {
	if ctx == nil {
		return nil, nil
	}
	t, _ := telemetry.TraceOf(ctx).(*trace)
	if t == nil || t.root == nil {
		return t, nil
	}
	if s, ok := ctx.Value(spanKey{}).(*Span); ok {
		return t, s
	}
	return t, t.root
}

// Context is what stands in the headers of a trace; the zero value is none.
type Context struct{ Parent, State string }

// Of is the trace that ctx is in, for a guest to see; none while it is not recorded.
func Of(ctx context.Context) Context {
	t, s := current(ctx)
	if s == nil {
		return Context{}
	}
	return Context{Parent: t.parent(s.id), State: t.tracestate()}
}
