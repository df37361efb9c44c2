package trace

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	oteltrace "go.opentelemetry.io/otel/trace"

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
		if t.join {
			ctx = joined(ctx, r.Header)
		}
		ctx, span := t.tracer.Start(ctx, "HTTP", t.serving...)
		r = r.WithContext(ctx)
		if !span.IsRecording() {
			next.ServeHTTP(w, r)
			return
		}
		telemetry.SetTrace(ctx, span.SpanContext().TraceID().String())
		returned := false
		defer func() { finish(ctx, span, r, returned) }()
		next.ServeHTTP(w, r)
		returned = true
	})
}

// finish says how a request was answered. A span that is never ended is never sent.
func finish(ctx context.Context, span oteltrace.Span, r *http.Request, returned bool) {
	a, _ := telemetry.Answered(ctx)
	if a.Probe || a.Upgraded {
		return
	}
	all := make([]attribute.KeyValue, 0, 10)
	method := a.Method
	if method == "other" || method == "" {
		method = "HTTP"
		all = append(all, semconv.HTTPRequestMethodOther)
	} else {
		all = append(all, semconv.HTTPRequestMethodKey.String(method))
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	all = append(all, semconv.URLScheme(scheme), attribute.String("patchbay.request.id", telemetry.RequestID(ctx)))
	if _, version, ok := strings.Cut(r.Proto, "/"); ok {
		all = append(all, semconv.NetworkProtocolVersion(strings.TrimSuffix(version, ".0")))
	}
	name := method
	if _, path, ok := strings.Cut(a.Route, " "); ok { // a pattern such as GET /v1/models/{id}
		name += " " + path
		all = append(all, semconv.HTTPRoute(path), semconv.URLPath(path))
	}
	left := ctx.Err() != nil && context.Cause(ctx) == context.Canceled // a server that stops has a cause of its own
	if left {
		all = append(all, attribute.Bool("patchbay.client_left", true))
	}
	status := a.Status
	if status == 0 && returned && !left {
		status = http.StatusOK
	}
	if status != 0 {
		all = append(all, semconv.HTTPResponseStatusCode(status))
	}
	switch {
	case status >= http.StatusInternalServerError:
		span.SetStatus(codes.Error, "")
		all = append(all, semconv.ErrorTypeKey.String(strconv.Itoa(status)))
	case !returned && !left:
		span.SetStatus(codes.Error, "the answer was given up")
		all = append(all, semconv.ErrorTypeKey.String("aborted"))
	}
	span.SetName(name)
	span.SetAttributes(all...)
	span.End()
}
