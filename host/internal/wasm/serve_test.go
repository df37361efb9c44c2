package wasm_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

func TestServe(t *testing.T) {
	k := startKitchen(t, nil)
	for _, c := range []struct{ target, body, want string }{
		{"GET /noop", "", ""},
		{"GET /word", "", "hello"},
		{"POST /echo", "short", "short"},
		{"POST /echo", strings.Repeat("long ", 200_000), strings.Repeat("long ", 200_000)},
		{"POST /count", strings.Repeat("x", 3<<20), fmt.Sprint(3 << 20)},
		{"GET /sleep?for=5ms", "", "slept"},
		{"GET /stream?n=3", "", "piece 0\npiece 1\npiece 2\n"},
		{"GET /big?n=700000", "", strings.Repeat("0123456789abcdef", 43750)},
	} {
		t.Run(c.target, func(t *testing.T) {
			if got := k.must(t, c.target, c.body); got != c.want {
				t.Errorf("got %d bytes, want %d", len(got), len(c.want))
			}
		})
	}
}

func TestStreamIsFlushedPieceByPiece(t *testing.T) {
	k := startKitchen(t, nil)
	a, err := k.do(t, "GET /stream?n=5", "")
	if err != nil || len(a.writes) != 5 || a.length != -1 {
		t.Errorf("%d writes %q, length %d, error %v; want one a piece", len(a.writes), a.writes, a.length, err)
	}
}

func TestManyAtOnceInOneWorker(t *testing.T) {
	const n = 2000
	arrived, release := make(chan struct{}, n), make(chan struct{})
	k := startKitchen(t, func(o *wasm.Options) {
		o.InFlight = n
		fetching(func(ctx context.Context, _ *wasm.Operation) (*wasm.Reply, error) {
			arrived <- struct{}{}
			<-release
			return text("here", 4)(ctx, nil)
		})(o)
	})
	var all sync.WaitGroup
	var wrong atomic.Int64
	for range n {
		all.Go(func() {
			if a, err := k.do(t, "GET /fetch?path=/", ""); err != nil || a.body.String() != "here" {
				wrong.Add(1)
			}
		})
	}
	for range n {
		<-arrived
	}
	if s := k.Stats(); s.Workers != 1 || s.InFlight != n {
		t.Errorf("%d workers hold %d requests, want 1 and %d", s.Workers, s.InFlight, n)
	}
	close(release)
	all.Wait()
	if wrong.Load() > 0 {
		t.Errorf("%d of %d were not answered", wrong.Load(), n)
	}
}

func TestFullIsRefused(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) { o.InFlight = 1 })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- k.Serve(ctx, k.request(t, "GET /hang", nil), &answer{}) }()
	for k.Stats().InFlight == 0 {
		time.Sleep(time.Millisecond)
	}
	for { // it is in flight a little before it is in its worker
		if _, err := k.do(t, "GET /word", ""); errors.Is(err, wasm.ErrFull) {
			break
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, wasm.ErrGone) {
		t.Errorf("the client left: %v", err)
	}
	k.must(t, "GET /word", "")
}

func TestTimeoutCancelsOneRequest(t *testing.T) {
	k := startKitchen(t, nil)
	req := k.request(t, "GET /hang", nil)
	req.Timeout = 20 * time.Millisecond
	if err := k.Serve(t.Context(), req, &answer{}); !errors.Is(err, wasm.ErrTimeout) {
		t.Errorf("got %v, want ErrTimeout", err)
	}
	k.must(t, "GET /word", "")
	if s := k.Stats(); s.Traps != 0 || s.Workers != 1 {
		t.Errorf("the worker paid for it: %+v", s)
	}
}

func TestClientGoneEndsTheFetch(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	k := startKitchen(t, fetching(func(ctx context.Context, _ *wasm.Operation) (*wasm.Reply, error) {
		close(begun)
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	}))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- k.Serve(ctx, k.request(t, "GET /fetch?path=/", nil), &answer{}) }()
	<-begun
	cancel()
	<-ended
	if err := <-done; !errors.Is(err, wasm.ErrGone) {
		t.Errorf("got %v, want ErrGone", err)
	}
}

func TestClientThatDoesNotReadEndsTheStream(t *testing.T) {
	k := startKitchen(t, nil)
	a := &answer{refuse: errors.New("nobody reads")}
	if err := k.Serve(t.Context(), k.request(t, "GET /stream?n=1000000", nil), a); !errors.Is(err, wasm.ErrGone) || !errors.Is(err, wasm.ErrAborted) {
		t.Errorf("got %v, want ErrGone and ErrAborted", err)
	}
	k.must(t, "GET /word", "")
}

func TestSlowClientHoldsTheGuestBack(t *testing.T) {
	k := startKitchen(t, nil)
	largest := 0
	a := &answer{onHead: func() { time.Sleep(50 * time.Millisecond) }} // the guest has time to run ahead
	req := k.request(t, "GET /big?n=4000000", nil)
	req.Streams = true
	if err := k.Serve(t.Context(), req, a); err != nil {
		t.Fatal(err)
	}
	for _, w := range a.writes {
		largest = max(largest, len(w))
	}
	if a.body.Len() < 4_000_000 || largest > 256<<10 {
		t.Errorf("%d bytes, at most %d of them buffered; the credit is 256 KiB", a.body.Len(), largest)
	}
}

// slowBody is longer than the guest's credit and counts what was read of it.
type slowBody struct {
	read   atomic.Int64
	closed chan struct{}
}

func (b *slowBody) Read(p []byte) (int, error) {
	select {
	case <-b.closed:
		return 0, io.ErrClosedPipe
	default:
		b.read.Add(int64(len(p)))
		return len(p), nil
	}
}
func (b *slowBody) Close() error { close(b.closed); return nil }
func (b *slowBody) Duplex()      {}

func TestBodyIsReadUnderCredit(t *testing.T) {
	k := startKitchen(t, nil)
	b := &slowBody{closed: make(chan struct{})}
	req := k.request(t, "GET /hang", b)
	req.Timeout = 50 * time.Millisecond
	if err := k.Serve(t.Context(), req, &answer{}); !errors.Is(err, wasm.ErrTimeout) {
		t.Fatal(err)
	}
	if n := b.read.Load(); n > 128<<10 {
		t.Errorf("%d bytes were read for a guest that asked for none", n)
	}
}

type failingBody struct{ textBody }

func (b *failingBody) Read(p []byte) (int, error) {
	n, err := b.textBody.Read(p)
	if err == io.EOF {
		err = &wasm.LimitError{Limit: 7}
	}
	return n, err
}

func TestBodyOverItsLimit(t *testing.T) {
	k := startKitchen(t, nil)
	for _, size := range []int{10, 1 << 20} { // before the guest sees it, and while it reads
		b := &failingBody{textBody{strings.NewReader(strings.Repeat("x", size))}}
		a := &answer{}
		err := k.Serve(t.Context(), k.request(t, "POST /count", b), a)
		var over *wasm.LimitError
		if !errors.As(err, &over) && a.status != 413 {
			t.Errorf("%d bytes: status %d, error %v; want 413 or a LimitError", size, a.status, err)
		}
	}
}

func TestAnswerOverItsLimit(t *testing.T) {
	k := startKitchen(t, nil)
	var over *wasm.AnswerError
	if _, err := k.do(t, "GET /big?n=4000000", ""); !errors.As(err, &over) {
		t.Errorf("got %v, want an AnswerError", err)
	}
	k.must(t, "GET /word", "")
}

func TestDrain(t *testing.T) {
	held, release := make(chan struct{}), make(chan struct{})
	k := startKitchen(t, fetching(func(ctx context.Context, in *wasm.Operation) (*wasm.Reply, error) {
		held <- struct{}{}
		<-release
		return text("fetched", 7)(ctx, in)
	}))
	a := &answer{}
	r := begin(t, k, "GET /fetch?path=/", nil, a)
	<-held
	drained := make(chan error, 1)
	go func() { drained <- k.Drain(t.Context()) }()
	waitFor(t, "the pool drains", func() bool { return k.Stats().Draining })
	select {
	case <-time.After(20 * time.Millisecond):
	case err := <-drained:
		t.Errorf("it did not wait for the request in flight: %v", err)
		drained <- nil
	}
	close(release)
	if err := <-r.done; err != nil || a.body.String() != "fetched" {
		t.Errorf("the request in flight got %q, error %v", a.body.String(), err)
	}
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	if _, err := k.do(t, "GET /word", ""); !errors.Is(err, wasm.ErrDraining) {
		t.Errorf("a new request got %v, want ErrDraining", err)
	}
}

func TestHammer(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) {
		o.Workers = 3
		fetching(text("fetched", -1))(o)
	})
	targets := []string{"GET /noop", "GET /word", "GET /fetch?path=/", "GET /sleep?for=1ms", "GET /stream?n=3", "GET /hang", "GET /panic", "GET /exit"}
	var all sync.WaitGroup
	for worker := range 16 {
		all.Go(func() {
			for i := range 60 {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				target := targets[(worker+i)%len(targets)]
				if target == "GET /exit" && i%20 != 0 {
					target = "GET /noop"
				}
				req := k.request(t, target, nil)
				if target != "GET /exit" { // which must not strike when all is over
					req.Timeout = 10 * time.Millisecond
				}
				_ = k.Serve(ctx, req, &answer{})
				cancel()
			}
		})
	}
	all.Wait()
	if s := k.Stats(); s.InFlight != 0 {
		t.Errorf("%d requests are still in flight", s.InFlight)
	}
	k.must(t, "GET /word", "")
}
