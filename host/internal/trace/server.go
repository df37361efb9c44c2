package trace

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"

	"github.com/patchbay-run/patchbay/host/internal/telemetry"
)

// Middleware makes a span of each request that next answers. It stands behind telemetry.Tracker.Track, which knows how a request was
// answered. Probes and websockets have none: the ones are asked all the time, and the others last for ever.
func (t *Tracer) Middleware(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		span := t.serve(ctx, r.Header)
		if span == nil {
			next.ServeHTTP(w, r)
			return
		}
		returned := false
		defer func() { finish(ctx, span, r, returned) }()
		next.ServeHTTP(w, r)
		returned = true
	})
}

// serve puts the request of ctx into a trace, and begins its span when that is recorded.
func (t *Tracer) serve(ctx context.Context, h http.Header) *Span {
	var tr *trace
	var above spanID
	if t.join {
		tr, above = t.joinTrace(h)
	}
	if tr == nil {
		tr = t.newTrace()
	}
	if tr.flags&sampled != 0 {
		tr.root = tr.begin(tr.first, above, serverKind, "HTTP", 10)
	}
	telemetry.SetTrace(ctx, tr)
	return tr.root
}

// finish says how a request was answered. A span that is never ended is never sent.
func finish(ctx context.Context, span *Span, r *http.Request, returned bool) {
	a, _ := telemetry.Answered(ctx)
	if a.Probe || a.Upgraded {
		return
	}
	span.answered(ctx, a, r, returned)
	span.End()
}

func (s *Span) answered(ctx context.Context, a telemetry.Answer, r *http.Request, returned bool) {
	if !s.open() {
		return
	}
	defer s.mu.Unlock()
	method := own(a.Method)
	if method == "other" || method == "" {
		method = "HTTP"
		s.putText(semconv.HTTPRequestMethodKey, "_OTHER")
	} else {
		s.putText(semconv.HTTPRequestMethodKey, method)
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	s.putText(semconv.URLSchemeKey, scheme)
	s.putText("patchbay.request.id", telemetry.RequestID(ctx))
	if _, version, ok := strings.Cut(r.Proto, "/"); ok {
		s.putText(semconv.NetworkProtocolVersionKey, own(strings.TrimSuffix(version, ".0")))
	}
	s.name = method
	if _, path, ok := strings.Cut(a.Route, " "); ok { // a pattern such as GET /v1/models/{id}
		s.name += " " + path
		s.putText(semconv.HTTPRouteKey, path)
		s.putText(semconv.URLPathKey, path)
	}
	left := ctx.Err() != nil && context.Cause(ctx) == context.Canceled // a server that stops has a cause of its own
	if left {
		s.putTrue("patchbay.client_left")
	}
	status := a.Status
	if status == 0 && returned && !left {
		status = http.StatusOK
	}
	if status != 0 {
		s.putInt(semconv.HTTPResponseStatusCodeKey, int64(status))
	}
	switch {
	case status >= http.StatusInternalServerError:
		s.fail(strconv.Itoa(status), "")
	case !returned && !left:
		s.fail("aborted", "the answer was given up")
	}
}
