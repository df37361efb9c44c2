package wasm_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// TestEventStreams reads pairs from testdata/sse: name.in is what the upstream sends, name.want what the client gets.
func TestEventStreams(t *testing.T) {
	files, err := filepath.Glob("testdata/sse/*.in")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".in")
		t.Run(name, func(t *testing.T) {
			in, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(strings.TrimSuffix(file, ".in") + ".want")
			if err != nil {
				t.Fatal(err)
			}
			k := startKitchen(t, fetching(text(string(in), -1)))
			a, err := k.do(t, "GET /pipe?path=/&sse=1", "")
			if err != nil {
				t.Fatal(err)
			}
			if got := a.body.String(); got != string(want) {
				t.Errorf("got:\n%q\nwant:\n%q", got, want)
			}
			for _, w := range a.writes {
				if !strings.HasSuffix(w, "\n\n") || strings.Count(w, "\n\n") != 1 {
					t.Errorf("a write is not one whole event: %q", w)
				}
			}
		})
	}
}

func TestRawPipe(t *testing.T) {
	body := strings.Repeat("any bytes \x00\xff ", 100_000)
	k := startKitchen(t, fetching(text(body, -1)))
	if got := k.must(t, "GET /pipe?path=/", ""); got != body {
		t.Errorf("%d bytes, want %d", len(got), len(body))
	}
}

// brokenBody fails after its text.
type brokenBody struct{ io.Reader }

func (b brokenBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
func (brokenBody) Close() error { return nil }

func broken(body string) wasm.Capability {
	return func(context.Context, *wasm.Operation) (*wasm.Reply, error) {
		return &wasm.Reply{Status: 200, Body: brokenBody{strings.NewReader(body)}, Length: -1}, nil
	}
}

func TestStreamThatFailsBeforeItsFirstByte(t *testing.T) {
	for name, f := range map[string]wasm.Capability{
		"cut off": broken(""),
		"error":   text("data: {\"error\":{\"message\":\"no such model\",\"code\":404}}\n\n", -1),
	} {
		t.Run(name, func(t *testing.T) {
			k := startKitchen(t, fetching(f))
			a, err := k.do(t, "GET /pipe?path=/&sse=1", "")
			if err != nil || a.status != 502 || !strings.HasPrefix(a.body.String(), `{"detail"`) {
				t.Errorf("status %d, body %s, error %v; want the guest's 502", a.status, a.body.String(), err)
			}
		})
	}
}

func TestStreamThatFailsLater(t *testing.T) {
	const first = "data: {\"n\":1}\n\n"
	for name, f := range map[string]wasm.Capability{
		"cut off": broken(first),
		"error":   text(first+"data: {\"error\":{\"message\":\"gpu on fire\"}}\n\ndata: more\n\n", -1),
		"too big": text(first+"data: "+strings.Repeat("x", 2<<20)+"\n\n", -1),
	} {
		t.Run(name, func(t *testing.T) {
			k := startKitchen(t, fetching(f))
			a, err := k.do(t, "GET /pipe?path=/&sse=1", "")
			if !errors.Is(err, wasm.ErrAborted) || a.body.String() != first {
				t.Errorf("without events: body %q, error %v; want the first event and ErrAborted", a.body.String(), err)
			}
			req := k.request(t, "GET /pipe?path=/&sse=1", nil)
			req.ErrorEvents = true
			a = &answer{}
			err = k.Serve(t.Context(), req, a)
			if err != nil || len(a.writes) != 2 || !strings.HasPrefix(a.writes[1], `data: {"error"`) {
				t.Errorf("with events: %q, error %v; want one more event that says so", a.writes, err)
			}
		})
	}
}

// untilDone is a body that gives a byte, and then nothing until its call is cancelled.
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

// TestTrapDuringPipe: the stream breaks off because the worker died, and that is what is told.
func TestTrapDuringPipe(t *testing.T) {
	k := startC(t, "testdata/evade/pipetrap.c", []string{"GET /"}, func(o *wasm.Options) {
		o.Fresh = true
		o.Faults = wasm.Faults{Row: 100000}
		fetching(func(ctx context.Context, _ *wasm.Operation) (*wasm.Reply, error) {
			return &wasm.Reply{Status: 200, Body: &untilDone{ctx: ctx}, Length: -1}, nil
		})(o)
	})
	for i := range 3000 { // the worker's end and the pipe's race
		_, err := k.do(t, "GET /", "")
		var trap *wasm.TrapError
		if !errors.As(err, &trap) {
			t.Fatalf("request %d: got %v, want a TrapError", i, err)
		}
	}
}
