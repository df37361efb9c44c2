package wasm_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

func TestRecycle(t *testing.T) {
	for _, c := range []struct {
		why    string
		change func(*wasm.Options)
		target string
		first  int // requests that the first worker serves
	}{
		{"memory", func(o *wasm.Options) { o.Memory = 32 << 20 }, "GET /keep?mib=8", 3},
		{"requests", func(o *wasm.Options) { o.Recycle.Requests = 5 }, "GET /count", 5},
	} {
		t.Run(c.why, func(t *testing.T) {
			k := startKitchen(t, c.change)
			last := ""
			for i := range c.first {
				if got := k.Stats().Recycled[c.why]; got != 0 {
					t.Fatalf("it was replaced after %d requests", i)
				}
				last = k.must(t, c.target, "")
			}
			soon(t, func() bool { s := k.Stats(); return s.Recycled[c.why] == 1 && s.Retiring == 0 })
			if got := k.must(t, c.target, ""); got != "1" || last == "1" {
				t.Errorf("the first worker counted to %s, the next one to %s", last, got)
			}
		})
	}
}

func TestRecycleByAge(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) { o.Recycle.Age = time.Millisecond })
	k.must(t, "GET /count", "")
	time.Sleep(2 * time.Millisecond)
	soon(t, func() bool { return k.Stats().Retiring == 0 })
	if got := k.must(t, "GET /count", ""); got != "1" {
		t.Errorf("a worker that was too old counts %s", got)
	}
	if k.Stats().Recycled["age"] == 0 {
		t.Errorf("%+v", k.Stats())
	}
}

// TestRecycleDrains: requests that run in a worker that is being replaced are answered by it.
func TestRecycleDrains(t *testing.T) {
	held, release := make(chan struct{}), make(chan struct{})
	k := startKitchen(t, func(o *wasm.Options) {
		o.Memory = 32 << 20
		fetching(func(ctx context.Context, in *wasm.Operation) (*wasm.Reply, error) {
			held <- struct{}{} // the guest has the request
			<-release
			return text("hello", 5)(ctx, in)
		})(o)
	})
	var group sync.WaitGroup
	for range 5 {
		group.Go(func() { k.must(t, "GET /fetch?path=/", "") })
		<-held
	}
	k.must(t, "GET /keep?mib=25", "")
	if got := k.must(t, "GET /count", ""); got != "1" {
		t.Errorf("another worker counts %s", got)
	}
	if s := k.Stats(); s.Retiring != 1 || s.Recycled["memory"] != 1 {
		t.Errorf("while it drains: %+v", s)
	}
	close(release)
	group.Wait()
	soon(t, func() bool { return k.Stats().Retiring == 0 })
	if s := k.Stats(); s.Traps != 0 {
		t.Errorf("afterwards: %+v", s)
	}
}

// TestRecyclingIsBounded: while as many drain as may run, one that is full is not replaced, and refuses.
func TestRecyclingIsBounded(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) { o.Memory = 32 << 20 })
	ctx, leave := context.WithCancel(t.Context())
	var group sync.WaitGroup
	fill := func(already uint64) {
		group.Go(func() {
			_ = k.Serve(ctx, k.request(t, "GET /keep?mib=25&for=1m", nil), &answer{})
		})
		soon(t, func() bool { return k.Stats().Memory > already+25<<20 })
	}
	fill(0)
	k.must(t, "GET /count", "") // by another worker
	fill(25 << 20)
	if _, err := k.do(t, "GET /count", ""); !errors.Is(err, wasm.ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	if s := k.Stats(); s.Retiring != 1 || s.Workers != 1 {
		t.Errorf("%d workers, and %d that drain", s.Workers, s.Retiring)
	}
	leave()
	group.Wait()
	soon(t, func() bool { return k.Stats().Retiring == 0 })
	if got := k.must(t, "GET /count", ""); got != "1" {
		t.Errorf("a new worker counts %s", got)
	}
}

// TestAgeBelowAStart: each worker serves a request before it is too old, however little it may age.
func TestAgeBelowAStart(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) {
		o.Recycle.Age, o.PlainStart = time.Nanosecond, true
	})
	const n = 20
	for range n {
		if _, err := k.do(t, "GET /word", ""); err != nil {
			t.Error(err)
		}
	}
	s := k.Stats()
	if s.Recycled["age"] > n+1 {
		t.Errorf("%d requests took %d workers", n, s.Recycled["age"])
	}
}

// TestHeapIsCollectedAsMemoryAllows: a guest in Go collects its heap seldom, and as Go has it when half of its memory is in use, long before the
// worker is replaced for it. What a plugin says itself holds, and no limit of the SDK's stays beside it.
func TestHeapIsCollectedAsMemoryAllows(t *testing.T) {
	for config, want := range map[string][2]string{
		`{}`:                         {fmt.Sprint(300, 20<<20), fmt.Sprint(100, math.MaxInt64)},
		`{"gc_percent": 150}`:        {fmt.Sprint(150, 20<<20), fmt.Sprint(150, math.MaxInt64)},
		`{"memory_limit": 30000000}`: {fmt.Sprint(300, 30000000), fmt.Sprint(100, 30000000)},
	} {
		t.Run(config, func(t *testing.T) { testHeapIsCollected(t, config, want[0], want[1]) })
	}
}

func testHeapIsCollected(t *testing.T, config, first, later string) {
	k := startKitchen(t, func(o *wasm.Options) { o.Memory, o.InFlight, o.Config = 32<<20, 8192, []byte(config) })
	if got := k.must(t, "GET /heap", ""); got != first {
		t.Errorf("at first it has %s, want %s", got, first)
	}
	ctx, leave := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer leave()
	for n := 0; ; n += 100 {
		got := k.must(t, "GET /heap", "")
		if got == later {
			return
		}
		if n == 6000 || k.Stats().Recycled["memory"] > 0 {
			t.Fatalf("%d requests wait, and it has %s, want %s: %+v", n, got, later, k.Stats())
		}
		for range 100 {
			waiting.Go(func() { _ = k.Serve(ctx, k.request(t, "GET /hang", nil), &answer{}) })
			k.must(t, "GET /word", "")
		}
	}
}
