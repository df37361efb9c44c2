package wasm_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

type slowUpload struct{ gate chan struct{} }

func (s *slowUpload) Read([]byte) (int, error) { <-s.gate; return 0, io.EOF }
func (s *slowUpload) Close() error             { return nil }
func (s *slowUpload) Duplex()                  {}

// One client that sends its body slowly is the probe: everybody else is refused meanwhile.
func TestSlowUploadHoldsNoBreakerOpen(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) {
		o.Fresh = true
		o.Faults = wasm.Faults{Row: 1, Rest: time.Millisecond, RestMax: 2 * time.Millisecond}
	})
	_, _ = k.do(t, "GET /exit", "")
	time.Sleep(10 * time.Millisecond)
	b := &slowUpload{make(chan struct{})}
	done := make(chan struct{})
	go func() { defer close(done); _ = k.Serve(t.Context(), k.request(t, "POST /echo", b), &answer{}) }()
	time.Sleep(time.Second) // 500 times RestMax
	_, err := k.do(t, "GET /word", "")
	close(b.gate)
	<-done
	if err != nil {
		t.Errorf("a second later: %v", err)
	}
}

// A probe that is a stream: answered long ago, but the breaker stays open until the stream ends.
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
	time.Sleep(time.Second)
	_, err := k.do(t, "GET /word", "")
	leave()
	<-done
	if err != nil {
		t.Errorf("a second after the probe's head: %v", err)
	}
}

// closable is a body as route's is: nothing is read of it once it is closed.
type closable struct {
	*strings.Reader
	closed atomic.Bool
}

func (b *closable) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, errors.New("read after close")
	}
	return b.Reader.Read(p)
}
func (b *closable) Close() error { b.closed.Store(true); return nil }
func (*closable) Duplex()        {}

// A request that no guest saw is given to another worker; its body of more than 64 KiB was closed by then.
func TestHandoverKeepsTheBody(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) { o.CPU = 300 * time.Millisecond })
	done := make(chan struct{})
	go func() { defer close(done); _, _ = k.do(t, "GET /loop", "") }()
	time.Sleep(100 * time.Millisecond)
	a := &answer{}
	body := strings.Repeat("x", 200<<10)
	err := k.Serve(t.Context(), k.request(t, "POST /echo", &closable{Reader: strings.NewReader(body)}), a)
	<-done
	if err != nil || a.body.Len() != len(body) {
		t.Errorf("status %d, %d bytes, error %v; traps %d", a.status, a.body.Len(), err, k.Stats().Traps)
	}
}

func TestHostsWorkIsTheGuests(t *testing.T) {
	for _, c := range []string{"subs", "random", "respond", "lines", "submits"} {
		t.Run(c, func(t *testing.T) {
			k := startC(t, "testdata/evade/"+c+".c", []string{"GET /"}, func(o *wasm.Options) { o.CPU, o.LogLines = 100*time.Millisecond, 100 })
			start := time.Now()
			r := k.request(t, "GET /", nil)
			r.Timeout = 5 * time.Second
			err := k.Serve(t.Context(), r, &answer{})
			t.Logf("after %v: %v", time.Since(start), err)
			busy := time.Now()
			k.Close()
			t.Logf("Close took %v; guest computed %v", time.Since(busy), k.Stats().Busy)
			var cpu *wasm.CPUError
			if !errors.As(err, &cpu) || time.Since(start) > 2*time.Second {
				t.Error("limits.cpu of 100ms did not end it")
			}
		})
	}
}

func TestMemoryIsBlamedOnce(t *testing.T) {
	k := startC(t, "testdata/evade/refused.c", []string{"GET /"}, nil)
	k.must(t, "GET /", "")
	_, err := k.do(t, "GET /", "")
	var m *wasm.MemoryError
	if errors.As(err, &m) {
		t.Errorf("a trap in a later poll, without any growth, is blamed on memory: %v", err)
	}
}

// Copies whose timer was due long ago.
func TestCopyWithDueTimer(t *testing.T) {
	k := startC(t, "testdata/evade/timer.c", []string{"GET /"}, func(o *wasm.Options) { o.Fresh, o.Memory = true, 512<<20 })
	time.Sleep(50 * time.Millisecond)
	if s := k.Stats(); s.Start != "snapshot" {
		t.Fatal(s.Start)
	}
	for range 3000 {
		k.must(t, "GET /", "")
	}
}

// An age that is shorter than a start.
func TestAgeBelowAStart(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) {
		o.Recycle.Age, o.PlainStart = time.Nanosecond, true
		o.Log = slog.New(slog.DiscardHandler)
	})
	start := time.Now()
	const n = 20
	for range n {
		if _, err := k.do(t, "GET /word", ""); err != nil {
			t.Error(err)
		}
	}
	s := k.Stats()
	t.Logf("%v, %v", time.Since(start), s.Recycled)
	if s.Recycled["age"] > n+1 {
		t.Errorf("%d requests took %d workers", n, s.Recycled["age"])
	}
}

// READY comes in a poll of a timer's goroutine, and the guest goes on in that poll.
func TestReadyAndGrow(t *testing.T) {
	for range 10 {
		k := startC(t, "testdata/evade/readylate.c", []string{"GET /"}, func(o *wasm.Options) { o.Memory = 64 << 20 })
		k.must(t, "GET /", "")
	}
}

// 4 GiB less a page.
func TestAlmostFourGiB(t *testing.T) {
	k := startC(t, "testdata/evade/whole.c", []string{"GET /"}, func(o *wasm.Options) { o.Memory = 4<<30 - 1<<16 })
	pages := k.must(t, "GET /", "")
	time.Sleep(50 * time.Millisecond)
	t.Logf("%s pages, %+v", pages, k.Stats())
}

type untilDone struct {
	ctx   context.Context
	given bool
}

func (u *untilDone) Read(p []byte) (int, error) {
	if !u.given {
		u.given = true
		p[0] = 'x'
		return 1, nil
	}
	<-u.ctx.Done()
	return 0, u.ctx.Err()
}
func (*untilDone) Close() error { return nil }

// A worker that dies while a pipe runs: the request's error is to be the trap.
func TestTrapDuringPipe(t *testing.T) {
	k := startC(t, "testdata/evade/pipetrap.c", []string{"GET /"}, func(o *wasm.Options) {
		o.Fresh = true
		o.Faults = wasm.Faults{Row: 100000}
		fetching(func(ctx context.Context, _ *wasm.Operation) (*wasm.Reply, error) {
			return &wasm.Reply{Status: 200, Body: &untilDone{ctx: ctx}, Length: -1}, nil
		})(o)
	})
	kinds := map[string]int{}
	for range 3000 {
		_, err := k.do(t, "GET /", "")
		var trap *wasm.TrapError
		var pipe *wasm.PipeError
		var open *wasm.OpenError
		switch {
		case errors.As(err, &open):
			kinds["open"]++
		case errors.As(err, &trap):
			kinds["trap"]++
		case errors.As(err, &pipe):
			kinds["pipe"]++
		default:
			kinds["other"]++
		}
	}
	t.Log(kinds, k.Stats().Traps)
	if kinds["pipe"] > 0 {
		t.Error("traps are taken for streams that broke off, which count as answers")
	}
}

// A worker that could not start for a request and was over its stack: how often is that counted?
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

// TestTimeoutOfAComputingInstance: the goroutine of Serve polls the guest, so somebody else has to look at the request's time.
func TestTimeoutOfAComputingInstance(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) { o.CPU, o.Fresh = time.Minute, true })
	r := k.request(t, "GET /loop", nil)
	r.Timeout = 100 * time.Millisecond
	if err := k.Serve(t.Context(), r, &answer{}); !errors.Is(err, wasm.ErrTimeout) {
		t.Errorf("got %v, want ErrTimeout", err)
	}
}
