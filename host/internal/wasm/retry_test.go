package wasm_test

import (
	"context"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// TestIdempotentAndRetryAfter is what a guest says of a call, and what it hears of one that was not made.
func TestIdempotentAndRetryAfter(t *testing.T) {
	marks := make(chan string, 1)
	k := startKitchen(t, fetching(func(_ context.Context, in *wasm.Operation) (*wasm.Reply, error) {
		marks <- abi.Get(in.Fields, ":idempotent")
		return nil, &abi.Error{Code: abi.Unavailable, Text: "down", Retry: 1500 * time.Millisecond}
	}))
	for target, want := range map[string]string{"GET /fetch?path=/": "", "GET /fetch?path=/&idempotent=1": "1"} {
		a, err := k.do(t, target, "")
		if err != nil || a.status != 503 || abi.Get(a.fields, "retry-after") != "2" {
			t.Errorf("%s: %v, status %d, %v, want 503 and when to come back", target, err, a.status, a.fields)
		}
		if got := <-marks; got != want {
			t.Errorf("%s: :idempotent is %q, want %q", target, got, want)
		}
	}
}
