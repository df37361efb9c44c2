package wasm_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// TestLimitsThatEndARequest meets each limit once: its error says which it was, and it alone is counted.
func TestLimitsThatEndARequest(t *testing.T) {
	for limit, c := range map[string]struct {
		target string
		change func(*wasm.Options)
		serve  func(*wasm.Request)
		is     func(error) bool
	}{
		"memory":    {target: "GET /memory", is: isA[*wasm.MemoryError]},
		"cpu":       {target: "GET /loop", is: isA[*wasm.CPUError], change: func(o *wasm.Options) { o.CPU = 50 * time.Millisecond }},
		"timeout":   {target: "GET /hang", is: func(err error) bool { return errors.Is(err, wasm.ErrTimeout) }, serve: func(r *wasm.Request) { r.Timeout = time.Millisecond }},
		"in_flight": {target: "GET /word", is: func(err error) bool { return errors.Is(err, wasm.ErrFull) }, change: func(o *wasm.Options) { o.InFlight = 0 }},
		"answer":    {target: "GET /big?n=2000", is: isA[*wasm.AnswerError], change: func(o *wasm.Options) { o.Answer = 1000 }},
		"headers":   {target: "GET /headers?n=1012", is: isA[*wasm.HeadersError], change: func(o *wasm.Options) { o.Headers = 1024 }},
	} {
		t.Run(limit, func(t *testing.T) {
			k := startKitchen(t, c.change)
			for name, hits := range k.Stats().Limits {
				if hits != 0 {
					t.Errorf("%s has %d hits before anything was asked", name, hits)
				}
			}
			req := k.request(t, c.target, nil)
			if c.serve != nil {
				c.serve(req)
			}
			if err := k.Serve(t.Context(), req, &answer{}); !c.is(err) {
				t.Errorf("got %v", err)
			}
			for name, hits := range k.Stats().Limits {
				switch {
				case name == limit && hits < 1, name != limit && hits != 0, hits > 1 && name != "memory": // Go asks twice
					t.Errorf("%s has %d hits", name, hits)
				}
			}
		})
	}
}

func isA[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

// TestRefusedMemoryIsNamed: what a guest dies of then says nothing of memory by itself.
func TestRefusedMemoryIsNamed(t *testing.T) {
	for name, change := range map[string]func(*wasm.Options){"from a snapshot": nil, "plainly": func(o *wasm.Options) { o.PlainStart = true }} {
		t.Run(name, func(t *testing.T) {
			k := startKitchen(t, change)
			_, err := k.do(t, "GET /memory", "")
			const want = "it was refused memory over limits.memory (65536 KiB)"
			if s := k.Stats(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(s.LastError, want) {
				t.Errorf("the error is %v, LastError %q", err, s.LastError)
			}
			_, err = k.do(t, "GET /exit", "")
			if s := k.Stats(); isA[*wasm.MemoryError](err) || strings.Contains(s.LastError, "memory") {
				t.Errorf("a trap of the next worker: %v", err)
			}
		})
	}
}

// TestHeadersAtTheirLimit: a block is four bytes, eight for each field, and the names and values.
func TestHeadersAtTheirLimit(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) { o.Headers = 1024 })
	a, err := k.do(t, "GET /headers?n=1011", "")
	if err != nil || a.status != 200 || len(abi.Get(a.fields, "x")) != 1011 {
		t.Errorf("%d, error %v", a.status, err)
	}
}

// TestLogOfAllWorkersIsOne: a worker that comes after another has no lines of its own, and each line is written or counted.
func TestLogOfAllWorkersIsOne(t *testing.T) {
	lines := &countingLog{}
	k := startKitchen(t, func(o *wasm.Options) { o.LogLines, o.Log = 5, slog.New(lines) })
	begun := time.Now()
	k.must(t, "GET /log?n=100", "")
	if n := lines.lines.Load(); n < 10 {
		t.Errorf("%d lines were written at once, want twice those of a second", n)
	}
	_, _ = k.do(t, "GET /exit", "")
	k.must(t, "GET /log?n=100", "")
	written := lines.lines.Load() - 1 // the trap is the host's line
	if left := k.Stats().Limits["log"]; written+left != 200 {
		t.Errorf("%d lines were written and %d counted, of 200", written, left)
	}
	if most := 10 + 5*time.Since(begun).Seconds(); float64(written) > most {
		t.Errorf("%d lines were written, want %v at most", written, most)
	}
}

// TestFetchesOverTheirLimit: what is refused is the guest's error, which a handler that returns it makes a 503, and each call that
// has come to its end makes room: on the way of a short body, of a long one, of none, of a failure, of a pipe, and of one
// that nobody reads.
func TestFetchesOverTheirLimit(t *testing.T) {
	const limit = 1
	held, release := make(chan struct{}), make(chan struct{})
	waits := func(ctx context.Context, _ *wasm.Operation) (*wasm.Reply, error) {
		held <- struct{}{}
		select {
		case <-release:
		case <-ctx.Done():
		}
		return nil, &abi.Error{Code: abi.Connect}
	}
	does := waits
	k := startKitchen(t, func(o *wasm.Options) {
		o.Fetches = limit
		fetching(func(ctx context.Context, in *wasm.Operation) (*wasm.Reply, error) { return does(ctx, in) })(o)
	})
	var all []*running
	for range limit {
		all = append(all, begin(t, k, "GET /fetch?path=/", nil, &answer{}))
		<-held
	}
	a, err := k.do(t, "GET /fetch?path=/", "")
	if hits := k.Stats().Limits["fetches"]; err != nil || a.status != 503 || hits != 1 {
		t.Errorf("one more than may be: %d %q, error %v, %d hits", a.status, a.body.String(), err, hits)
	}
	if !strings.Contains(k.log.String(), "limits.fetches") {
		t.Errorf("the log does not name the setting:\n%s", k.log)
	}
	close(release)
	for _, r := range all {
		if err := <-r.done; err != nil {
			t.Error(err)
		}
	}
	long := strings.Repeat("x", 200_000)
	for name, c := range map[string]struct {
		does   wasm.Capability
		target string
		want   int
	}{
		"short": {text("x", 1), "GET /many?n=50", 50},
		"long":  {text(long, -1), "GET /many?n=10", 10 * len(long)},
		"none":  {func(context.Context, *wasm.Operation) (*wasm.Reply, error) { return &wasm.Reply{Status: 200}, nil }, "GET /many?n=50", 0},
		"pipe":  {text(long, -1), "GET /pipe?path=/", len(long)},
	} {
		does = c.does
		for range 2 * limit {
			if got := k.must(t, c.target, ""); len(got) != c.want {
				t.Errorf("%s: %d bytes, want %d", name, len(got), c.want)
			}
		}
	}
	if hits := k.Stats().Limits["fetches"]; hits != 1 {
		t.Errorf("%d hits of calls that had come to their end", hits-1)
	}
	does = text(long, -1)
	for range 2 * limit { // the request is over a moment before its fetch is
		waitFor(t, "a fetch that nobody read has ended", func() bool {
			a, err := k.do(t, "GET /leave", "")
			return err == nil && a.status == 200
		})
	}
}

// TestHostsWorkIsTheGuests: what the host does at a guest's wish counts for limits.cpu, whichever import it calls.
func TestHostsWorkIsTheGuests(t *testing.T) {
	for _, c := range []string{"subs", "random", "respond", "lines", "submits"} {
		t.Run(c, func(t *testing.T) {
			k := startC(t, "testdata/evade/"+c+".c", []string{"GET /"}, func(o *wasm.Options) { o.CPU, o.LogLines = 100*time.Millisecond, 100 })
			before := processCPU(t)
			err := k.Serve(t.Context(), k.request(t, "GET /", nil), &answer{})
			var cpu *wasm.CPUError
			if used := processCPU(t) - before; !errors.As(err, &cpu) || used > 2*time.Second {
				t.Errorf("limits.cpu of 100ms ended it after %v with %v", used, err)
			}
		})
	}
}

// processCPU is the CPU time that the process has used: a machine that hesitates adds nothing to it.
func processCPU(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestMemoryIsBlamedOnce: a guest that lived on after it was refused memory may die of something else later.
func TestMemoryIsBlamedOnce(t *testing.T) {
	k := startC(t, "testdata/evade/refused.c", []string{"GET /"}, nil)
	k.must(t, "GET /", "")
	_, err := k.do(t, "GET /", "")
	var trap *wasm.TrapError
	var memory *wasm.MemoryError
	if !errors.As(err, &trap) || errors.As(err, &memory) {
		t.Errorf("got %v, want a TrapError that does not speak of memory", err)
	}
}

// TestLimitIsCountedOnce: also when it was met by an instance that was started for one request.
func TestLimitIsCountedOnce(t *testing.T) {
	m, err := openEngine(t).Compile(t.Context(), buildC(t, "testdata/evade/stackchance.c"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Release)
	var p *wasm.Pool
	o := wasm.Options{Name: "x", Version: "1.0.0", Routes: []string{"GET /"}, Workers: 1, Memory: 8 << 20, InFlight: 8, Answer: 1 << 20, Log: slog.New(slog.DiscardHandler), Fresh: true, PlainStart: true, Stack: 1 << 20, Faults: wasm.Faults{Row: 1000}}
	for {
		if p, err = m.Start(t.Context(), o); err == nil {
			break
		}
	}
	t.Cleanup(p.Close)
	k := &kitchen{Pool: p, routes: o.Routes}
	n := int64(0)
	for range 30 {
		var fresh *wasm.FreshError
		if _, err := k.do(t, "GET /", ""); errors.As(err, &fresh) {
			n++
		}
	}
	if got := k.Stats().Limits["stack"]; got != n {
		t.Errorf("%d starts were over the stack, and it counts %d", n, got)
	}
}

// TestAlmostFourGiB: a worker may have the most memory that can be set, all but a page of what 32 bits reach.
func TestAlmostFourGiB(t *testing.T) {
	k := startC(t, "testdata/evade/whole.c", []string{"GET /"}, func(o *wasm.Options) { o.Memory = 4<<30 - 1<<16 })
	if pages := k.must(t, "GET /", ""); pages != "65535" {
		t.Errorf("it grew to %s pages", pages)
	}
	soon(t, func() bool { return k.Stats().Recycled["memory"] == 1 })
}
