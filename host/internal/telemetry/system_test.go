package telemetry_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/patchbay-run/patchbay/host/internal/telemetry"
)

func TestSystemKnowsMemoryFromTheStart(t *testing.T) {
	s := telemetry.NewSystem(context.Background(), telemetry.SystemOptions{}).Snapshot()
	if s.MemoryPercent <= 0 || s.MemoryPercent > 100 || s.MemoryAvailableMiB <= 0 || s.ProcessRSSMiB <= 0 || s.Goroutines < 1 || s.CPUs < 1 || s.Time.IsZero() {
		t.Errorf("first sample %+v", s)
	}
}

// Fault 2: nothing but Run samples, and it does each second.
func TestFault2SystemSamplesInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := telemetry.NewSystem(t.Context(), telemetry.SystemOptions{})
		first := sys.Snapshot().Time
		time.Sleep(10 * time.Second)
		if got := sys.Snapshot().Time; !got.Equal(first) {
			t.Errorf("sampled at %v without Run", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		start := time.Now()
		go func() { done <- sys.Run(ctx) }()
		for _, at := range []time.Duration{200 * time.Millisecond, 1200 * time.Millisecond, 2200 * time.Millisecond} {
			time.Sleep(time.Until(start.Add(at + 50*time.Millisecond)))
			if got := sys.Snapshot().Time.Sub(start); got != at {
				t.Errorf("newest sample at %v, want %v", got, at)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestSystemMeasuresTheProcessor(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sys := telemetry.NewSystem(ctx, telemetry.SystemOptions{})
	done := make(chan error)
	go func() { done <- sys.Run(ctx) }()
	// One processor spins until the load shows; there is no figure to expect on a shared machine.
	deadline := time.Now().Add(time.Minute)
	for sys.Snapshot().CPUPercent == 0 && time.Now().Before(deadline) {
	}
	if got := sys.Snapshot().CPUPercent; got <= 0 || got > 100 {
		t.Errorf("cpu_percent %v with a busy processor", got)
	}
	cancel()
	<-done
}

type collector struct{}

func (collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- prometheus.NewDesc("patchbay_test", "t", nil, nil)
}

func (c collector) Collect(ch chan<- prometheus.Metric) {}
