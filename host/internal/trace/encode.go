package trace

import (
	"maps"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"google.golang.org/protobuf/encoding/protowire"
)

// The numbers of fields are those of
// https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto and of common.proto beside it.

// maxText bounds each text of a span, in bytes.
const maxText = 1024

// hasRemote of a span's flags says that isRemote, which says that its parent is of another process, is known.
const (
	hasRemote = 0x100
	isRemote  = 0x200
)

// encoder writes the content of ResourceSpans: what all spans have in common, and the spans.
type encoder struct {
	head []byte // Resource, and whose schema it follows
}

func newEncoder(about map[attribute.Key]string) encoder {
	b, resource := open(nil, 1)
	for _, key := range slices.Sorted(maps.Keys(about)) {
		b = appendValue(b, 1, value{key: key, text: about[key]}, nil)
	}
	b = shut(b, resource)
	return encoder{head: appendText(b, 3, semconv.SchemaURL)}
}

// batch writes some spans, in the order in which they ended.
func (e encoder) batch(b []byte, spans []*Span) []byte {
	b = append(b, e.head...)
	b, all := open(b, 2) // ScopeSpans
	b, by := open(b, 1)
	b = appendText(b, 1, scope)
	b = shut(b, by)
	for _, s := range spans {
		b = appendSpan(b, 2, s)
	}
	return shut(b, all)
}

func appendSpan(b []byte, field protowire.Number, s *Span) []byte {
	b, span := open(b, field)
	t := s.trace
	flags := uint32(t.flags) | hasRemote
	if t.joined && s == t.root {
		flags |= isRemote
	}
	start := s.start.UnixNano()
	b = appendBytes(b, 1, t.id[:])
	b = appendBytes(b, 2, s.id[:])
	if state := t.tracestate(); state != "" {
		b = appendText(b, 3, state)
	}
	if s.parent != (spanID{}) {
		b = appendBytes(b, 4, s.parent[:])
	}
	b = appendText(b, 5, s.name)
	b = appendNumber(b, 6, uint64(s.kind))
	b = appendFixed(b, 7, uint64(start))
	b = appendFixed(b, 8, uint64(start+int64(s.took)))
	for _, v := range s.values {
		b = appendValue(b, 9, v, s.list)
	}
	for _, f := range s.told {
		b = f.append(b, 11, start)
	}
	if s.left > 0 {
		b = appendNumber(b, 12, s.left)
	}
	if s.failed {
		var status int
		b, status = open(b, 15)
		if s.text != "" {
			b = appendText(b, 2, s.text)
		}
		b = appendNumber(b, 3, 2) // STATUS_CODE_ERROR
		b = shut(b, status)
	}
	b = protowire.AppendTag(b, 16, protowire.Fixed32Type)
	b = protowire.AppendFixed32(b, flags)
	return shut(b, span)
}

func (f failure) append(b []byte, field protowire.Number, start int64) []byte {
	b, event := open(b, field)
	b = appendFixed(b, 1, uint64(start+int64(f.after)))
	b = appendText(b, 2, "attempt failed")
	b = appendValue(b, 3, value{key: semconv.HTTPRequestResendCountKey, form: intForm, number: uint64(f.resend)}, nil)
	b = appendValue(b, 3, value{key: semconv.ServerAddressKey, text: f.endpoint}, nil)
	b = appendValue(b, 3, value{key: semconv.ErrorTypeKey, text: f.kind}, nil)
	return shut(b, event)
}

// appendValue writes a KeyValue.
func appendValue(b []byte, field protowire.Number, v value, list []string) []byte {
	b, pair := open(b, field)
	b = appendText(b, 1, string(v.key))
	b, held := open(b, 2)
	switch v.form {
	case textForm:
		b = appendText(b, 1, v.text)
	case boolForm:
		b = appendNumber(b, 2, v.number)
	case intForm:
		b = appendNumber(b, 3, v.number)
	case floatForm:
		b = appendFixed(b, 4, v.number)
	case listForm:
		var values, one int
		b, values = open(b, 5)
		for _, text := range list {
			b, one = open(b, 1)
			b = appendText(b, 1, text)
			b = shut(b, one)
		}
		b = shut(b, values)
	}
	return shut(shut(b, held), pair)
}

// open begins a message within a message. What is returned with it goes to shut.
func open(b []byte, field protowire.Number) (longer []byte, at int) {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return append(b, 0), len(b)
}

// shut ends a message: its length goes in front of it, and moves it by a byte or two when it is long.
func shut(b []byte, at int) []byte {
	n := len(b) - at - 1
	more := protowire.SizeVarint(uint64(n)) - 1
	if more > 0 {
		b = append(b, make([]byte, more)...)
		copy(b[at+1+more:], b[at+1:at+1+n])
	}
	protowire.AppendVarint(b[:at], uint64(n))
	return b
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

// appendText writes as much of a text as a span may hold, which has to be UTF-8: one that is not would cost the whole batch.
func appendText(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), strings.ToValidUTF8(s[:min(len(s), maxText)], ""))
}

func appendNumber(b []byte, field protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), n)
}

func appendFixed(b []byte, field protowire.Number, n uint64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), n)
}
