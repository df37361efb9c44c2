package trace

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// Call is the span of one outbound call, redirects and repetitions included. The zero value is tracing that is off. Its methods may be
// called from one goroutine at a time.
type Call struct {
	tracer *Tracer
	span   oteltrace.Span // of the call when it is recorded; else of whoever makes it, for its context
}

// Begin starts the span of a call in the trace of ctx, or in one of its own when nobody's request asked for it.
func (t *Tracer) Begin(ctx context.Context, method string) Call {
	if t == nil {
		return Call{}
	}
	caller := oteltrace.SpanFromContext(ctx)
	if caller.SpanContext().IsValid() && !caller.IsRecording() {
		return Call{t, caller}
	}
	_, span := t.tracer.Start(ctx, method, t.calling...)
	return Call{t, span}
}

// Recording says whether anybody will see what the methods are told.
func (c Call) Recording() bool { return c.span != nil && c.span.IsRecording() }

// Propagate puts the trace into the headers of a request, in the place of whatever a guest wrote there; named says that it goes to a named
// upstream. Nothing is changed when tracing is off.
func (c Call) Propagate(h http.Header, named bool) {
	if c.tracer == nil {
		return
	}
	delete(h, traceparent)
	delete(h, tracestate)
	if c.tracer.propagate == "none" || c.tracer.propagate == "upstreams" && !named {
		return
	}
	propagation.TraceContext{}.Inject(oteltrace.ContextWithSpan(context.Background(), c.span), propagation.HeaderCarrier(h))
}

// Target says what is called. pattern is the path of the grant that covers the call's own. upstream is its name, or "" for a host.
func (c Call) Target(method, pattern, upstream, host string, port int) {
	all := append(make([]attribute.KeyValue, 0, 4), semconv.HTTPRequestMethodKey.String(method), semconv.URLTemplate(pattern))
	if upstream != "" {
		all = append(all, attribute.String("patchbay.upstream", upstream))
	} else {
		all = append(all, semconv.ServerAddress(host), semconv.ServerPort(port))
	}
	c.span.SetName(method + " " + pattern)
	c.span.SetAttributes(all...)
}

// Peer says which endpoint of an upstream is called, as host:port.
func (c Call) Peer(endpoint string) {
	host, port, _ := net.SplitHostPort(endpoint)
	c.span.SetAttributes(semconv.ServerAddress(host))
	if n, err := strconv.Atoi(port); err == nil {
		c.span.SetAttributes(semconv.ServerPort(n))
	}
}

// Attempt notes that an attempt on an endpoint failed; kind is one word out of few.
func (c Call) Attempt(n int, endpoint, kind string) {
	c.span.AddEvent("attempt failed", oteltrace.WithAttributes(
		attribute.Int("http.request.resend_count", n-1), attribute.String("server.address", endpoint), semconv.ErrorTypeKey.String(kind)))
}

// Status says what was answered, after how many attempts.
func (c Call) Status(status, attempts int) {
	c.span.SetAttributes(semconv.HTTPResponseStatusCode(status))
	if attempts > 1 {
		c.span.SetAttributes(semconv.HTTPRequestResendCount(attempts - 1))
	}
	if status >= http.StatusBadRequest {
		c.span.SetStatus(codes.Error, "")
		c.span.SetAttributes(semconv.ErrorTypeKey.String(strconv.Itoa(status)))
	}
}

// Chat is what a call asked of a model and what came of it, in the words of OpenTelemetry's conventions for generative AI,
// https://github.com/open-telemetry/semantic-conventions-genai. What is not known is zero.
type Chat struct {
	Operation     string
	Provider      string
	RequestModel  string
	Model         string
	InputTokens   int64
	OutputTokens  int64
	FinishReasons []string
	FirstText     time.Duration // since the call began; of a stream
	Failed        bool          // the answer holds an error, whatever its status is
}

// Chat says that the call was one to a model.
func (c Call) Chat(chat Chat) {
	all := []attribute.KeyValue{attribute.String("gen_ai.operation.name", chat.Operation), semconv.GenAIProviderNameKey.String(chat.Provider)}
	name := chat.Operation
	if chat.RequestModel != "" {
		name += " " + chat.RequestModel
		all = append(all, semconv.GenAIRequestModel(chat.RequestModel))
	}
	if chat.Model != "" {
		all = append(all, semconv.GenAIResponseModel(chat.Model))
	}
	if chat.InputTokens > 0 {
		all = append(all, semconv.GenAIUsageInputTokens(int(chat.InputTokens)))
	}
	if chat.OutputTokens > 0 {
		all = append(all, semconv.GenAIUsageOutputTokens(int(chat.OutputTokens)))
	}
	if len(chat.FinishReasons) > 0 {
		all = append(all, semconv.GenAIResponseFinishReasons(chat.FinishReasons...))
	}
	if chat.FirstText > 0 {
		all = append(all, semconv.GenAIResponseTimeToFirstChunk(chat.FirstText.Seconds()))
	}
	if chat.Failed {
		c.span.SetStatus(codes.Error, "the answer holds an error")
		all = append(all, semconv.ErrorTypeKey.String("answer"))
	}
	c.span.SetName(name)
	c.span.SetAttributes(all...)
}

// End ends the call. kind is "" when it went well, else one word out of few; text is for people and may be "".
func (c Call) End(size int64, kind, text string) {
	if !c.Recording() {
		return
	}
	if size > 0 {
		c.span.SetAttributes(semconv.HTTPResponseBodySizeKey.Int64(size))
	}
	if kind != "" {
		c.span.SetStatus(codes.Error, text)
		c.span.SetAttributes(semconv.ErrorTypeKey.String(kind))
	}
	c.span.End()
}
