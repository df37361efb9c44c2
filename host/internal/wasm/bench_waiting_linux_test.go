package wasm_test

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// BenchmarkWaiting is what a request costs that waits, for a fetch that does not answer or for a clock: how much the guest's linear
// memory grew for each, and how much the process's resident memory did, the guest's with it.
func BenchmarkWaiting(b *testing.B) {
	for _, target := range []string{"GET /fetch?path=/", "GET /sleep?for=1h"} {
		for _, n := range []int{1000, 5000, 20000} {
			b.Run(fmt.Sprintf("%s/%d", target[5:10], n), func(b *testing.B) {
				for b.Loop() {
					waiting(b, target, n)
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

func waiting(b *testing.B, target string, n int) {
	var asked atomic.Int64
	k := startKitchen(b, func(o *wasm.Options) {
		o.InFlight, o.Memory = n+1, 1<<30
		fetching(func(ctx context.Context, _ *wasm.Operation) (*wasm.Reply, error) {
			asked.Add(1)
			<-ctx.Done()
			return nil, &abi.Error{Code: abi.Cancelled}
		})(o)
	})
	defer k.Close()
	k.must(b, "GET /noop", "")
	debug.FreeOSMemory()
	guest := k.Stats().Memory
	host, _ := resident(b)

	ctx, leave := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			req := k.request(b, target, nil)
			req.Timeout = time.Hour
			_ = k.Serve(ctx, req, &discard{})
		})
	}
	for s := k.Stats(); s.InFlight < n || s.Waiting > 0; s = k.Stats() {
		time.Sleep(5 * time.Millisecond)
	}
	k.must(b, "GET /noop", "") // behind all of them
	debug.FreeOSMemory()
	if got := asked.Load(); got != 0 && got != int64(n) {
		b.Fatalf("%d of %d fetches were asked for", got, n)
	}
	b.ReportMetric(float64(k.Stats().Memory-guest)/float64(n)/1024, "guest-KiB")
	now, _ := resident(b)
	b.ReportMetric((now-host)/float64(n), "host-KiB")
	leave()
	all.Wait()
}
