package trace

import (
	"context"
	"math"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
)

// Span is a piece of work that is being recorded. A nil one records nothing. It is never used again: whoever was handed its context may hold
// it for as long as they like.
type Span struct {
	trace      *trace
	id, parent spanID // no parent is a root
	kind       kind
	start      time.Time

	mu     sync.Mutex // guards what follows. Once ended is set nothing changes, and the outlet reads without it
	ended  bool
	failed bool
	name   string
	text   string // why it failed, for people
	took   time.Duration
	values []value
	list   []string // of the value that is one
	failures
}

// kind is what a span is to its trace, in the numbers of OTLP.
type kind byte

const (
	internalKind kind = 1
	serverKind   kind = 2
	clientKind   kind = 3
)

// value is an attribute. What it holds depends on its form, so that no value needs a place of its own on the heap.
type value struct {
	key    attribute.Key
	form   form
	text   string
	number uint64
}

type form byte

const (
	textForm form = iota
	intForm
	floatForm // number holds its bits
	boolForm  // number is 1 for true
	listForm  // the span's list
)

// maxFailures is how many failed attempts a span tells, the last ones.
const maxFailures = 16

// failures are the attempts of a call that failed.
type failures struct {
	told []failure
	left uint64 // how many more there were
}

type failure struct {
	after          time.Duration // since the span began
	resend         int
	endpoint, kind string
}

// begin starts a span of the trace below parent, with room for n attributes.
func (t *trace) begin(id, parent spanID, k kind, name string, n int) *Span {
	return &Span{trace: t, id: id, parent: parent, kind: k, name: name, start: time.Now(), values: make([]value, 0, n)}
}

// below starts a span below s.
func (s *Span) below(k kind, name string, n int) *Span {
	return s.trace.begin(newSpanID(), s.id, k, name, n)
}

// Recording says whether the span takes anything: it is there and has not ended.
func (s *Span) Recording() bool {
	if !s.open() {
		return false
	}
	s.mu.Unlock()
	return true
}

// open locks the span for a change. It says no, and locks nothing, when there is nothing to change.
func (s *Span) open() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return false
	}
	return true
}

// put sets an attribute, in the place of one that has its key. The span is open, as in what follows.
func (s *Span) put(v value) {
	for i := range s.values {
		if s.values[i].key == v.key {
			s.values[i] = v
			return
		}
	}
	s.values = append(s.values, v)
}

func (s *Span) putText(key attribute.Key, text string) {
	s.put(value{key: key, text: text})
}

func (s *Span) putInt(key attribute.Key, n int64) {
	s.put(value{key: key, form: intForm, number: uint64(n)})
}

func (s *Span) putFloat(key attribute.Key, f float64) {
	s.put(value{key: key, form: floatForm, number: math.Float64bits(f)})
}

func (s *Span) putTrue(key attribute.Key) {
	s.put(value{key: key, form: boolForm, number: 1})
}

func (s *Span) putList(key attribute.Key, list []string) {
	s.list = list
	s.put(value{key: key, form: listForm})
}

// own is what a span keeps of a text that comes from elsewhere: as much as it tells, and nothing of what the text is a part of, such as the
// line of a request. Spans wait in thousands.
func own(text string) string { return strings.Clone(text[:min(len(text), maxText)]) }

func (s *Span) fail(kind, text string) {
	s.failed, s.text = true, own(text)
	s.putText(semconv.ErrorTypeKey, kind)
}

// Plugin begins the span of a plugin that answers the request of ctx. What the plugin asks for in the returned context stands below it.
func Plugin(ctx context.Context, name, version, isolation string) (context.Context, *Span) {
	_, above := current(ctx)
	if !above.Recording() {
		return ctx, nil
	}
	s := above.below(internalKind, "plugin "+name, 4) // and why it failed
	s.putText("patchbay.plugin.name", name)
	s.putText("patchbay.plugin.version", version)
	s.putText("patchbay.plugin.isolation", isolation)
	return context.WithValue(ctx, spanKey{}, s), s
}

// Cache begins the span of one operation on a plugin's cache, such as get. Its key may be what a user asked, and stays out.
func Cache(ctx context.Context, operation string) *Span {
	_, above := current(ctx)
	if !above.Recording() {
		return nil
	}
	s := above.below(internalKind, "cache "+operation, 3)
	s.putText("patchbay.cache.operation", operation)
	return s
}

// Publish begins the span of a plugin's publishing to a topic that it was granted.
func Publish(ctx context.Context, topic string) *Span {
	_, above := current(ctx)
	if !above.Recording() {
		return nil
	}
	s := above.below(internalKind, "publish "+topic, 2)
	s.putText("patchbay.topic", topic)
	return s
}

// Result says what came of it, such as hit.
func (s *Span) Result(result string) {
	if s.open() {
		defer s.mu.Unlock()
		s.putText("patchbay.cache.result", result)
	}
}

// Fail says that it failed: kind is one word out of few, text is for people and may be "". Neither holds what a client sent.
func (s *Span) Fail(kind, text string) {
	if s.open() {
		defer s.mu.Unlock()
		s.fail(kind, text)
	}
}

// End ends it, once, and hands it on. It never waits.
func (s *Span) End() {
	if s.open() {
		s.took, s.ended = time.Since(s.start), true
		s.mu.Unlock()
		s.trace.tracer.outlet.add(s)
	}
}
