package capability_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/cache"
	"github.com/patchbay-run/patchbay/host/internal/capability"
	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/guesttest"
	"github.com/patchbay-run/patchbay/host/internal/logtest"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// keeper is a pool of the guest in testdata/keeper, whose fetches the test answers.
type keeper struct {
	*testing.T
	*wasm.Pool
	cache   *cache.Cache
	refused *capability.Refusals
	log     *logtest.Buffer

	fetches atomic.Int32
	begun   chan bool // gets a value for each fetch, if not nil
	free    chan string
}

// startKeeper starts workers with a grant for so many bytes.
func startKeeper(t *testing.T, workers, inFlight int, grant config.Bytes, change ...func(*wasm.Options)) *keeper {
	t.Helper()
	engine, err := wasm.Open(filepath.Join(guesttest.Cache(t), "compiled"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	binary, err := os.ReadFile(guesttest.Build(t, "testdata/keeper"))
	if err != nil {
		t.Fatal(err)
	}
	module, err := engine.Compile(t.Context(), binary)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(module.Release)
	k := &keeper{T: t, cache: cache.New(nil), refused: &capability.Refusals{}, log: &logtest.Buffer{}, free: make(chan string)}
	t.Cleanup(k.cache.Close)
	log := slog.New(slog.NewTextHandler(k.log, nil))
	table := capability.For(capability.NewHost(&capability.Parts{Cache: k.cache}), capability.Plugin{
		Name: "keeper", Grant: config.Grant{Cache: grant}, Refused: k.refused, Log: log,
	})
	table.Slow[abi.OpFetch] = k.fetch
	options := wasm.Options{
		Name: "keeper", Version: "1.0.0", Routes: []string{"GET /once", "GET /put", "GET /hoard", "GET /answer", "GET /direct"}, Workers: workers, Memory: 64 << 20, InFlight: inFlight, Answer: 64 << 20,
		Capabilities: table.Slow, Quick: table.Quick, Log: log,
	}
	for _, c := range change {
		c(&options)
	}
	k.Pool, err = module.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// fetch answers with what the test gives.
func (k *keeper) fetch(ctx context.Context, _ *wasm.Operation) (*wasm.Reply, error) {
	k.fetches.Add(1)
	if k.begun != nil {
		k.begun <- true
	}
	select {
	case text := <-k.free:
		return &wasm.Reply{Status: 200, Body: io.NopCloser(strings.NewReader(text)), Length: int64(len(text))}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// said is what a request was answered with.
type said struct {
	status int
	fields []abi.Field
	body   bytes.Buffer
	err    error
}

func (s *said) Head(status int, fields []abi.Field, _ int64) error {
	s.status, s.fields = status, fields
	return nil
}
func (s *said) Write(p []byte) error { s.body.Write(p); return nil }
func (s *said) Flush() error         { return nil }
func (s *said) state() string        { return abi.Get(s.fields, "x-cache") }

func (k *keeper) do(ctx context.Context, path, query string) *said {
	s := &said{}
	route := map[string]int{"/once": 0, "/put": 1, "/hoard": 2, "/answer": 3, "/direct": 4}[path]
	s.err = k.Serve(ctx, &wasm.Request{
		ID: "test", Route: route, Timeout: time.Minute,
		Fields: []abi.Field{{Name: ":method", Value: "GET"}, {Name: ":path", Value: path}, {Name: ":query", Value: query}},
	}, s)
	return s
}

func (k *keeper) stats() cache.Stats {
	st, _ := k.cache.Look("keeper")
	return st
}

func (k *keeper) eventually(what string, ok func() bool) {
	k.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			k.Fatalf("not yet: %s; %+v", what, k.stats())
		}
	}
}

// TestWorkersShareOneComputation fills three workers, so that each has callers of the one key.
func TestWorkersShareOneComputation(t *testing.T) {
	k := startKeeper(t, 3, 20, 1<<20)
	const n = 60 // three workers with 20 requests each
	var all sync.WaitGroup
	var states sync.Map
	for range n {
		all.Go(func() {
			s := k.patient("/once", "key=k")
			if s.err != nil || s.status != 200 || s.body.String() != "value" {
				t.Errorf("%d %q %v", s.status, s.body.String(), s.err)
			}
			count, _ := states.LoadOrStore(s.state(), &atomic.Int32{})
			count.(*atomic.Int32).Add(1)
		})
	}
	k.eventually("all wait", func() bool { return k.stats().Waiting == n-1 })
	if workers := k.Stats().Workers; workers != 3 {
		t.Errorf("%d workers hold %d requests", workers, n)
	}
	k.free <- "value"
	all.Wait()
	if n := k.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
	if shared, _ := states.Load("shared"); shared == nil || shared.(*atomic.Int32).Load() != n-1 {
		t.Errorf("%+v", k.stats())
	}
	if s := k.do(t.Context(), "/once", "key=k"); s.state() != "hit" || s.body.String() != "value" {
		t.Errorf("%q %q", s.state(), s.body.String())
	}
}

// TestLeaderGone: its client leaves, or its worker traps. Whoever waits in another worker computes, and the third shares.
func TestLeaderGone(t *testing.T) {
	for _, how := range []string{"left", "trap"} {
		t.Run(how, func(t *testing.T) {
			k := startKeeper(t, 3, 1, 1<<20) // each worker has one request
			k.begun = make(chan bool)
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			var all sync.WaitGroup
			all.Go(func() {
				if s := k.do(ctx, "/once", "key=k&"+how); s.err == nil {
					t.Errorf("the leader was answered %d", s.status)
				}
			})
			<-k.begun
			var states [2]string
			for i := range states {
				all.Go(func() {
					s := k.patient("/once", "key=k")
					if states[i] = s.state(); s.err != nil || s.body.String() != "second" {
						t.Errorf("%d %q %v", s.status, s.body.String(), s.err)
					}
				})
				k.eventually("it waits", func() bool { return k.stats().Waiting == i+1 })
			}
			if how == "left" {
				leave()
			} else {
				k.free <- "first"
			}
			<-k.begun
			k.free <- "second"
			all.Wait()
			if slices.Sort(states[:]); states != [2]string{"miss", "shared"} || k.fetches.Load() != 2 || k.stats().Takeovers != 1 {
				t.Errorf("%q, %d fetches, %+v", states, k.fetches.Load(), k.stats())
			}
		})
	}
}

// TestRefreshOutlivesItsRequest: the stale value is answered at once; the worker computes on.
func TestRefreshOutlivesItsRequest(t *testing.T) {
	k := startKeeper(t, 1, 20, 1<<20)
	k.begun = make(chan bool, 100)
	go func() { k.free <- "old" }()
	const query = "key=k&ttl=20ms&stale=1h"
	if s := k.do(t.Context(), "/once", query); s.state() != "miss" || s.body.String() != "old" {
		t.Fatalf("%q %q %v", s.state(), s.body.String(), s.err)
	}
	<-k.begun
	k.eventually("it is stale", func() bool { return k.do(t.Context(), "/once", query).state() == "stale" })
	<-k.begun
	for range 50 { // while one computes, nobody waits
		if s := k.do(t.Context(), "/once", query); s.state() != "stale" || s.body.String() != "old" {
			t.Fatalf("%q %q %v", s.state(), s.body.String(), s.err)
		}
	}
	if n := k.fetches.Load(); n != 2 {
		t.Errorf("%d fetches", n)
	}
	k.free <- "new"
	k.eventually("it is new", func() bool { return k.do(t.Context(), "/once", query).body.String() == "new" })
}

// TestFreshWorkersRefreshThemselves: where nothing outlives a request, one request makes the new value, and the others have the old one.
func TestFreshWorkersRefreshThemselves(t *testing.T) {
	k := startKeeper(t, 1, 20, 1<<20, func(o *wasm.Options) { o.Fresh, o.Instances = true, 8 })
	k.begun = make(chan bool, 100)
	go func() { k.free <- "old" }()
	const query = "key=k&ttl=1s&stale=1h"
	if s := k.do(t.Context(), "/once", query); s.state() != "miss" || s.body.String() != "old" {
		t.Fatalf("%q %q %v", s.state(), s.body.String(), s.err)
	}
	<-k.begun
	time.Sleep(1100 * time.Millisecond)
	var one sync.WaitGroup
	one.Go(func() {
		if s := k.do(t.Context(), "/once", query); s.state() != "miss" || s.body.String() != "new" {
			t.Errorf("%q %q %v", s.state(), s.body.String(), s.err)
		}
	})
	<-k.begun
	for range 10 {
		if s := k.do(t.Context(), "/once", query); s.state() != "stale" || s.body.String() != "old" {
			t.Errorf("%q %q %v", s.state(), s.body.String(), s.err)
		}
	}
	k.free <- "new"
	one.Wait()
	if n := k.fetches.Load(); n != 2 {
		t.Errorf("%d fetches", n)
	}
}

// TestLeadIsAsLongAsThePluginSays: then the next in line computes too.
func TestLeadIsAsLongAsThePluginSays(t *testing.T) {
	k := startKeeper(t, 1, 20, 1<<20)
	k.begun = make(chan bool, 2)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if s := k.do(t.Context(), "/once", "key=k&lead=50ms"); s.body.String() != "value" {
				t.Errorf("%q %v", s.body.String(), s.err)
			}
		})
	}
	<-k.begun
	<-k.begun
	k.free <- "value"
	k.free <- "value"
	both.Wait()
}

// TestFreshWorkersFailWithTheOldValue: the one that makes the new value has the old one when that fails.
func TestFreshWorkersFailWithTheOldValue(t *testing.T) {
	k := startKeeper(t, 1, 20, 1<<20, func(o *wasm.Options) { o.Fresh = true })
	go func() { k.free <- "old" }()
	const query = "key=k&ttl=1s&stale=1h"
	if s := k.do(t.Context(), "/once", query); s.body.String() != "old" {
		t.Fatalf("%q %v", s.body.String(), s.err)
	}
	time.Sleep(1100 * time.Millisecond)
	go func() { k.free <- strings.Repeat("x", 2<<20) }() // more than the guest reads
	if s := k.do(t.Context(), "/once", query); s.state() != "stale" || s.body.String() != "old" || k.fetches.Load() != 2 {
		t.Errorf("%q %.20q %v after %d fetches", s.state(), s.body.String(), s.err, k.fetches.Load())
	}
}

func TestFailureIsSharedBriefly(t *testing.T) {
	k := startKeeper(t, 1, 20, 1<<20)
	k.begun = make(chan bool, 100)
	go func() { k.free <- strings.Repeat("x", 2<<20) }() // over what the guest reads
	for range 5 {
		if s := k.do(t.Context(), "/once", "key=k&failed=1h"); s.status != 502 || !strings.Contains(s.body.String(), "too large") {
			t.Errorf("%d %q %v", s.status, s.body.String(), s.err)
		}
	}
	if st := k.stats(); k.fetches.Load() != 1 || st.Failures != 1 || st.Failed != 4 {
		t.Errorf("%d fetches, %+v", k.fetches.Load(), st)
	}
}

// TestLargeValues pass in pieces, under credit, and only as far as there is room.
func TestLargeValues(t *testing.T) {
	k := startKeeper(t, 1, 20, 7<<20)
	want := strings.Repeat("0123456789", 300_000)
	for _, state := range []string{"miss", "hit", "hit"} {
		if state == "miss" {
			go func() { k.free <- want[:100_000] }()
		}
		if s := k.do(t.Context(), "/once", "key=k&n=30"); s.err != nil || s.state() != state || s.body.String() != want {
			t.Fatalf("%q, %d bytes, %v", s.state(), s.body.Len(), s.err)
		}
	}
	for query, want := range map[string]string{
		"key=a&n=0": "true 0", "key=a&n=131072": "true 131072", "key=a&n=131073": "true 131073", "key=a&n=3000000": "true 3000000",
		"key=a&n=7340000": "cache: too large", "n=1": "cache: invalid",
	} {
		if s := k.do(t.Context(), "/put", query); !strings.HasPrefix(s.body.String(), want) {
			t.Errorf("%s: %q, %v", query, s.body.String(), s.err)
		}
	}
	if st := k.stats(); st.Bytes > 7<<20 {
		t.Errorf("%+v", st)
	}
}

// TestCacheWithoutGrant: nothing is kept, nothing fails that need not, and the operator reads which line is missing.
func TestCacheWithoutGrant(t *testing.T) {
	k := startKeeper(t, 1, 20, 0)
	for _, text := range []string{"one", "two"} {
		go func() { k.free <- text }()
		if s := k.do(t.Context(), "/once", "key=k"); s.err != nil || s.state() != "miss" || s.body.String() != text {
			t.Errorf("%q %q %v", s.state(), s.body.String(), s.err)
		}
	}
	if s := k.do(t.Context(), "/put", "key=k&n=1"); !strings.Contains(s.body.String(), "denied") || !strings.Contains(s.body.String(), "cache: 16MiB") {
		t.Errorf("%q", s.body.String())
	}
	list := k.refused.List()
	if len(list) != 1 || !strings.Contains(list[0].Text, `plugin "keeper" may keep nothing: add to its grant: cache: 16MiB`) || list[0].Count != 4 {
		t.Errorf("%+v", list)
	}
	if _, ok := k.cache.Look("keeper"); ok {
		t.Error("it has a space")
	}
}

// patient is do, again while no worker has room.
func (k *keeper) patient(path, query string) *said {
	for {
		s := k.do(k.Context(), path, query)
		if !errors.Is(s.err, wasm.ErrFull) {
			return s
		}
		time.Sleep(time.Millisecond)
	}
}

// TestValuesOnTheirWayAreBounded asks for more at once than may lie in the host for one worker, in answers of one event and in longer ones.
func TestValuesOnTheirWayAreBounded(t *testing.T) {
	k := startKeeper(t, 1, 4, 16<<20, func(o *wasm.Options) { o.Memory, o.Fetches = 16<<20, 10 })
	for _, c := range []struct {
		query   string
		got, to int // how many are answered
	}{
		{"n=200&size=1000", 200, 200},
		{"n=100&size=120000", 100, 100},
		{"n=250&size=120000", 100, 249}, // over the 16 MiB of limits.memory
		{"n=8&size=140000", 8, 8},
		{"n=100&size=140000", 10, 99}, // over limits.fetches
	} {
		s := k.do(t.Context(), "/hoard", c.query)
		var got, refused, n int
		_, _ = fmt.Sscanf(c.query, "n=%d", &n)
		if _, err := fmt.Sscan(s.body.String(), &got, &refused); err != nil || s.err != nil {
			t.Fatalf("%s: %q, %v", c.query, s.body.String(), s.err)
		}
		if got < c.got || got > c.to || got+refused != n {
			t.Errorf("%s: %d came and %d were refused, want %d to %d to come", c.query, got, refused, c.got, c.to)
		}
	}
	if hits := k.Stats().Limits; hits["fetches"] == 0 || hits["memory"]+hits["bodies"] == 0 {
		t.Errorf("%v", hits)
	}
}
