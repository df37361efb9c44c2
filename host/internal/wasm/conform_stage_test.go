package wasm_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// conformBothWays sends the next piece of a body only when the client has the one before: it must flow both ways at once. The
// first piece is what the host gathers before it wakes a guest.
func conformBothWays(t *testing.T, s *subject) {
	for _, route := range []string{"POST /echo", "POST /relay"} {
		k := s.start(t, fetching(func(_ context.Context, in *wasm.Operation) (*wasm.Reply, error) {
			return &wasm.Reply{Status: 200, Body: io.NopCloser(in.Stream), Length: -1}, nil
		}))
		in, out := io.Pipe()
		a := &arrivals{came: make(chan string)}
		req := k.request(t, route, &pipedBody{in})
		req.Timeout = 0
		done := make(chan error, 1)
		go func() { done <- k.Serve(t.Context(), req, a) }()
		for i := range 20 {
			piece := fmt.Sprintf("piece %d", i)
			if i == 0 {
				piece = letters(abi.RequestCredit)
			}
			io.WriteString(out, piece)
			got := ""
			for len(got) < len(piece) {
				got += <-a.came
			}
			if got != piece {
				t.Fatalf("%s: piece %d of %d bytes came as %d others", route, i, len(piece), len(got))
			}
		}
		out.Close()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", route, err)
		}
	}
}

// pipedBody is a request's body that the test writes.
type pipedBody struct{ *io.PipeReader }

func (*pipedBody) Duplex() {}

// conformFetchHeaders fills the field block of a fetch's answer to the last byte. One byte more is an error that the guest hears of.
func conformFetchHeaders(t *testing.T, s *subject) {
	var fields []abi.Field
	k := s.start(t, fetching(func(context.Context, *wasm.Operation) (*wasm.Reply, error) {
		return &wasm.Reply{Status: 200, Fields: fields, Body: io.NopCloser(strings.NewReader("body")), Length: 4}, nil
	}))
	for i := range 64 {
		fields = append(fields, abi.Field{Name: fmt.Sprintf("x-%02d", i), Value: strings.Repeat("v", 1000)})
	}
	room := abi.MaxBlock - abi.BlockSize(fields) - 8 - len("x-last")
	fields = append(fields, abi.Field{Name: "x-last", Value: strings.Repeat("l", room)})
	a, err := k.do(t, "GET /fetch?path=/", "")
	if err != nil || a.status != 200 || a.body.String() != "body" || abi.Get(a.fields, "x-63") != fields[63].Value || abi.Get(a.fields, "x-last") != fields[64].Value {
		t.Errorf("%d with %d fields, error %v", a.status, len(a.fields), err)
	}
	fields[64].Value += "l"
	if a, err := k.do(t, "GET /fetch?path=/", ""); err != nil || a.status != 502 || a.body.String() != fmt.Sprint(int(abi.TooLarge)) {
		t.Errorf("a byte too many: %d %q, error %v", a.status, a.body.String(), err)
	}
}

// conformAbandon has the guest give up a fetch of a request that goes on. The call to the outside ends, and what it still says
// does not become the result of the fetch that came after it.
func conformAbandon(t *testing.T, s *subject) {
	type fetch struct {
		ctx     context.Context
		release chan string
		closed  chan struct{}
	}
	started := make(chan *fetch)
	k := s.start(t, fetching(func(ctx context.Context, _ *wasm.Operation) (*wasm.Reply, error) {
		f := &fetch{ctx, make(chan string), make(chan struct{})}
		started <- f
		body := <-f.release // whatever the context says
		return &wasm.Reply{Status: 200, Body: &noted{strings.NewReader(body), f.closed}, Length: int64(len(body))}, nil
	}))
	for range 20 {
		a := &answer{}
		r := begin(t, k, "GET /abandon?path=/", nil, a)
		first, second := <-started, <-started
		select { // the two calls may reach the outside in any order
		case <-first.ctx.Done():
		case <-second.ctx.Done():
			first, second = second, first
		}
		first.release <- "what was given up"
		<-first.closed
		second.release <- "its own"
		if err := <-r.done; err != nil || a.body.String() != "its own" {
			t.Fatalf("got %q, error %v", a.body.String(), err)
		}
	}
}

// conformDrain lets requests end that the guest holds when it is told that no more will come.
func conformDrain(t *testing.T, s *subject) {
	started, release := make(chan struct{}), make(chan struct{})
	k := s.start(t, fetching(func(ctx context.Context, in *wasm.Operation) (*wasm.Reply, error) {
		started <- struct{}{}
		<-release
		return text("after all", -1)(ctx, in)
	}))
	answers := make([]answer, 3)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			if err := k.Serve(t.Context(), k.request(t, "GET /fetch?path=/", nil), &answers[i]); err != nil {
				t.Error(err)
			}
		})
		<-started
	}
	drained := make(chan error, 1)
	go func() { drained <- k.Drain(t.Context()) }()
	waitFor(t, "the pool drains", func() bool { return k.Stats().Draining })
	if err := k.Serve(t.Context(), k.request(t, "GET /config", nil), &answer{}); !errors.Is(err, wasm.ErrDraining) {
		t.Errorf("a request that came later: %v", err)
	}
	close(release)
	all.Wait()
	if err := <-drained; err != nil {
		t.Error(err)
	}
	for _, a := range answers {
		if a.body.String() != "after all" {
			t.Errorf("got %d %q", a.status, a.body.String())
		}
	}
}

// conformFresh has each request answered by an instance of its own, which begins as a copy of one that was ready: what a guest set up
// before serves on, and nothing of other requests is there.
func conformFresh(t *testing.T, s *subject) {
	k := s.start(t, func(o *wasm.Options) {
		o.Fresh, o.Config = true, []byte(`{"word":"copied"}`)
		fetching(text("fetched", -1))(o)
	})
	if got := k.Stats().Start; got != "snapshot" {
		t.Errorf("it starts %q", got)
	}
	body := letters(300_000)
	for target, c := range map[string]struct{ body, want string }{
		"GET /config":       {"", `{"word":"copied"}`},
		"POST /echo":        {body, body},
		"GET /sleep?ms=3":   {"", "slept"},
		"GET /fetch?path=/": {"", "fetched"},
		"GET /pipe?path=/":  {"", "fetched"},
	} {
		for range 3 {
			if got := k.must(t, target, c.body); got != c.want {
				t.Errorf("%s gave %.100q", target, got)
			}
		}
	}
	if c := count(t, k); c.seen != 1 {
		t.Errorf("an instance has seen %d requests", c.seen)
	}
}
