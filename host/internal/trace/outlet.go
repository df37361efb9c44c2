package trace

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// quiet is how long nothing more is said of a receiver that takes no spans.
const quiet = time.Minute

// outlet is between the SDK and the exporter: it bounds what waits, counts what is lost, and keeps a receiver's
// troubles from standard error. The SDK's queue is as long as this bound, so that it drops nothing by itself, which nobody could count.
type outlet struct {
	exporter sdktrace.SpanExporter
	closing  func() // frees the exporter's connections
	log      *slog.Logger
	hide     func(string) string

	limit         int64
	held          atomic.Int64 // spans that ended and are neither sent nor lost yet
	sent, dropped atomic.Uint64
	said          atomic.Int64 // when the last line was logged, in Unix nanoseconds

	alive  context.Context // ends when what is left is given up
	giveUp context.CancelFunc
}

func newOutlet(ctx context.Context, c config.Traces, o Options) (*outlet, error) {
	exporter, closing, err := newExporter(ctx, c)
	if err != nil {
		return nil, err
	}
	out := &outlet{exporter: exporter, closing: closing, log: o.Log, hide: o.Hide, limit: int64(c.Queue)}
	out.alive, out.giveUp = context.WithCancel(context.Background())
	return out, nil
}

// processor queues spans for the outlet.
func (o *outlet) processor(c config.Traces) sdktrace.SpanProcessor {
	return &gate{outlet: o, SpanProcessor: sdktrace.NewBatchSpanProcessor(o,
		sdktrace.WithMaxQueueSize(c.Queue), sdktrace.WithMaxExportBatchSize(min(batchSize, c.Queue)),
		sdktrace.WithBatchTimeout(batchDelay), sdktrace.WithExportTimeout(c.Timeout))}
}

// gate lets only so many spans in.
type gate struct {
	sdktrace.SpanProcessor
	outlet *outlet
}

// OnEnd implements sdktrace.SpanProcessor. It never blocks.
func (g *gate) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	if g.outlet.held.Add(1) > g.outlet.limit {
		g.outlet.held.Add(-1)
		g.outlet.dropped.Add(1)
		return
	}
	g.SpanProcessor.OnEnd(s)
}

// ExportSpans implements sdktrace.SpanExporter. Its error goes no further: the SDK would print it.
func (o *outlet) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(o.alive, cancel)()
	err := o.exporter.ExportSpans(ctx, spans)
	n := len(spans)
	o.held.Add(-int64(n))
	if err == nil {
		o.sent.Add(uint64(n))
		return nil
	}
	o.dropped.Add(uint64(n))
	o.complain(err)
	return nil
}

// complain logs a line, unless it did so lately.
func (o *outlet) complain(err error) {
	now, last := time.Now().UnixNano(), o.said.Load()
	if last != 0 && now-last < int64(quiet) || !o.said.CompareAndSwap(last, now) {
		return
	}
	text := o.hide(err.Error())
	o.log.Warn("spans are lost: see traces.endpoint", "error", text[:min(len(text), 1024)], "dropped", o.dropped.Load())
}

// Shutdown implements sdktrace.SpanExporter.
func (o *outlet) Shutdown(ctx context.Context) error { return o.exporter.Shutdown(ctx) }

// close frees the rest.
func (o *outlet) close() {
	o.giveUp()
	o.closing()
}
