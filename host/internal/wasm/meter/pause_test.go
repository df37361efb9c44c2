package meter_test

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
)

// BenchmarkPause is how long the host's collector would stop the world while a guest loops that is not metered: as long as
// the guest. Its peer is BenchmarkPause of the engine.
func BenchmarkPause(b *testing.B) {
	b.Run("plain", func(b *testing.B) {
		g := start(b, context.Background(), wazero.NewRuntimeConfigCompiler(), emptyLoop())
		var took, loops []time.Duration
		for b.Loop() {
			ended := make(chan time.Duration)
			go func() {
				began := time.Now()
				_, err := g.ExportedFunction("empty").Call(g.ctx, 400_000_000)
				if err != nil {
					b.Error(err)
				}
				ended <- time.Since(began)
			}()
			time.Sleep(20 * time.Millisecond) // it computes
			began := time.Now()
			runtime.ReadMemStats(new(runtime.MemStats)) // stops the world, and does little
			took = append(took, time.Since(began))
			loops = append(loops, <-ended)
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(median(took)/1e6, "p50-ms")
		b.ReportMetric(float64(slices.Max(took))/1e6, "p99-ms") // too few for another
		b.ReportMetric(float64(slices.Max(took))/1e6, "max-ms")
		b.ReportMetric(median(loops)/1e6, "loop-ms")
	})
}
