package trace

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"time"

	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
)

// Call is the span of one outbound call, redirects and repetitions included. The zero value is tracing that is off. Its methods may be
// called from one goroutine at a time.
type Call struct {
	trace *trace // that it is in; nil is off
	span  *Span  // nil is not recorded
}

// Begin starts the span of a call in the trace of ctx, or in one of its own when nobody's request asked for it.
func (t *Tracer) Begin(ctx context.Context, method string) Call {
	if t == nil {
		return Call{}
	}
	const room = 10 // attributes, unless it is a chat
	tr, above := current(ctx)
	switch {
	case tr == nil:
		if tr = t.newTrace(); tr.flags&sampled != 0 {
			tr.root = tr.begin(tr.first, spanID{}, clientKind, own(method), room)
		}
		return Call{tr, tr.root}
	case above.Recording():
		return Call{tr, above.below(clientKind, own(method), room)}
	}
	return Call{tr, nil}
}

// Recording says whether anybody will see what the methods are told.
func (c Call) Recording() bool { return c.span.Recording() }

// Propagate puts the trace into the headers of a request, in the place of whatever a guest wrote there; named says that it goes to a named
// upstream. Nothing is changed when tracing is off.
func (c Call) Propagate(h http.Header, named bool) {
	if c.trace == nil {
		return
	}
	delete(h, traceparent)
	delete(h, tracestate)
	if to := c.trace.tracer.propagate; to == "none" || to == "upstreams" && !named {
		return
	}
	from := c.trace.first
	if c.span != nil {
		from = c.span.id
	}
	h[traceparent] = []string{c.trace.parent(from)}
	if state := c.trace.tracestate(); state != "" {
		h[tracestate] = []string{state}
	}
}

// Target says what is called. pattern is the path of the grant that covers the call's own. upstream is its name, or "" for a host.
func (c Call) Target(method, pattern, upstream, host string, port int) {
	s := c.span
	if !s.open() {
		return
	}
	defer s.mu.Unlock()
	s.name = method + " " + pattern
	s.putText(semconv.HTTPRequestMethodKey, own(method))
	s.putText(semconv.URLTemplateKey, pattern)
	if upstream != "" {
		s.putText("patchbay.upstream", upstream)
	} else {
		s.putText(semconv.ServerAddressKey, own(host))
		s.putInt(semconv.ServerPortKey, int64(port))
	}
}

// Peer says which endpoint of an upstream is called, as host:port.
func (c Call) Peer(endpoint string) {
	s := c.span
	if !s.open() {
		return
	}
	defer s.mu.Unlock()
	host, port, _ := net.SplitHostPort(endpoint)
	s.putText(semconv.ServerAddressKey, host)
	if n, err := strconv.Atoi(port); err == nil {
		s.putInt(semconv.ServerPortKey, int64(n))
	}
}

// Attempt notes that an attempt on an endpoint failed; kind is one word out of few.
func (c Call) Attempt(n int, endpoint, kind string) {
	s := c.span
	if !s.open() {
		return
	}
	defer s.mu.Unlock()
	if len(s.told) == maxFailures {
		s.told = s.told[:copy(s.told, s.told[1:])]
		s.left++
	}
	s.told = append(s.told, failure{time.Since(s.start), n - 1, endpoint, kind})
}

// Status says what was answered, after how many attempts.
func (c Call) Status(status, attempts int) {
	s := c.span
	if !s.open() {
		return
	}
	defer s.mu.Unlock()
	s.putInt(semconv.HTTPResponseStatusCodeKey, int64(status))
	if attempts > 1 {
		s.putInt(semconv.HTTPRequestResendCountKey, int64(attempts-1))
	}
	if status >= http.StatusBadRequest {
		s.fail(strconv.Itoa(status), "")
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
	s := c.span
	if !s.open() {
		return
	}
	defer s.mu.Unlock()
	s.name = chat.Operation
	s.putText(semconv.GenAIOperationNameKey, chat.Operation)
	s.putText(semconv.GenAIProviderNameKey, chat.Provider)
	if chat.RequestModel != "" {
		s.name += " " + chat.RequestModel
		s.putText(semconv.GenAIRequestModelKey, chat.RequestModel)
	}
	if chat.Model != "" {
		s.putText(semconv.GenAIResponseModelKey, chat.Model)
	}
	if chat.InputTokens > 0 {
		s.putInt(semconv.GenAIUsageInputTokensKey, chat.InputTokens)
	}
	if chat.OutputTokens > 0 {
		s.putInt(semconv.GenAIUsageOutputTokensKey, chat.OutputTokens)
	}
	if len(chat.FinishReasons) > 0 {
		s.putList(semconv.GenAIResponseFinishReasonsKey, chat.FinishReasons)
	}
	if chat.FirstText > 0 {
		s.putFloat(semconv.GenAIResponseTimeToFirstChunkKey, chat.FirstText.Seconds())
	}
	if chat.Failed {
		s.fail("answer", "the answer holds an error")
	}
}

// End ends the call. kind is "" when it went well, else one word out of few; text is for people and may be "".
func (c Call) End(size int64, kind, text string) {
	s := c.span
	if !s.open() {
		return
	}
	if size > 0 {
		s.putInt(semconv.HTTPResponseBodySizeKey, size)
	}
	if kind != "" {
		s.fail(kind, text)
	}
	s.mu.Unlock()
	s.End()
}
