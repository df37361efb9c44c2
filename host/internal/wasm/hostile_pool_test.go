package wasm_test

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// TestFlood has a guest take its events, but slower than they come, until they are too many to wait.
func TestFlood(t *testing.T) {
	const n = 1200 // with 256 timers each they are over 262,144
	k := startC(t, "testdata/flood/guest.c", []string{"GET /"}, func(o *wasm.Options) {
		o.InFlight, o.Config = n, []byte(strconv.Itoa(n))
	})
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			req := k.request(t, "GET /", nil)
			req.Timeout = 0
			var trap *wasm.TrapError
			if err := k.Serve(t.Context(), req, &answer{}); !errors.As(err, &trap) || !strings.Contains(err.Error(), "its mailbox holds over 262144 events") {
				t.Errorf("got %v", err)
			}
		})
	}
	all.Wait()
	waitFor(t, "another worker takes its place", func() bool { st := k.Stats(); return st.Traps == 1 && st.Workers == 1 && st.Waiting == 0 })
}

// said hands over what guests log.
type said struct {
	slog.Handler
	lines chan string
}

func (s *said) Enabled(context.Context, slog.Level) bool { return true }

func (s *said) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "_initialize" || r.Message == "handshake" {
		s.lines <- r.Message
	}
	return nil
}

// TestCloseWhileAWorkerStarts closes pools whose next worker loops in _initialize, and in the handshake. The loop ends with the pool.
func TestCloseWhileAWorkerStarts(t *testing.T) {
	m, err := openEngine(t).Compile(t.Context(), buildC(t, "testdata/chance/guest.c"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Release)
	closed := map[string]bool{}
	for !closed["_initialize"] || !closed["handshake"] {
		before := held()
		lines := make(chan string, 1)
		o := hostileOptions(nil)
		o.PlainStart, o.Memory, o.Log = true, 3<<30, slog.New(&said{slog.DiscardHandler, lines})
		ctx, cancel := context.WithCancel(t.Context())
		started := make(chan error, 1)
		var p *wasm.Pool
		go func() {
			var err error
			p, err = m.Start(ctx, o)
			started <- err
		}()
		select {
		case <-lines: // the first one loops
			cancel()
			if err := <-started; !errors.Is(err, context.Canceled) {
				t.Fatalf("started by nobody any more: %v", err)
			}
			continue
		case err := <-started:
			if err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		k := &kitchen{Pool: p, routes: o.Routes}
		for looping := ""; looping == ""; {
			done := make(chan error, 1)
			go func() {
				req := k.request(t, "GET /", nil)
				req.Timeout = 0
				done <- k.Serve(t.Context(), req, &answer{})
			}()
			select {
			case <-done: // its worker trapped, and the next one starts
			case looping = <-lines:
				p.Close()
				closed[looping] = true
				<-done
			}
		}
		nothingLeft(t, before)
	}
}
