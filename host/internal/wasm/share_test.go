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
	k := startKitchen(t, func(o *wasm.Options) { o.Fresh = true })
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
	for range 100 {
		other.must(t, "GET /noop", "")
	}
	if s := greedy.Stats(); s.Busy == before || s.Instances == 0 {
		t.Errorf("the greedy plugin did not compute meanwhile: %+v", s)
	}
}

// TestSharesAreEven: of two plugins that are all CPU, the one with more guests gets no more.
func TestSharesAreEven(t *testing.T) {
	many, few := hog(t), startKitchen(t, func(o *wasm.Options) { o.Fresh = true })
	ctx, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	before := many.Stats().Busy
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() { _ = few.Serve(ctx, few.request(t, "GET /loop", nil), &answer{}) })
	}
	group.Wait()
	got, want := few.Stats().Busy, many.Stats().Busy-before
	if got < want/2 {
		t.Errorf("one computed for %.2f s, the one with more guests for %.2f s", got, want)
	}
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
