package wasm_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/guesttest"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// startC starts a guest of one C source.
func startC(t *testing.T, source string, routes []string, change func(*wasm.Options)) *kitchen {
	t.Helper()
	m, err := openEngine(t).Compile(t.Context(), buildC(t, source))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Release)
	return (&subject{module: m, routes: routes}).start(t, change)
}

// slowStart is a body that gives one byte, and then nothing until it is closed or let go.
type slowStart struct {
	once   sync.Once
	more   <-chan struct{}
	closed chan struct{}
	given  bool
}

func (b *slowStart) Read(p []byte) (int, error) {
	if !b.given {
		b.given = true
		p[0] = 'x'
		return 1, nil
	}
	<-b.more
	return 0, io.ErrUnexpectedEOF
}

func (b *slowStart) Close() error { b.once.Do(func() { close(b.closed) }); return nil }

// TestPipeOfABodyThatIsBeingRead has the client leave when a pipe waits for a body that somebody else still reads: the body is
// closed nevertheless.
func TestPipeOfABodyThatIsBeingRead(t *testing.T) {
	b := &slowStart{closed: make(chan struct{})}
	piped := make(chan struct{}, 1)
	k := startC(t, "testdata/greedy/guest.c", []string{"GET /"}, func(o *wasm.Options) {
		o.Log = slog.New(&signalling{slog.NewTextHandler(io.Discard, nil), piped})
		fetching(func(ctx context.Context, _ *wasm.Operation) (*wasm.Reply, error) {
			b.more = ctx.Done()
			return &wasm.Reply{Status: 200, Body: b, Length: -1}, nil
		})(o)
	})
	r := begin(t, k, "GET /", nil, &answer{})
	<-piped
	r.leave(t)
	<-b.closed
}

// signalling says when something is logged.
type signalling struct {
	slog.Handler
	came chan struct{}
}

func (s *signalling) Handle(context.Context, slog.Record) error {
	s.came <- struct{}{}
	return nil
}

// TestExampleInC runs what sdk/c/example shows to authors.
func TestExampleInC(t *testing.T) {
	dir := filepath.Join(guesttest.Root(), "sdk", "c", "example")
	reply := text("Simplicity is prerequisite for reliability.\n", -1)
	k := startC(t, filepath.Join(dir, "plugin.c"), manifestRoutes(t, filepath.Join(dir, "manifest.json")), fetching(
		func(ctx context.Context, in *wasm.Operation) (*wasm.Reply, error) {
			if url := abi.Get(in.Fields, ":url"); url != "upstream://quotes/today" {
				return nil, errors.New("asked for " + url)
			}
			return reply(ctx, in)
		}))
	hello := k.request(t, "GET /hello/{name}", nil)
	hello.Fields = append(hello.Fields, abi.Field{Name: ":param.name", Value: "Grüße"})
	a := &answer{}
	if err := k.Serve(t.Context(), hello, a); err != nil || a.body.String() != "Hello, Grüße!\n" || abi.Get(a.fields, "content-type") == "" {
		t.Errorf("got %d %q, error %v", a.status, a.body.String(), err)
	}
	if got := k.must(t, "GET /quote", ""); got != "Simplicity is prerequisite for reliability.\n" {
		t.Errorf("a quote that streams: %q", got)
	}
	reply = text("Short.\n", 7)
	if got := k.must(t, "GET /quote", ""); got != "Short.\n" {
		t.Errorf("a quote that comes at once: %q", got)
	}
	reply = func(context.Context, *wasm.Operation) (*wasm.Reply, error) {
		return nil, &abi.Error{Code: abi.Denied, Text: "no grant"}
	}
	if a, err := k.do(t, "GET /quote", ""); err != nil || a.status != 502 {
		t.Errorf("without a grant: %d, error %v", a.status, err)
	}
}

// TestPipeThatWaitsForCreditEnds when its guest traps, or watches no longer, though no credit comes.
func TestPipeThatWaitsForCreditEnds(t *testing.T) {
	const stream = "data: one\n\ndata: two\n\n"
	for _, end := range []string{"GET /trap", "GET /cancel"} {
		k := startC(t, "testdata/watcher/guest.c", []string{"GET /", "GET /trap", "GET /cancel"}, fetching(text(stream, -1)))
		a := newStuck()
		close(a.release)
		first := begin(t, k, "GET /", nil, a)
		<-a.begun
		_, _ = k.do(t, end, "")
		if err := <-first.done; err != nil && !errors.Is(err, wasm.ErrAborted) {
			t.Errorf("%s: got %v", end, err)
		}
	}
}
