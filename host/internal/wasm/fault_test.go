package wasm_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

func TestTrapCostsItsOwnRequestsAndNoMore(t *testing.T) {
	for _, target := range []string{"GET /exit", "GET /memory"} {
		t.Run(target, func(t *testing.T) {
			k := startKitchen(t, nil)
			_, err := k.do(t, target, "")
			var trap *wasm.TrapError
			if !errors.As(err, &trap) {
				t.Fatalf("got %v, want a TrapError", err)
			}
			k.must(t, "GET /word", "")
			if s := k.Stats(); s.Traps != 1 || s.Workers != 1 || s.LastError == "" {
				t.Errorf("after a trap: %+v", s)
			}
		})
	}
}

func TestTrapFailsEveryRequestOfItsWorker(t *testing.T) {
	const n = 20
	errs, held := make(chan error, n), make(chan struct{}, n)
	k := startKitchen(t, fetching(func(ctx context.Context, _ *wasm.Operation) (*wasm.Reply, error) {
		held <- struct{}{} // a guest that fetches has taken the request
		<-ctx.Done()
		return nil, ctx.Err()
	}))
	for range n {
		go func() {
			_, err := k.do(t, "GET /fetch?path=/", "")
			errs <- err
		}()
	}
	for range n {
		<-held
	}
	_, _ = k.do(t, "GET /exit", "")
	for range n {
		var trap *wasm.TrapError
		if err := <-errs; !errors.As(err, &trap) {
			t.Errorf("got %v, want a TrapError", err)
		}
	}
}

func TestPanicOfAHandlerIsNoTrap(t *testing.T) {
	k := startKitchen(t, nil)
	a, err := k.do(t, "GET /panic", "")
	if err != nil || a.status != 500 || strings.Contains(a.body.String(), "on purpose") {
		t.Errorf("status %d, body %s, error %v", a.status, a.body.String(), err)
	}
	if s := k.Stats(); s.Traps != 0 {
		t.Errorf("%d traps", s.Traps)
	}
}

func TestEndlessLoopIsStopped(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) { o.CPU = 300 * time.Millisecond })
	_, err := k.do(t, "GET /loop", "")
	var limit *wasm.CPUError
	if !errors.As(err, &limit) {
		t.Fatalf("got %v, want a CPUError", err)
	}
	k.must(t, "GET /word", "")
}

func TestCloseStopsAnEndlessLoop(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) { o.CPU = time.Hour })
	done := make(chan error)
	go func() {
		_, err := k.do(t, "GET /loop", "")
		done <- err
	}()
	for k.Stats().InFlight == 0 {
		runtime.GC() // which the loop must not hold up
	}
	k.Close()
	if err := <-done; !errors.Is(err, wasm.ErrStopped) {
		t.Errorf("got %v, want ErrStopped", err)
	}
}

func TestPluginThatCannotStart(t *testing.T) {
	m := sharedModule(t)
	for name, c := range map[string]struct {
		change func(*wasm.Options)
		want   string
	}{
		"its own reason":  {func(o *wasm.Options) { o.Config = []byte(`{"refuse":"no luck today"}`) }, "no luck today"},
		"unknown setting": {func(o *wasm.Options) { o.Config = []byte(`{"wrod":"typo"}`) }, "wrod"},
		"too many routes": {func(o *wasm.Options) { o.Routes = append(o.Routes, "GET /nobody") }, "GET /nobody"},
		"too little room": {func(o *wasm.Options) { o.Memory = 1 << 20 }, "limits.memory"},
		"too much config": {func(o *wasm.Options) { o.Config = []byte(`"` + strings.Repeat("x", 70_000) + `"`) }, "configuration"},
	} {
		t.Run(name, func(t *testing.T) {
			o := kitchenOptions(t)
			c.change(&o)
			p, err := m.Start(t.Context(), o)
			if err == nil {
				p.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestCompileRefusesWhatIsNoPlugin(t *testing.T) {
	e := openEngine(t)
	const head = "\x00asm\x01\x00\x00\x00"
	for name, c := range map[string]struct{ module, want string }{
		"nothing":        {"", "not a WebAssembly"},
		"no wasm":        {"GIF89a", "not a WebAssembly"},
		"empty module":   {head, "patchbay_poll"},
		"import unknown": {head + "\x01\x04\x01\x60\x00\x00\x02\x0b\x01\x03env\x03foo\x00\x00", "env.foo"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := e.Compile(t.Context(), []byte(c.module))
			if err == nil {
				m.Release()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestSameBytesCompileOnce(t *testing.T) {
	e := openEngine(t)
	a, b := compile(t, e), compile(t, e)
	if a.Digest() != b.Digest() {
		t.Error("two digests for the same bytes")
	}
	o := kitchenOptions(t)
	p, err := b.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	a.Release() // the other holder's workers go on
	k := &kitchen{Pool: p, routes: o.Routes}
	k.must(t, "GET /word", "")
}

func TestOpenRefusesAFolderOthersMayWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if e, err := wasm.Open(dir); err == nil || !strings.Contains(err.Error(), "0700") {
		if err == nil {
			e.Close()
		}
		t.Errorf("got %v", err)
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

// TestHandoverKeepsTheBody: a request that no guest saw is given to another worker with its body, of which the first 64 KiB were read.
func TestHandoverKeepsTheBody(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) { o.CPU = 300 * time.Millisecond })
	done, before := make(chan struct{}), k.Stats().Busy
	go func() { defer close(done); _, _ = k.do(t, "GET /loop", "") }()
	soon(t, func() bool { return k.Stats().Busy > before+0.01 })
	a := &answer{}
	body := strings.Repeat("x", 200<<10)
	err := k.Serve(t.Context(), k.request(t, "POST /echo", &closable{Reader: strings.NewReader(body)}), a)
	<-done
	if err != nil || a.body.Len() != len(body) {
		t.Errorf("status %d, %d bytes, error %v; traps %d", a.status, a.body.Len(), err, k.Stats().Traps)
	}
}

// TestFetchHasTheTimeOfItsRequest: what a fetch may take until its reply is no more than its request has until its head, and what the guest says when
// that is less.
func TestFetchHasTheTimeOfItsRequest(t *testing.T) {
	given := make(chan time.Duration, 1)
	k := startKitchen(t, fetching(func(ctx context.Context, in *wasm.Operation) (*wasm.Reply, error) {
		given <- in.Timeout
		return text("hello", 5)(ctx, in)
	}))
	for timeout, most := range map[time.Duration]time.Duration{0: 0, time.Minute: time.Minute} {
		r := k.request(t, "GET /fetch?path=/", nil)
		r.Timeout = timeout
		if err := k.Serve(t.Context(), r, &answer{}); err != nil {
			t.Fatal(err)
		}
		if got := <-given; got > most || timeout > 0 && got <= 0 {
			t.Errorf("a fetch of a request with %v was given %v", timeout, got)
		}
	}
}
