package app

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/patchbay-run/patchbay/host/internal/capability"
	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/trace"
)

// trace makes what records spans; it stays nil when the configuration wants none.
func (a *App) trace(ctx context.Context, c *config.Config) (err error) {
	var keys []string
	for _, value := range c.Traces.Headers {
		keys = append(keys, value)
	}
	a.traces, err = trace.New(ctx, c.Traces, trace.Options{Version: a.options.Version, Log: a.log, Hide: capability.Hide(keys...)})
	if a.traces != nil {
		a.log.Info("traces are sent", "endpoint", c.Traces.Endpoint, "protocol", c.Traces.Protocol, "sample", c.Traces.Sample)
	}
	return err
}

// traceCounters are what Prometheus sees of the spans.
func (a *App) traceCounters() []prometheus.Collector {
	counter := func(name, help string, read func(trace.Stats) uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(read(a.traces.Stats())) })
	}
	return []prometheus.Collector{
		counter("patchbay_trace_spans_sent_total", "Spans that the OTLP receiver took.", func(s trace.Stats) uint64 { return s.Sent }),
		counter("patchbay_trace_spans_dropped_total", "Spans that were lost: traces.queue was full, or the OTLP receiver did not take them.", func(s trace.Stats) uint64 { return s.Dropped }),
	}
}
