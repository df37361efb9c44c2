package wasm_test

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// BenchmarkStop is how long a guest runs on when its CPU time is up: a loop, and fills of 1 GiB. It is CPU time of the process, since
// the limit is; the time on the clock is the same where nobody else has the CPU. A guest that had fetched has ended when its
// fetch is cancelled; the giving back of its memory, which takes long when it had filled much, comes after.
func BenchmarkStop(b *testing.B) {
	for _, c := range []struct {
		name, target string
		guest        func(*testing.B) *subject
	}{
		{"loop", "GET /loop", func(b *testing.B) *subject { return &subject{module: sharedModule(b), routes: kitchenRoutes(b)} }},
		{"fill", "GET /fill", func(b *testing.B) *subject { needClang(b); return benchC(b) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			const limit = 50 * time.Millisecond
			guest := c.guest(b)
			type moment struct {
				clock time.Time
				cpu   time.Duration
			}
			now := func() moment { return moment{time.Now(), used(b)} }
			var over, late []time.Duration
			debug.FreeOSMemory() // what compiling left behind
			for b.Loop() {
				ended := make(chan moment, 2)
				k := guest.start(b, func(o *wasm.Options) {
					o.CPU, o.Memory = limit, 2<<30
					fetching(func(ctx context.Context, _ *wasm.Operation) (*wasm.Reply, error) {
						<-ctx.Done()
						ended <- now()
						return nil, ctx.Err()
					})(o)
				})
				req, began := k.request(b, c.target, nil), now()
				err := k.Serve(context.Background(), req, &discard{})
				ended <- now()
				if limit := new(wasm.CPUError); !errors.As(err, &limit) {
					b.Fatalf("it ended with %v", err)
				}
				end := <-ended
				over, late = append(over, end.cpu-began.cpu-limit), append(late, end.clock.Sub(began.clock)-limit)
				k.Close()
			}
			b.ReportMetric(0, "ns/op") // it is mostly the limit
			spread(b, "cpu-", over)
			spread(b, "", late)
		})
	}
}

// BenchmarkPause is how long the host's collector stops the world, and how long a whole collection takes, while a guest loops.
func BenchmarkPause(b *testing.B) {
	guest := &subject{module: sharedModule(b), routes: kitchenRoutes(b)}
	for _, c := range []struct {
		name string
		do   func()
	}{
		{"stop", func() { runtime.ReadMemStats(new(runtime.MemStats)) }}, // stops the world, and does little
		{"collect", runtime.GC},
	} {
		b.Run(c.name, func(b *testing.B) {
			k := guest.start(b, func(o *wasm.Options) { o.CPU = time.Hour })
			ended := make(chan error, 1)
			go func() {
				ended <- k.Serve(context.Background(), k.request(b, "GET /loop", nil), &discard{})
			}()
			time.Sleep(50 * time.Millisecond) // it computes
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				c.do()
				took = append(took, time.Since(began))
				time.Sleep(time.Millisecond)
			}
			k.Close()
			if err := <-ended; !errors.Is(err, wasm.ErrStopped) {
				b.Errorf("the guest ended with %v", err)
			}
			b.ReportMetric(0, "ns/op")
			spread(b, "", took)
		})
	}
}
