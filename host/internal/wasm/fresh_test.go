package wasm_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// TestFreshSeesNothingOfOthers: what one request leaves in the guest is not there for the next, whether instances are copies or not.
func TestFreshSeesNothingOfOthers(t *testing.T) {
	for name, change := range map[string]func(*wasm.Options){
		"copies":  func(o *wasm.Options) { o.Fresh = true },
		"plainly": func(o *wasm.Options) { o.Fresh, o.PlainStart = true, true },
	} {
		t.Run(name, func(t *testing.T) {
			k := startKitchen(t, change)
			random := map[string]bool{}
			for range 4 {
				if got := k.must(t, "GET /count", ""); got != "1" {
					t.Errorf("it counts %s: it saw another request", got)
				}
				random[k.must(t, "GET /random", "")] = true
			}
			if len(random) != 4 {
				t.Errorf("four instances gave %d different random texts", len(random))
			}
			if got := k.must(t, "GET /word", ""); got != "hello" {
				t.Errorf("its configuration says %q", got)
			}
			if got := k.must(t, "GET /sleep?for=5ms", ""); got != "slept" {
				t.Errorf("a timer: %q", got)
			}
			if got := k.must(t, "POST /echo", strings.Repeat("x", 300<<10)); len(got) != 300<<10 {
				t.Errorf("a body of 300 KiB came back with %d bytes", len(got))
			}
			if s := k.Stats(); s.Mode != "fresh" || s.Instances != 0 || s.Workers != 1 {
				t.Errorf("afterwards: %+v", s)
			}
		})
	}
}

// TestFreshTrapCostsOneRequest: the others, which run at the same time, do not notice.
func TestFreshTrapCostsOneRequest(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) { o.Fresh = true })
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() { k.must(t, "GET /sleep?for=50ms", "") })
	}
	_, err := k.do(t, "GET /exit", "")
	var trap *wasm.TrapError
	if !errors.As(err, &trap) {
		t.Errorf("got %v, want a TrapError", err)
	}
	if _, err := k.do(t, "GET /memory", ""); !errors.As(err, &trap) {
		t.Errorf("an instance has no limit of memory: %v", err)
	}
	group.Wait()
	if s := k.Stats(); s.Traps != 2 || s.LastError == "" {
		t.Errorf("afterwards: %+v", s)
	}
}

// TestFreshIsBounded: further requests wait their turn, and no longer than they have time; too many are refused.
func TestFreshIsBounded(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) { o.Fresh, o.Instances, o.InFlight = true, 2, 1 })
	ctx, leave := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			if err := k.Serve(ctx, k.request(t, "GET /hang", nil), &answer{}); !errors.Is(err, wasm.ErrGone) {
				t.Errorf("the client left, and it says %v", err)
			}
		})
	}
	soon(t, func() bool { return k.Stats().Instances == 2 })
	late := k.request(t, "GET /word", nil)
	late.Timeout = 20 * time.Millisecond
	if err := k.Serve(t.Context(), late, &answer{}); !errors.Is(err, wasm.ErrNoWorker) {
		t.Errorf("a request that waited for too long: %v", err)
	}
	group.Go(func() { k.must(t, "GET /word", "") })
	soon(t, func() bool { return k.Stats().InFlight == 3 })
	if _, err := k.do(t, "GET /word", ""); !errors.Is(err, wasm.ErrFull) {
		t.Errorf("one request more than may wait: %v", err)
	}
	leave()
	group.Wait()
}

// TestCloseEndsFreshInstances: those that run, and requests that wait for one.
func TestCloseEndsFreshInstances(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) { o.Fresh, o.Instances = true, 1 })
	errs := make(chan error, 3)
	for range 3 {
		go func() {
			_, err := k.do(t, "GET /hang", "")
			errs <- err
		}()
	}
	soon(t, func() bool { s := k.Stats(); return s.Instances == 1 && s.InFlight == 3 })
	k.Close()
	for range 3 {
		if err := <-errs; !errors.Is(err, wasm.ErrStopped) {
			t.Errorf("got %v, want ErrStopped", err)
		}
	}
}

// soon waits for what another goroutine is about to do.
func soon(t testing.TB, done func() bool) {
	t.Helper()
	waitFor(t, "it comes to that", done)
}

// TestTimeoutOfAComputingInstance: the goroutine of Serve polls the guest, so somebody else has to look at the request's time.
func TestTimeoutOfAComputingInstance(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) { o.CPU, o.Fresh = time.Minute, true })
	r := k.request(t, "GET /loop", nil)
	r.Timeout = 100 * time.Millisecond
	if err := k.Serve(t.Context(), r, &answer{}); !errors.Is(err, wasm.ErrTimeout) {
		t.Errorf("got %v, want ErrTimeout", err)
	}
}
