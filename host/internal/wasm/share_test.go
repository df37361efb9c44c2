package wasm_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// hog starts a plugin of which more guests than there are processors compute without end, and stops it with the test.
func hog(t testing.TB) *kitchen {
	k := startKitchen(t, func(o *wasm.Options) { o.Fresh, o.CPU = true, time.Hour })
	ctx, stop := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for range 4 * runtime.GOMAXPROCS(0) {
		group.Go(func() {
			r := k.request(t, "GET /loop", nil)
			r.Timeout = 0
			_ = k.Serve(ctx, r, &answer{})
		})
	}
	t.Cleanup(func() {
		stop()
		group.Wait()
	})
	soon(t, func() bool { return k.Stats().Busy > 0.2 })
	return k
}

// TestNobodyIsStarved: beside a plugin that is all CPU another one is served, and an endless guest ends with its request.
func TestNobodyIsStarved(t *testing.T) {
	other := startKitchen(t, nil)
	greedy := hog(t)
	before := greedy.Stats().Busy
	served := 0
	waitFor(t, "one is served while the other computes", func() bool {
		other.must(t, "GET /noop", "")
		served++
		return served >= 100 && greedy.Stats().Busy > before
	})
	if s := greedy.Stats(); s.Instances == 0 {
		t.Errorf("the greedy plugin does not compute any more: %+v", s)
	}
}

// TestSharesAreEven: of two plugins that are all CPU, the one with more guests gets no more. While the machine hesitates, those that
// happen to compute seem to go on, so that a span in which it does is looked at in vain.
func TestSharesAreEven(t *testing.T) {
	many, few := hog(t), startKitchen(t, func(o *wasm.Options) { o.Fresh, o.CPU = true, time.Hour })
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			r := few.request(t, "GET /loop", nil)
			r.Timeout = 0
			_ = few.Serve(ctx, r, &answer{})
		})
	}
	defer group.Wait()
	defer stop()
	soon(t, func() bool { return few.Stats().Busy > 0 })
	waitFor(t, "one computes as much as the one with more guests", func() bool {
		a, b := few.Stats().Busy, many.Stats().Busy
		time.Sleep(300 * time.Millisecond)
		a, b = few.Stats().Busy-a, many.Stats().Busy-b
		t.Logf("one computed for %.2f s, the one with more guests for %.2f s", a, b)
		return a > 0 && b > 0 && a >= b/2
	})
}

// BenchmarkNeighbour is a no-op request beside a plugin that is all CPU, and with none.
func BenchmarkNeighbour(b *testing.B) {
	k := startKitchen(b, nil)
	run := func(b *testing.B) {
		for b.Loop() {
			k.must(b, "GET /noop", "")
		}
	}
	b.Run("alone", run)
	hog(b)
	b.Run("beside", run)
}

// TestCPULimitHoldsInACrowd: guests that give way to each other all the time are still ended by limits.cpu.
func TestCPULimitHoldsInACrowd(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) {
		o.Fresh, o.CPU, o.Faults = true, 150*time.Millisecond, wasm.Faults{Row: 1000}
	})
	var group sync.WaitGroup
	for range 4 * runtime.GOMAXPROCS(0) {
		group.Go(func() {
			_, err := k.do(t, "GET /loop", "")
			var limit *wasm.CPUError
			if !errors.As(err, &limit) {
				t.Errorf("got %v, want a CPUError", err)
			}
		})
	}
	group.Wait()
}
