package wasm_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// TestWithdrawnRequestsEnd: before the head, within a stream that the guest writes, and within one that is piped. The worker serves on.
func TestWithdrawnRequestsEnd(t *testing.T) {
	why := errors.New("the key is gone")
	ended := make(chan struct{}, 1)
	k := startKitchen(t, fetching(func(ctx context.Context, _ *wasm.Operation) (*wasm.Reply, error) {
		context.AfterFunc(ctx, func() { ended <- struct{}{} })
		return &wasm.Reply{Status: 200, Body: &untilDone{ctx: ctx}, Length: -1}, nil
	}))
	for _, c := range []struct {
		target        string
		head, fetches bool
	}{
		{"GET /hang", false, false},
		{"GET /stream?n=1000000000", true, false},
		{"GET /pipe?path=/", true, true},
	} {
		valid, withdraw := context.WithCancelCause(t.Context())
		req := k.request(t, c.target, nil)
		req.Valid, req.Timeout = valid, 0
		out := &answer{}
		if c.head {
			out.onHead = func() { withdraw(why) }
		} else {
			withdraw(why)
		}
		err := k.Serve(t.Context(), req, out)
		if !errors.Is(err, wasm.ErrWithdrawn) || !errors.Is(err, why) || errors.Is(err, wasm.ErrAborted) != c.head {
			t.Errorf("%s: %v", c.target, err)
		}
		if c.fetches {
			<-ended
		}
		k.must(t, "GET /word", "")
	}
	if s := k.Stats(); s.InFlight != 0 || s.Traps != 0 || s.Workers != 1 {
		t.Errorf("%+v", s)
	}
}

// TestPipeThatWaitsForABodyEnds, with the one who asked and with the time for the head, though nothing comes of the read that is under way.
func TestPipeThatWaitsForABodyEnds(t *testing.T) {
	gone := errors.New("the key is gone")
	for _, why := range []error{gone, wasm.ErrTimeout} {
		b := &slowStart{closed: make(chan struct{})}
		piped := make(chan struct{}, 1)
		k := startC(t, "testdata/evade/latepipe.c", []string{"GET /"}, func(o *wasm.Options) {
			o.Log = slog.New(&signalling{slog.NewTextHandler(io.Discard, nil), piped})
			fetching(func(ctx context.Context, _ *wasm.Operation) (*wasm.Reply, error) {
				b.more = ctx.Done()
				return &wasm.Reply{Status: 200, Body: b, Length: -1}, nil
			})(o)
		})
		valid, withdraw := context.WithCancelCause(t.Context())
		req := k.request(t, "GET /", nil)
		req.Valid, req.Timeout = valid, 0
		if why == wasm.ErrTimeout {
			req.Timeout = 500 * time.Millisecond
		}
		done := make(chan error, 1)
		go func() { done <- k.Serve(t.Context(), req, &answer{}) }()
		if why == gone {
			<-piped
			time.Sleep(50 * time.Millisecond) // as a rule the pipe waits by now; the request is to end in any case
			withdraw(why)
		}
		if err := <-done; !errors.Is(err, why) || errors.Is(err, wasm.ErrWithdrawn) != (why == gone) {
			t.Errorf("got %v, want %v", err, why)
		}
		if why == gone { // on a slow machine the time may be over before anything was fetched
			<-b.closed
		}
		withdraw(nil)
	}
}
