package wasm_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

const mib = 1 << 20

func startBodies(t *testing.T, change func(*wasm.Options)) *kitchen {
	t.Helper()
	return startC(t, "testdata/bodies/guest.c", []string{"GET /in", "GET /whole", "GET /pieces", "GET /pipe", "GET /hold", "POST /up"}, func(o *wasm.Options) {
		o.Memory = 4 * mib
		change(o)
	})
}

// counted is a body of n bytes that counts what was read of all of them.
type counted struct {
	io.Reader
	read *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func (counted) Close() error { return nil }

// gated is a request's body that says when more than its first bytes is asked for, and gives that when it may.
type gated struct {
	counted
	given            int
	started, release chan struct{}
}

func (g *gated) Read(p []byte) (int, error) {
	if g.given == abi.RequestCredit {
		g.started <- struct{}{}
		<-g.release
	}
	n, err := g.counted.Read(p)
	g.given += n
	return n, err
}

func (*gated) Duplex() {}

// TestBodiesThatNobodyTakes: a guest has given credit for 20 MiB, and takes nothing for a while. The host reads no more than
// limits.memory of it, and a piece that waits of each; then all of it arrives.
func TestBodiesThatNobodyTakes(t *testing.T) {
	const n, size = 20, 2 * mib
	for _, target := range []string{"GET /in", "POST /up"} {
		g := &gate{slog.NewTextHandler(io.Discard, nil), make(chan struct{}), make(chan struct{})}
		started, release := make(chan struct{}), make(chan struct{})
		var read atomic.Int64
		fresh := func() counted { return counted{strings.NewReader(strings.Repeat("x", size)), &read} }
		k := startBodies(t, func(o *wasm.Options) {
			o.Log = slog.New(g)
			fetching(func(context.Context, *wasm.Operation) (*wasm.Reply, error) {
				started <- struct{}{}
				<-release
				return &wasm.Reply{Status: 200, Body: fresh(), Length: -1}, nil
			})(o)
		})
		var all []*running
		var answers []*answer
		for range n {
			a, body := &answer{}, wasm.Body(nil)
			if target == "POST /up" {
				body = &gated{counted: fresh(), started: started, release: release}
			}
			all, answers = append(all, begin(t, k, target, body, a)), append(answers, a)
			<-started
		}
		before := read.Load() // of requests' bodies, what came with them
		busy := begin(t, k, "GET /hold", nil, &answer{})
		<-g.held
		close(release)
		// Four may have used up their credit. The others wait for room.
		waitFor(t, "the bodies wait for room", func() bool { return k.Stats().Limits["bodies"] >= n-4 })
		if got := read.Load() - before; got > 4*mib+n*32<<10 || got < 3*mib {
			t.Errorf("%s: %d KiB were read for a guest that takes nothing", target, got>>10)
		}
		close(g.release)
		for i, r := range append(all, busy) {
			if err := <-r.done; err != nil {
				t.Errorf("%s, request %d: %v", target, i, err)
			}
		}
		for i, a := range answers {
			if got := a.body.String(); got != fmt.Sprint(size) {
				t.Errorf("%s, request %d: %s bytes have arrived", target, i, got)
			}
		}
	}
}

// TestBodiesThatNobodyPassesOn: four bodies of 1 MiB that the guest has handed over are all that limits.memory allows, whoever is
// to take them, and they count for no longer than they are there.
func TestBodiesThatNobodyPassesOn(t *testing.T) {
	const limit = 4
	for _, target := range []string{"GET /whole", "GET /pieces", "GET /pipe"} {
		t.Run(target, func(t *testing.T) {
			started, release := make(chan struct{}), make(chan struct{})
			k := startBodies(t, fetching(func(ctx context.Context, in *wasm.Operation) (*wasm.Reply, error) {
				if target != "GET /pipe" {
					started <- struct{}{}
					select {
					case <-release:
					case <-ctx.Done():
					}
				}
				if in.Stream != nil {
					if n, err := io.CopyN(io.Discard, in.Stream, mib); err != nil {
						return nil, fmt.Errorf("%d bytes came: %w", n, err)
					}
				}
				return text("x", 1)(ctx, in)
			}))
			hold := func() *running {
				if target == "GET /pipe" {
					a := newStuck()
					a.release = release
					r := begin(t, k, target, nil, a)
					<-a.begun
					if a.status != 200 {
						t.Errorf("status %d", a.status)
					}
					return r
				}
				for end := time.Now().Add(time.Minute); ; {
					r := begin(t, k, target, nil, &answer{})
					select {
					case <-started:
						return r
					case <-r.done: // refused: a request that was given up is over a moment before its fetch is
						if time.Now().After(end) {
							t.Fatal("there is no room for what there was room for before")
						}
					}
				}
			}
			for round := range 3 {
				var all []*running
				for range limit {
					all = append(all, hold())
				}
				before := k.Stats().Limits["bodies"]
				a, err := k.do(t, target, "")
				if want := fmt.Sprint(uint32(abi.Limit)); err != nil || a.status != 503 || a.body.String() != want {
					t.Errorf("round %d: one more: %d %q, error %v", round, a.status, a.body.String(), err)
				}
				if hits := k.Stats().Limits["bodies"] - before; hits != 1 {
					t.Errorf("round %d: %d hits", round, hits)
				}
				if round == 0 { // those of a client that leaves are let go too
					for _, r := range all {
						r.cancel()
					}
				}
				close(release)
				for _, r := range all {
					if err := <-r.done; err != nil && round > 0 {
						t.Errorf("round %d: %v", round, err)
					}
				}
				release = make(chan struct{})
			}
		})
	}
}

// halfway is a client that takes half a body before it is stuck, and is gone when it is released.
type halfway struct {
	*stuck
	taken int
}

func (h *halfway) Write(p []byte) error {
	if h.taken += len(p); h.status == 200 && h.taken <= mib/2 {
		return nil
	}
	_ = h.stuck.Write(p)
	return io.ErrClosedPipe
}

// TestPipedBodiesCountWhileTheyAreThere: what a client has taken makes room, and what one has not when it leaves.
func TestPipedBodiesCountWhileTheyAreThere(t *testing.T) {
	k := startBodies(t, fetching(text("x", 1)))
	for range 3 {
		var all []*running
		release := make(chan struct{})
		for range 6 { // as half of each is gone
			h := &halfway{stuck: newStuck()}
			h.release = release
			all = append(all, begin(t, k, "GET /pipe", nil, h))
			<-h.begun
			if h.status != 200 {
				t.Errorf("status %d", h.status)
			}
		}
		close(release)
		for _, r := range all {
			<-r.done
		}
	}
}

// TestManyFetchesOfAnHonestGuest: answers that come all at once pass through a Go guest's worker of 64 MiB, though the credits of
// 1,000 are as much, and the bytes of 100 are more.
func TestManyFetchesOfAnHonestGuest(t *testing.T) {
	for _, c := range []struct{ n, size int }{{1000, 16 << 10}, {100, mib}} {
		started, release := make(chan struct{}), make(chan struct{})
		body := strings.Repeat("0123456789abcdef", c.size/16)
		k := startKitchen(t, fetching(func(ctx context.Context, in *wasm.Operation) (*wasm.Reply, error) {
			started <- struct{}{}
			<-release
			return text(body, -1)(ctx, in)
		}))
		var all []*running
		var answers []*answer
		for range c.n {
			a := &answer{}
			all, answers = append(all, begin(t, k, "GET /fetch?path=/", nil, a)), append(answers, a)
			<-started
		}
		close(release)
		for i, r := range all {
			if err := <-r.done; err != nil || answers[i].body.String() != body {
				t.Fatalf("request %d of %d: %d bytes, error %v", i, c.n, answers[i].body.Len(), err)
			}
		}
	}
}
