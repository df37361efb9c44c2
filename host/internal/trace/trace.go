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

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// scope is the name of who makes the spans.
const scope = "github.com/patchbay-run/patchbay"

// Options are what the process hands in beside the configuration.
type Options struct {
	Version string              // of patchbay
	Log     *slog.Logger        // gets a line a minute while spans are lost; nil is silent
	Hide    func(string) string // takes secrets out of what a receiver says; nil leaves all
}

// Tracer makes spans. Its owner calls Close.
type Tracer struct {
	outlet    *outlet
	join      bool
	propagate string
	bound     uint64 // of the last 63 bits of the id of a trace that is recorded
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
	out, err := newOutlet(ctx, c, newEncoder(about(c, o.Version)), o)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	return &Tracer{outlet: out, join: c.Join, propagate: c.Propagate, bound: uint64(c.Sample * (1 << 63))}, nil
}

// about is what all spans have in common.
func about(c config.Traces, version string) map[attribute.Key]string {
	all := map[attribute.Key]string{
		semconv.TelemetrySDKNameKey: "patchbay", semconv.TelemetrySDKLanguageKey: "go", semconv.TelemetrySDKVersionKey: version,
		semconv.ServiceNameKey: c.ServiceName, semconv.ServiceVersionKey: version, semconv.ServiceInstanceIDKey: rand.Text(),
	}
	if host, err := os.Hostname(); err == nil {
		all[semconv.HostNameKey] = host
	}
	for name, value := range c.Resource { // the operator has the last word
		all[attribute.Key(name)] = value
	}
	return all
}

// Close sends what is left, for as long as traces.timeout at most, and ends everything. Spans that end later are lost.
func (t *Tracer) Close() {
	if t != nil {
		t.outlet.close()
	}
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
