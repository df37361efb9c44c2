package wasm_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/guesttest"
	"github.com/patchbay-run/patchbay/host/internal/leaktest"
	"github.com/patchbay-run/patchbay/host/internal/logtest"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// kitchen is a pool of the guest in testdata/kitchen, with a fetch of the test's own.
type kitchen struct {
	*wasm.Pool
	routes []string
	log    *logtest.Buffer
}

func openEngine(t testing.TB) *wasm.Engine {
	t.Helper()
	e, err := wasm.Open(filepath.Join(guesttest.Cache(t), "compiled"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func compile(t testing.TB, e *wasm.Engine) *wasm.Module {
	t.Helper()
	b, err := os.ReadFile(guesttest.Build(t, "testdata/kitchen"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.Compile(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Release)
	return m
}

func kitchenRoutes(t testing.TB) []string { return manifestRoutes(t, "testdata/kitchen/manifest.json") }

// sharedKitchen is compiled once for all tests that only start pools of it: reading it takes most of a second with the race detector.
// It lives as long as the process.
var sharedKitchen struct {
	once   sync.Once
	module *wasm.Module
}

func sharedModule(t testing.TB) *wasm.Module {
	t.Helper()
	sharedKitchen.once.Do(func() {
		path, cache := guesttest.Build(t, "testdata/kitchen"), filepath.Join(guesttest.Cache(t), "compiled")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		e, err := wasm.Open(cache)
		if err != nil {
			t.Fatal(err)
		}
		if sharedKitchen.module, err = e.Compile(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	})
	if sharedKitchen.module == nil {
		t.Fatal("the kitchen could not be compiled: an earlier test says why")
	}
	return sharedKitchen.module
}

func kitchenOptions(t testing.TB) wasm.Options {
	return wasm.Options{
		Name: "kitchen", Version: "1.0.0", Routes: kitchenRoutes(t), Config: []byte(`{"word":"hello"}`),
		Workers: 1, Memory: 64 << 20, InFlight: 1024, Answer: 1 << 20, Log: slog.New(slog.DiscardHandler),
	}
}

func startKitchen(t testing.TB, change func(*wasm.Options)) *kitchen {
	t.Helper()
	o := kitchenOptions(t)
	k := &kitchen{routes: o.Routes, log: &logtest.Buffer{}}
	o.Log = slog.New(slog.NewTextHandler(k.log, nil))
	if change != nil {
		change(&o)
	}
	var err error
	if k.Pool, err = sharedModule(t).Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// request makes one for a route such as "GET /echo?a=b".
func (k *kitchen) request(t testing.TB, target string, body wasm.Body) *wasm.Request {
	t.Helper()
	route, query, _ := strings.Cut(target, "?")
	i := slices.Index(k.routes, route)
	if i < 0 {
		t.Fatalf("no route %s", route)
	}
	method, path, _ := strings.Cut(route, " ")
	return &wasm.Request{
		ID: "test", Route: i, Timeout: time.Minute, Body: body, Streams: route != "GET /big",
		Fields: []abi.Field{{Name: ":method", Value: method}, {Name: ":path", Value: path}, {Name: ":query", Value: query}},
	}
}

// do has a request answered.
func (k *kitchen) do(t testing.TB, target, body string) (*answer, error) {
	t.Helper()
	var b wasm.Body
	if body != "" {
		b = &textBody{Reader: strings.NewReader(body)}
	}
	a := &answer{}
	err := k.Serve(t.Context(), k.request(t, target, b), a)
	return a, err
}

// must is do for a request that is to be answered with status 200.
func (k *kitchen) must(t testing.TB, target, body string) string {
	t.Helper()
	a, err := k.do(t, target, body)
	if err != nil || a.status != 200 {
		t.Fatalf("%s: status %d, %q, error %v", target, a.status, a.body.String(), err)
	}
	return a.body.String()
}

// answer is a sink that keeps everything.
type answer struct {
	status int
	length int64
	fields []abi.Field
	body   bytes.Buffer
	writes []string
	onHead func()
	refuse error // what Write gives
}

func (a *answer) Head(status int, fields []abi.Field, length int64) error {
	a.status, a.fields, a.length = status, fields, length
	if a.onHead != nil {
		a.onHead()
	}
	return nil
}

func (a *answer) Write(p []byte) error {
	if a.refuse != nil {
		return a.refuse
	}
	a.writes = append(a.writes, string(p))
	a.body.Write(p)
	return nil
}

func (a *answer) Flush() error { return nil }

// textBody is a request's body that is all there.
type textBody struct{ *strings.Reader }

func (*textBody) Close() error { return nil }
func (*textBody) Duplex()      {}

// fetching gives a guest one answer to every fetch.
func fetching(f wasm.Capability) func(*wasm.Options) {
	return func(o *wasm.Options) { o.Capabilities = map[abi.OpCode]wasm.Capability{abi.OpFetch: f} }
}

func text(body string, length int64) wasm.Capability {
	return func(context.Context, *wasm.Operation) (*wasm.Reply, error) {
		return &wasm.Reply{Status: 200, Body: io.NopCloser(strings.NewReader(body)), Length: length}, nil
	}
}
