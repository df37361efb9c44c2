package wasm_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// endless is a body that never ends and counts what was read of it.
type endless struct {
	read   atomic.Int64
	once   sync.Once
	closed chan struct{}
}

func newEndless() *endless { return &endless{closed: make(chan struct{})} }

func (e *endless) Read(p []byte) (int, error) {
	select {
	case <-e.closed:
		return 0, io.ErrClosedPipe
	default:
		e.read.Add(int64(len(p)))
		return len(p), nil
	}
}

func (e *endless) Close() error {
	e.once.Do(func() { close(e.closed) })
	return nil
}
func (*endless) Duplex() {}

// waitFor waits until is says so, and fails when it does not come to that.
func waitFor(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// running is a request under way that the test ends.
type running struct {
	cancel context.CancelFunc
	done   chan error
}

func begin(t testing.TB, k *kitchen, target string, body wasm.Body, sink wasm.Sink) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{cancel, make(chan error, 1)}
	req := k.request(t, target, body)
	req.Timeout, req.Streams = 0, true
	go func() { r.done <- k.Serve(ctx, req, sink) }()
	return r
}

// leave is the client going away. It is the only fault that the request may end with.
func (r *running) leave(t testing.TB) {
	t.Helper()
	r.cancel()
	if err := <-r.done; !errors.Is(err, wasm.ErrGone) {
		t.Errorf("got %v, want ErrGone", err)
	}
}

// stuck is a client that takes nothing until it is released.
type stuck struct {
	answer
	begun, release chan struct{}
	largest        int
}

func newStuck() *stuck { return &stuck{begun: make(chan struct{}), release: make(chan struct{})} }

func (s *stuck) Write(p []byte) error {
	if s.largest == 0 {
		close(s.begun)
	}
	s.largest = max(s.largest, len(p))
	<-s.release
	return nil
}

// conformCredit lets one side of each body fall behind and looks how far the other runs ahead.
func conformCredit(t *testing.T, s *subject) {
	t.Run("request's body", func(t *testing.T) {
		k := s.start(t, nil)
		b := newEndless()
		r := begin(t, k, "GET /hang", b, &answer{})
		until(t, k, func(c counters) bool { return c.seen > 1 && b.read.Load() >= abi.RequestCredit })
		r.leave(t)
		if n := b.read.Load(); n > abi.RequestCredit {
			t.Errorf("%d bytes were read for a guest that took %d", n, abi.RequestCredit)
		}
	})
	t.Run("fetch answer's body", func(t *testing.T) {
		b := newEndless()
		k := s.start(t, fetching(func(context.Context, *wasm.Operation) (*wasm.Reply, error) {
			return &wasm.Reply{Status: 200, Body: b, Length: -1}, nil
		}))
		r := begin(t, k, "GET /hold?path=/", nil, &answer{})
		waitFor(t, "the guest's credit is used", func() bool { return b.read.Load() >= 65_536 })
		count(t, k)
		r.leave(t)
		<-b.closed
		if n := b.read.Load(); n > 65_536 {
			t.Errorf("%d bytes were read for a guest that granted 65536", n)
		}
	})
	t.Run("answer's body", func(t *testing.T) {
		k := s.start(t, nil)
		a := newStuck()
		r := begin(t, k, "GET /big?n=4000000", nil, a)
		<-a.begun
		count(t, k) // the guest had its time to run ahead
		close(a.release)
		if err := <-r.done; err != nil {
			t.Fatal(err)
		}
		if a.largest > abi.ResponseCredit {
			t.Errorf("%d bytes waited for a client that did not read; the credit is %d", a.largest, abi.ResponseCredit)
		}
	})
	t.Run("fetch request's body", func(t *testing.T) {
		release := make(chan struct{})
		k := s.start(t, fetching(func(_ context.Context, in *wasm.Operation) (*wasm.Reply, error) {
			<-release
			_, err := io.CopyN(io.Discard, in.Stream, 4<<20)
			if err != nil {
				return nil, err
			}
			return text("enough", 6)(t.Context(), nil)
		}))
		b, a := newEndless(), &answer{}
		r := begin(t, k, "POST /relay", b, a)
		until(t, k, func(c counters) bool { return c.seen > 2 })
		if n := b.read.Load(); n > 4*65_536 {
			t.Errorf("%d bytes were read for a fetch that takes none", n)
		}
		close(release)
		if err := <-r.done; err != nil || a.body.String() != "enough" {
			t.Errorf("%q, error %v", a.body.String(), err)
		}
	})
}

// stalled is a body that gives some bytes and then nothing until it is closed. It says when nothing more will come.
type stalled struct {
	first  string
	silent chan<- struct{}
	closed chan struct{}
	once   sync.Once
}

func (b *stalled) Read(p []byte) (int, error) {
	if b.first != "" {
		n := copy(p, b.first)
		b.first = b.first[n:]
		return n, nil
	}
	b.silent <- struct{}{}
	<-b.closed
	return 0, io.ErrClosedPipe
}

func (b *stalled) Close() error { b.once.Do(func() { close(b.closed) }); return nil }

// conformCancel has the client leave at each stage. The guest is told, and nothing of the request goes on.
func conformCancel(t *testing.T, s *subject) {
	begun, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	upstream := func(ctx context.Context, in *wasm.Operation) (*wasm.Reply, error) {
		if in.Stream != nil {
			begun <- struct{}{}
			_, err := io.Copy(io.Discard, in.Stream)
			ended <- struct{}{}
			return nil, err
		}
		var body io.ReadCloser
		switch _, path, _ := strings.Cut(abi.Get(in.Fields, ":url"), "//up"); path {
		case "/body":
			body = newEndless()
		case "/head":
			body = &stalled{silent: begun, closed: make(chan struct{})}
		case "/event":
			body = &stalled{first: "data: first\n\n", silent: begun, closed: make(chan struct{})}
		default:
			begun <- struct{}{}
			<-ctx.Done()
			ended <- struct{}{}
			return nil, ctx.Err()
		}
		context.AfterFunc(ctx, func() {
			body.Close() // as a connection's does
			ended <- struct{}{}
		})
		return &wasm.Reply{Status: 200, Body: body, Length: -1}, nil
	}
	k := s.start(t, fetching(upstream))
	for i, stage := range []struct {
		name, target string
		body         wasm.Body
		sink         *stuck // waits within its first write
		fetches      bool   // the fetch must end too
	}{
		{name: "delivered, and waiting", target: "GET /hang"},
		{name: "sleeping", target: "GET /sleep?ms=3600000"},
		{name: "fetching", target: "GET /fetch?path=/", fetches: true},
		{name: "fetching, for a pipe", target: "GET /pipe?path=/", fetches: true},
		{name: "fetched, and nothing came of the body", target: "GET /fetch?path=/head", fetches: true},
		{name: "fetched, and some of the body came", target: "GET /fetch?path=/event", fetches: true},
		{name: "fetched, and the guest reads nothing", target: "GET /hold?path=/body"},
		{name: "uploading", target: "POST /count", body: newEndless()},
		{name: "relaying", target: "POST /relay", body: newEndless(), fetches: true},
		{name: "echoing to a client that reads nothing", target: "POST /echo", body: newEndless(), sink: newStuck()},
		{name: "streaming out", target: "GET /big?n=100000000", sink: newStuck()},
		{name: "passing on", target: "GET /fetch?path=/body", sink: newStuck(), fetches: true},
		{name: "piping, and nothing came", target: "GET /pipe?path=/head", fetches: true},
		{name: "piping", target: "GET /pipe?path=/body", sink: newStuck(), fetches: true},
		{name: "piping, and no more comes", target: "GET /pipe?path=/event", fetches: true},
		{name: "piping events, and nothing came", target: "GET /sse?path=/head", fetches: true},
		{name: "piping events, and no more comes", target: "GET /sse?path=/event", fetches: true},
	} {
		before := count(t, k).seen
		var sink wasm.Sink = &answer{}
		if stage.sink != nil {
			sink = stage.sink
		}
		r := begin(t, k, stage.target, stage.body, sink)
		mine := 1
		switch {
		case stage.sink != nil:
			<-stage.sink.begun
			r.cancel()
			close(stage.sink.release)
		case stage.fetches:
			<-begun
		case stage.body != nil:
			waitFor(t, "much of the body is read", func() bool { return stage.body.(*endless).read.Load() > 1<<20 })
		default:
			until(t, k, func(c counters) bool { mine++; return c.seen == before+mine })
		}
		r.leave(t)
		if stage.fetches || strings.Contains(stage.target, "/hold") {
			<-ended
		}
		until(t, k, func(c counters) bool { return c.cancelled == i+1 })
		if t.Failed() {
			t.Fatalf("when the client left while %s", stage.name)
		}
	}
	req := k.request(t, "GET /hang", nil)
	req.Timeout = time.Millisecond
	if err := k.Serve(t.Context(), req, &answer{}); !errors.Is(err, wasm.ErrTimeout) {
		t.Errorf("out of time: %v", err)
	}
	if st := k.Stats(); st.Traps != 0 || st.InFlight != 0 {
		t.Errorf("%d traps, %d requests in flight: %s", st.Traps, st.InFlight, st.LastError)
	}
}

// gate is a log that holds the guest up within a call, at the lines that say so.
type gate struct {
	slog.Handler
	held, release chan struct{}
}

func (g *gate) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "hold" {
		g.held <- struct{}{}
		<-g.release
	}
	return nil
}

// conformUndelivered cancels a request that lies in the mailbox: the guest never hears of it.
func conformUndelivered(t *testing.T, s *subject) {
	g := &gate{slog.NewTextHandler(io.Discard, nil), make(chan struct{}), make(chan struct{})}
	k := s.start(t, func(o *wasm.Options) { o.Log = slog.New(g) })
	before := count(t, k)
	busy := begin(t, k, "GET /log?hold", nil, &answer{})
	<-g.held
	r := begin(t, k, "GET /hang", nil, &answer{})
	waitFor(t, "the second request is in the mailbox", func() bool { return k.Stats().Waiting > 0 })
	r.leave(t)
	close(g.release)
	if err := <-busy.done; err != nil {
		t.Error(err)
	}
	if after := count(t, k); after.seen != before.seen+2 || after.cancelled != 0 { // the log and this one
		t.Errorf("the guest counted %+v, and then %+v", before, after)
	}
}

// conformLate has a fetch complete after its request was cancelled, while the next request has its place and waits for a fetch
// of its own: what comes late reaches nobody.
func conformLate(t *testing.T, s *subject) {
	type fetch struct {
		release chan string
		closed  chan struct{}
	}
	started := make(chan *fetch)
	k := s.start(t, func(o *wasm.Options) {
		o.InFlight = 1 // so that both have the same slot
		fetching(func(context.Context, *wasm.Operation) (*wasm.Reply, error) {
			f := &fetch{make(chan string), make(chan struct{})}
			started <- f
			body := <-f.release // whatever the context says
			return &wasm.Reply{Status: 200, Body: &noted{strings.NewReader(body), f.closed}, Length: int64(len(body))}, nil
		})(o)
	})
	for range 20 {
		first := begin(t, k, "GET /fetch?path=/", nil, &answer{})
		late := <-started
		first.leave(t)
		a := &answer{}
		second := begin(t, k, "GET /fetch?path=/", nil, a)
		own := <-started
		late.release <- "somebody else's"
		<-late.closed
		own.release <- "its own"
		if err := <-second.done; err != nil || a.body.String() != "its own" {
			t.Fatalf("got %q, error %v", a.body.String(), err)
		}
	}
}

// noted says when it was closed.
type noted struct {
	io.Reader
	closed chan struct{}
}

func (n *noted) Close() error { close(n.closed); return nil }
