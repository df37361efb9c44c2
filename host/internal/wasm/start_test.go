package wasm_test

import (
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// TestStart: how workers begin is told.
func TestStart(t *testing.T) {
	for want, change := range map[string]func(*wasm.Options){
		"snapshot":          nil,
		"plain: configured": func(o *wasm.Options) { o.PlainStart = true },
	} {
		if got := startKitchen(t, change).Stats().Start; got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
}

// BenchmarkStart is a worker that begins plainly, with its configuration and until READY, beside one that begins as a copy of it. Both are
// started for one request, of which the time is part.
func BenchmarkStart(b *testing.B) {
	for name, plain := range map[string]bool{"plain": true, "snapshot": false} {
		k := startKitchen(b, func(o *wasm.Options) { o.Fresh, o.PlainStart = true, plain })
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				k.must(b, "GET /noop", "")
			}
		})
	}
}
