package trace

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// Span is a piece of work that is being recorded. A nil one records nothing.
type Span struct{ span oteltrace.Span }

// begin starts a span below the one that ctx is in; nil when that is not recorded.
func begin(ctx context.Context, name string, attributes ...attribute.KeyValue) (context.Context, *Span) {
	parent := oteltrace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, nil
	}
	ctx, span := parent.TracerProvider().Tracer(scope).Start(ctx, name, oteltrace.WithAttributes(attributes...))
	return ctx, &Span{span}
}

// Plugin begins the span of a plugin that answers the request of ctx. What the plugin asks for in the returned context stands below it.
func Plugin(ctx context.Context, name, version, isolation string) (context.Context, *Span) {
	if !oteltrace.SpanFromContext(ctx).IsRecording() { // before the attributes are made
		return ctx, nil
	}
	return begin(ctx, "plugin "+name,
		attribute.String("patchbay.plugin.name", name), attribute.String("patchbay.plugin.version", version), attribute.String("patchbay.plugin.isolation", isolation))
}

// Cache begins the span of one operation on a plugin's cache, such as get. Its key may be what a user asked, and stays out.
func Cache(ctx context.Context, operation string) *Span {
	if ctx == nil || !oteltrace.SpanFromContext(ctx).IsRecording() {
		return nil
	}
	_, s := begin(ctx, "cache "+operation, attribute.String("patchbay.cache.operation", operation))
	return s
}

// Publish begins the span of a plugin's publishing to a topic that it was granted.
func Publish(ctx context.Context, topic string) *Span {
	if ctx == nil || !oteltrace.SpanFromContext(ctx).IsRecording() {
		return nil
	}
	_, s := begin(ctx, "publish "+topic, attribute.String("patchbay.topic", topic))
	return s
}

// Result says what came of it, such as hit.
func (s *Span) Result(result string) {
	if s != nil {
		s.span.SetAttributes(attribute.String("patchbay.cache.result", result))
	}
}

// Fail says that it failed: kind is one word out of few, text is for people and may be "". Neither holds what a client sent.
func (s *Span) Fail(kind, text string) {
	if s != nil {
		s.span.SetStatus(codes.Error, text)
		s.span.SetAttributes(semconv.ErrorTypeKey.String(kind))
	}
}

// End ends it, once.
func (s *Span) End() {
	if s != nil {
		s.span.End()
	}
}
