package wasm_test

import (
	"errors"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// TestPoisonCostsItselfAlone: after some traps a request that makes the guest trap takes no other with it, and after a quiet time workers are
// shared again.
func TestPoisonCostsItselfAlone(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) { o.Faults = wasm.Faults{Quiet: time.Second} })
	poison := func() {
		t.Helper()
		var trap *wasm.TrapError
		if _, err := k.do(t, "GET /exit", ""); !errors.As(err, &trap) {
			t.Fatalf("got %v, want a TrapError", err)
		}
	}
	for range 3 {
		poison()
	}
	if got := k.Stats().Mode; got != "degraded" {
		t.Fatalf("after three traps: %s", got)
	}
	slow := make(chan error, 1)
	go func() {
		_, err := k.do(t, "GET /sleep?for=100ms", "")
		slow <- err
	}()
	soon(t, func() bool { return k.Stats().Instances == 1 })
	for range 5 {
		poison()
		if got := k.must(t, "GET /count", ""); got != "1" {
			t.Errorf("it counts %s: it was not alone", got)
		}
	}
	if err := <-slow; err != nil {
		t.Errorf("another request: %v", err)
	}
	soon(t, func() bool { return k.Stats().Mode == "shared" })
	k.must(t, "GET /count", "")
	if got := k.must(t, "GET /count", ""); got != "2" {
		t.Errorf("after a quiet time it counts %s", got)
	}
}

// TestTrapsOnEverything: requests are refused and told when to come back; one is tried, and its answer ends that.
func TestTrapsOnEverything(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) { o.Faults = wasm.Faults{Traps: 1, Row: 2, Rest: 20 * time.Millisecond} })
	var open *wasm.OpenError
	for range 3 {
		if _, err := k.do(t, "GET /exit", ""); err == nil || errors.As(err, &open) {
			t.Fatalf("got %v, want a trap", err)
		}
	}
	if _, err := k.do(t, "GET /word", ""); !errors.As(err, &open) || k.Stats().Mode != "open" {
		t.Fatalf("got %v, want an OpenError; the plugin is %s", err, k.Stats().Mode)
	}
	time.Sleep(open.RetryAfter + time.Millisecond)
	if got := k.must(t, "GET /word", ""); got != "hello" {
		t.Errorf("the one that tries: %q", got)
	}
	if got := k.Stats().Mode; got != "degraded" {
		t.Errorf("after an answer the plugin is %s", got)
	}
}
