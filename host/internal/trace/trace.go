// Package trace makes OpenTelemetry spans of requests and of what is done for them, and sends them by OTLP. It decides what a span may
// say: patterns of routes and grants, never paths, queries, bodies, keys or addresses of clients.
//
// A nil *Tracer is tracing that is off. All its methods work, do nothing and allocate nothing.
package trace

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

const (
	// scope is the name of who makes the spans.
	scope = "github.com/patchbay-run/patchbay"

	// batchDelay is how long an ended span waits for others before it is sent.
	batchDelay = time.Second
	batchSize  = 512
)

// Options are what the process hands in beside the configuration.
type Options struct {
	Version string              // of patchbay
	Log     *slog.Logger        // gets a line a minute while spans are lost; nil is silent
	Hide    func(string) string // takes secrets out of what a receiver says; nil leaves all
}

// Tracer makes spans. Its owner calls Close.
type Tracer struct {
	provider  *sdktrace.TracerProvider
	tracer    oteltrace.Tracer
	outlet    *outlet
	join      bool
	propagate string
	timeout   time.Duration

	serving, calling []oteltrace.SpanStartOption // made once, for every span
}

// New makes a tracer; nil when c has no endpoint. It does not wait for the receiver, which may come later.
func New(ctx context.Context, c config.Traces, o Options) (*Tracer, error) {
	if c.Endpoint == "" {
		return nil, nil
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Hide == nil {
		o.Hide = func(s string) string { return s }
	}
	about, err := about(ctx, c, o.Version)
	if err != nil {
		return nil, fmt.Errorf("traces.resource: %w", err)
	}
	out, err := newOutlet(ctx, c, o)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	t := &Tracer{outlet: out, join: c.Join, propagate: c.Propagate, timeout: c.Timeout}
	t.serving = []oteltrace.SpanStartOption{oteltrace.WithSpanKind(oteltrace.SpanKindServer)}
	t.calling = []oteltrace.SpanStartOption{oteltrace.WithSpanKind(oteltrace.SpanKindClient)}
	t.provider = sdktrace.NewTracerProvider(
		sdktrace.WithResource(about),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.Sample))),
		sdktrace.WithSpanProcessor(out.processor(c)),
		sdktrace.WithRawSpanLimits(sdktrace.SpanLimits{
			AttributeValueLengthLimit: 1024, AttributeCountLimit: 64, EventCountLimit: 16, LinkCountLimit: 1,
			AttributePerEventCountLimit: 8, AttributePerLinkCountLimit: 1,
		}),
	)
	t.tracer = t.provider.Tracer(scope)
	return t, nil
}

// about is what all spans have in common.
func about(ctx context.Context, c config.Traces, version string) (*resource.Resource, error) {
	attributes := []attribute.KeyValue{
		semconv.ServiceName(c.ServiceName), semconv.ServiceVersion(version), semconv.ServiceInstanceID(rand.Text()),
	}
	if host, err := os.Hostname(); err == nil {
		attributes = append(attributes, semconv.HostName(host))
	}
	for name, value := range c.Resource { // the operator has the last word
		attributes = append(attributes, attribute.String(name, value))
	}
	return resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(attributes...))
}

// Close sends what is left, for as long as traces.timeout at most, and ends everything. Spans that end later are lost.
func (t *Tracer) Close() {
	if t == nil {
		return
	}
	timer := time.AfterFunc(t.timeout, t.outlet.giveUp)
	defer timer.Stop()
	_ = t.provider.Shutdown(context.Background()) // once given up, whatever is left fails at once
	t.outlet.close()
}

// Stats are counts of spans since the start.
type Stats struct {
	Sent    uint64 // the receiver took them
	Dropped uint64 // the queue was full, or the receiver did not take them
}

// Stats counts spans; all are 0 when tracing is off.
func (t *Tracer) Stats() Stats {
	if t == nil {
		return Stats{}
	}
	return Stats{Sent: t.outlet.sent.Load(), Dropped: t.outlet.dropped.Load()}
}
