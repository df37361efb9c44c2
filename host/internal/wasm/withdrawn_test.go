package wasm_test

import (
	"context"
	"errors"
	"testing"

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
