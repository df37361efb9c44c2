package wasm_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// TestPoisonCostsItselfAlone: after some traps a request that makes the guest trap takes no other with it, and after a quiet time workers are
// shared again.
func TestPoisonCostsItselfAlone(t *testing.T) {
	held, release := make(chan struct{}), make(chan struct{})
	k := startKitchen(t, func(o *wasm.Options) {
		o.Faults = wasm.Faults{Quiet: time.Hour}
		fetching(func(ctx context.Context, in *wasm.Operation) (*wasm.Reply, error) {
			held <- struct{}{}
			<-release
			return text("fetched", 7)(ctx, in)
		})(o)
	})
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
	slow := begin(t, k, "GET /fetch?path=/", nil, &answer{})
	<-held
	for range 5 {
		poison()
		if got := k.must(t, "GET /count", ""); got != "1" {
			t.Errorf("it counts %s: it was not alone", got)
		}
	}
	close(release)
	if err := <-slow.done; err != nil {
		t.Errorf("another request: %v", err)
	}
	k.Later(time.Hour)
	if got := k.Stats().Mode; got != "shared" {
		t.Errorf("after a quiet time: %s", got)
	}
	k.must(t, "GET /count", "")
	if got := k.must(t, "GET /count", ""); got != "2" {
		t.Errorf("after a quiet time it counts %s", got)
	}
}

// TestTrapsOnEverything: requests are refused and told when to come back; one is tried, and its answer ends that.
func TestTrapsOnEverything(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) {
		o.Faults = wasm.Faults{Traps: 1, Row: 2, Quiet: 3 * time.Hour, Rest: time.Hour, RestMax: time.Hour}
	})
	var open *wasm.OpenError
	for range 3 {
		if _, err := k.do(t, "GET /exit", ""); err == nil || errors.As(err, &open) {
			t.Fatalf("got %v, want a trap", err)
		}
	}
	if _, err := k.do(t, "GET /word", ""); !errors.As(err, &open) || k.Stats().Mode != "open" {
		t.Fatalf("got %v, want an OpenError; the plugin is %s", err, k.Stats().Mode)
	}
	k.Later(open.RetryAfter)
	if got := k.must(t, "GET /word", ""); got != "hello" {
		t.Errorf("the one that tries: %q", got)
	}
	if got := k.Stats().Mode; got != "degraded" {
		t.Errorf("after an answer the plugin is %s", got)
	}
}

// slowUpload is a body that comes to its end when the gate opens.
type slowUpload struct{ begun, gate chan struct{} }

func (s *slowUpload) Read([]byte) (int, error) { close(s.begun); <-s.gate; return 0, io.EOF }
func (s *slowUpload) Close() error             { return nil }
func (s *slowUpload) Duplex()                  {}

// TestSlowUploadHoldsNoBreakerOpen: while one client, whose request is to find out whether the plugin answers again, sends its body slowly, others may try.
func TestSlowUploadHoldsNoBreakerOpen(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) {
		o.Fresh = true
		o.Faults = wasm.Faults{Row: 1, Rest: time.Millisecond, RestMax: 2 * time.Millisecond}
	})
	_, _ = k.do(t, "GET /exit", "")
	time.Sleep(10 * time.Millisecond)
	b := &slowUpload{make(chan struct{}), make(chan struct{})}
	done := make(chan struct{})
	go func() { defer close(done); _ = k.Serve(t.Context(), k.request(t, "POST /echo", b), &answer{}) }()
	<-b.begun
	time.Sleep(50 * time.Millisecond) // 25 times RestMax
	_, err := k.do(t, "GET /word", "")
	close(b.gate)
	<-done
	if err != nil {
		t.Errorf("a while later: %v", err)
	}
}

// TestStreamHoldsNoBreakerOpen: nor while that one is answered by a stream.
func TestStreamHoldsNoBreakerOpen(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) {
		o.Fresh = true
		o.Faults = wasm.Faults{Row: 1, Rest: time.Millisecond, RestMax: 2 * time.Millisecond}
	})
	_, _ = k.do(t, "GET /exit", "")
	time.Sleep(10 * time.Millisecond)
	ctx, leave := context.WithCancel(t.Context())
	head, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_ = k.Serve(ctx, k.request(t, "GET /stream?n=100000", nil), &answer{onHead: func() { close(head) }})
	}()
	<-head
	time.Sleep(50 * time.Millisecond)
	_, err := k.do(t, "GET /word", "")
	leave()
	<-done
	if err != nil {
		t.Errorf("a while after the probe's head: %v", err)
	}
}
