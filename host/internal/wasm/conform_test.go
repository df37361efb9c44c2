package wasm_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// conformHandshake asks a guest by itself: it names its own version where none fits, and no feature that was not offered.
func conformHandshake(t *testing.T, s *subject) {
	ctx := t.Context()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter()) // for a few calls
	defer r.Close(ctx)
	wasi_snapshot_preview1.MustInstantiate(ctx, r)
	_, err := r.NewHostModuleBuilder(abi.ImportModule).
		NewFunctionBuilder().WithFunc(func(_, _, _, _ uint32) uint32 { return 0 }).Export(abi.ImportTake).
		NewFunctionBuilder().WithFunc(func(_, _ uint32) uint32 { return 0 }).Export(abi.ImportSubmit).
		NewFunctionBuilder().WithFunc(func(_ uint64, _, _, _, _, _ uint32) uint32 { return 0 }).Export(abi.ImportRespond).
		NewFunctionBuilder().WithFunc(func(_ uint64, _, _, _ uint32) uint32 { return 0 }).Export(abi.ImportLog).
		Instantiate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	m, err := r.InstantiateWithConfig(ctx, s.binary, wazero.NewModuleConfig().WithStartFunctions("_initialize"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ min, max, offered uint64 }{{1, 1, 3}, {1, 1, 0}, {1, 1, 1}, {1, 9, 1<<64 - 1}, {2, 9, 3}, {0, 0, 0}} {
		got, err := m.ExportedFunction(abi.ExportHandshake).Call(ctx, c.min, c.max, c.offered)
		if err != nil {
			t.Fatal(err)
		}
		version, features := abi.SplitHandshake(got[0])
		known := c.offered & (abi.FeaturePipe | abi.FeatureSSE | abi.FeatureCache | abi.FeaturePublish)
		if version != abi.Version || uint64(features)&^known != 0 {
			t.Errorf("offered %d to %d with features %#x it answers %d and %#x", c.min, c.max, c.offered, version, features)
		}
	}
}

func conformConfig(t *testing.T, s *subject) {
	const config = `{"word":"grün","list":[1,2,{"deep":null}]}`
	k := s.start(t, func(o *wasm.Options) { o.Config = []byte(config) })
	if got := k.must(t, "GET /config", ""); got != config {
		t.Errorf("got %s", got)
	}
	if got := s.start(t, nil).must(t, "GET /config", ""); got != "{}" {
		t.Errorf("without a configuration: %s", got)
	}
}

func conformAnswers(t *testing.T, s *subject) {
	k := s.start(t, nil)
	for _, status := range []int{200, 204, 302, 404, 500, 599} {
		a, err := k.do(t, fmt.Sprintf("GET /status?code=%d", status), "")
		if err != nil || a.status != status || a.body.Len() != 0 {
			t.Errorf("status %d: %d %q, error %v", status, a.status, a.body.String(), err)
		}
		var twice []string
		for _, f := range a.fields {
			if f.Name == "x-twice" {
				twice = append(twice, f.Value)
			}
		}
		if strings.Join(twice, " ") != "one two" {
			t.Errorf("x-twice came as %q", twice)
		}
	}
	for _, n := range []int{0, 1, 5, 50_000} { // the last is over the credit
		var want strings.Builder
		for i := range n {
			fmt.Fprintf(&want, "piece %d\n", i)
		}
		if got := k.must(t, fmt.Sprintf("GET /stream?n=%d", n), ""); got != want.String() {
			t.Errorf("%d pieces came as %d bytes, want %d", n, len(got), want.Len())
		}
	}
}

// conformHeaders fills a request's field block to the last byte, and has the headers sent back.
func conformHeaders(t *testing.T, s *subject) {
	k := s.start(t, nil)
	req := k.request(t, "GET /headers", nil)
	sent := 0
	for i := 0; ; i++ {
		f := abi.Field{Name: fmt.Sprintf("x-%d", i), Value: strings.Repeat("v", 1000)}
		if room := abi.MaxBlock - abi.BlockSize(req.Fields) - 8 - len(f.Name); room < len(f.Value) {
			f.Value = f.Value[:room]
		}
		req.Fields = append(req.Fields, f)
		sent += len(f.Value)
		if abi.BlockSize(req.Fields) == abi.MaxBlock {
			break
		}
	}
	a := &answer{}
	if err := k.Serve(t.Context(), req, a); err != nil || a.body.String() != strconv.Itoa(sent) {
		t.Fatalf("%d bytes in headers came as %q, error %v", sent, a.body.String(), err)
	}
	back := 0
	for _, f := range a.fields {
		if strings.HasPrefix(f.Name, "x-") {
			back += len(f.Value)
		}
	}
	if back != sent {
		t.Errorf("%d of %d bytes came back", back, sent)
	}
}

// letters is what GET /big answers with, and what the suite sends.
func letters(n int) string {
	return strings.Repeat("abcdefghijklmnopqrstuvwxyz", n/26+1)[:n]
}

const huge = 16 << 20

func conformBodies(t *testing.T, s *subject) {
	k := s.start(t, nil)
	for _, n := range []int{0, 1, 65_535, 65_536, 65_537, 262_144, 1 << 20, huge} {
		body := letters(n)
		if got := k.must(t, "POST /echo", body); got != body {
			t.Errorf("%d bytes came back as %d others", n, len(got))
		}
		if got := k.must(t, "POST /count", body); got != strconv.Itoa(n) {
			t.Errorf("%d bytes were counted as %s", n, got)
		}
		req, a := k.request(t, fmt.Sprintf("GET /big?n=%d", n), nil), &answer{}
		req.Streams = true
		if err := k.Serve(t.Context(), req, a); err != nil || a.body.String() != body {
			t.Errorf("%d bytes of an answer came as %d, error %v", n, a.body.Len(), err)
		}
	}
}

// conformEarly answers while the client is still sending, and would be for ever.
func conformEarly(t *testing.T, s *subject) {
	k := s.start(t, nil)
	a := &answer{}
	err := k.Serve(t.Context(), k.request(t, "POST /early", &slowBody{closed: make(chan struct{})}), a)
	if err != nil || a.body.String() != "early" {
		t.Errorf("got %q, error %v", a.body.String(), err)
	}
}

func conformTimers(t *testing.T, s *subject) {
	k := s.start(t, nil)
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			wait := time.Duration(i%10) * 3 * time.Millisecond
			began := time.Now()
			got, err := k.do(t, fmt.Sprintf("GET /sleep?ms=%d", wait.Milliseconds()), "")
			if err != nil || got.body.String() != "slept" || time.Since(began) < wait {
				t.Errorf("to sleep for %v took %v: %q, error %v", wait, time.Since(began), got.body.String(), err)
			}
		})
	}
	all.Wait()
}

func conformFetch(t *testing.T, s *subject) {
	for _, n := range []int{0, 5, 65_536, 65_537, huge} {
		for _, known := range []bool{true, false} {
			body := letters(n)
			k := s.start(t, fetching(func(_ context.Context, in *wasm.Operation) (*wasm.Reply, error) {
				if url := abi.Get(in.Fields, ":url"); url != "upstream://up/some/path" || abi.Get(in.Fields, ":method") != "GET" {
					return nil, fmt.Errorf("asked for %s", url)
				}
				length := int64(n)
				if !known {
					length = -1
				}
				return &wasm.Reply{Status: 418, Fields: []abi.Field{{Name: "x-up", Value: "yes"}}, Body: io.NopCloser(strings.NewReader(body)), Length: length}, nil
			}))
			a, err := k.do(t, "GET /fetch?path=/some/path", "")
			if err != nil || a.status != 418 || abi.Get(a.fields, "x-up") != "yes" || a.body.String() != body {
				t.Errorf("%d bytes: %d with %d bytes %v, error %v", n, a.status, a.body.Len(), a.fields, err)
			}
		}
	}
}

// conformFetchFails hands every code through, and what may not be asked at all.
func conformFetchFails(t *testing.T, s *subject) {
	code := abi.Denied
	k := s.start(t, fetching(func(context.Context, *wasm.Operation) (*wasm.Reply, error) {
		return nil, &abi.Error{Code: code, Text: "no"}
	}))
	for ; code <= abi.Internal; code++ {
		if a, err := k.do(t, "GET /fetch?path=/", ""); err != nil || a.status != 502 || a.body.String() != fmt.Sprint(int(code)) {
			t.Errorf("%v came as %d %q, error %v", code, a.status, a.body.String(), err)
		}
	}
	if a, err := s.start(t, nil).do(t, "GET /fetch?path=/", ""); err != nil || a.status != 502 || a.body.String() != "1" {
		t.Errorf("without the capability: %d %q, error %v", a.status, a.body.String(), err)
	}
}

// uploaded is what a fetch sends.
func uploaded(in *wasm.Operation) (string, error) {
	if in.Stream == nil {
		return string(in.Body), nil
	}
	b, err := io.ReadAll(in.Stream)
	return string(b), err
}

// conformPublish takes a state, and hands every code through.
func conformPublish(t *testing.T, s *subject) {
	var got []string
	code := abi.OK
	k := s.start(t, func(o *wasm.Options) {
		o.Quick = map[abi.OpCode]wasm.Quick{abi.OpPublish: {Do: func(in *wasm.Operation) error {
			got = append(got, in.Name+" "+strings.ReplaceAll(string(in.Body), " ", "")) // within a poll: one at a time
			if code != abi.OK {
				return &abi.Error{Code: code}
			}
			return nil
		}}}
	})
	if a := k.must(t, "GET /publish?topic=progress", ""); a != "published" || len(got) != 1 || got[0] != `progress {"n":1}` {
		t.Errorf("%q; the host was given %q", a, got)
	}
	hits := 0
	for code = abi.Denied; code <= abi.Unavailable; code++ {
		if code == abi.NotFound {
			continue // says that the request has ended
		}
		if a, err := k.do(t, "GET /publish?topic=progress", ""); err != nil || a.status != 502 || a.body.String() != fmt.Sprint(int(code)) {
			t.Errorf("%v came as %d %q, error %v", code, a.status, a.body.String(), err)
		}
		if code == abi.Limit {
			hits++
		}
	}
	if n := k.Stats().Limits["events"]; n != int64(hits) {
		t.Errorf("limits.events was hit %d times, want %d", n, hits)
	}
	if a, err := s.start(t, nil).do(t, "GET /publish?topic=progress", ""); err != nil || a.body.String() != fmt.Sprint(int(abi.Unsupported)) {
		t.Errorf("without the capability: %q, error %v", a.body.String(), err)
	}
}

func conformRelay(t *testing.T, s *subject) {
	k := s.start(t, fetching(func(_ context.Context, in *wasm.Operation) (*wasm.Reply, error) {
		body, err := uploaded(in)
		if err != nil {
			return nil, err
		}
		return &wasm.Reply{Status: 200, Body: io.NopCloser(strings.NewReader(body)), Length: -1}, nil
	}))
	for _, n := range []int{0, 10, 65_536, 65_537, 131_073, 1 << 20, huge} {
		body := letters(n)
		if got := k.must(t, "POST /relay", body); got != body {
			t.Errorf("%d bytes came back as %d others", n, len(got))
		}
	}
}

func conformPipe(t *testing.T, s *subject) {
	const n = 50
	events := "data: {\"a\":\"gr\u00fcn\"}\n\n: still there\n\ndata: two\ndata: lines\n\ndata: [DONE]\n\n"
	told := "data: {\"a\":\"gr\\u00fcn\"}\n\n: still there\n\ndata: two\ndata: lines\n\ndata: [DONE]\n\n"
	for route, c := range map[string]struct{ body, want string }{
		"GET /pipe?path=/raw":   {letters(1 << 20), letters(1 << 20)},
		"GET /pipe?path=/empty": {"", ""},
		"GET /sse?path=/events": {events, told},
	} {
		k := s.start(t, fetching(text(c.body, -1)))
		var all sync.WaitGroup
		for range n {
			all.Go(func() {
				if a, err := k.do(t, route, ""); err != nil || a.status != 200 || a.body.String() != c.want {
					t.Errorf("%s: %d with %d bytes, want %d; error %v", route, a.status, a.body.Len(), len(c.want), err)
				}
			})
		}
		all.Wait()
		until(t, k, func(c counters) bool { return c.piped == n && c.cancelled == 0 })
	}
}

// conformPipeFails breaks off before the first byte: the answer is the guest's again.
func conformPipeFails(t *testing.T, s *subject) {
	broken := func(context.Context, *wasm.Operation) (*wasm.Reply, error) {
		return &wasm.Reply{Status: 200, Body: io.NopCloser(&brokenReader{}), Length: -1}, nil
	}
	k := s.start(t, fetching(broken))
	for _, route := range []string{"GET /pipe?path=/", "GET /sse?path=/"} {
		if a, err := k.do(t, route, ""); err != nil || a.status != 502 || a.body.String() != "10" {
			t.Errorf("%s: %d %q, error %v", route, a.status, a.body.String(), err)
		}
	}
	k = s.start(t, fetching(text("data: {\"error\":{\"message\":\"full\"}}\n\n", -1)))
	if a, err := k.do(t, "GET /sse?path=/", ""); err != nil || a.status != 502 || a.body.String() != "10" {
		t.Errorf("an error as first event: %d %q, error %v", a.status, a.body.String(), err)
	}
}

type brokenReader struct{}

func (*brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// conformLockstep gives the next piece of a stream only when the client has the one before: nothing may wait for more.
func conformLockstep(t *testing.T, s *subject) {
	for _, route := range []string{"GET /fetch?path=/", "GET /pipe?path=/", "GET /sse?path=/"} {
		pieces, out := io.Pipe()
		k := s.start(t, fetching(func(context.Context, *wasm.Operation) (*wasm.Reply, error) {
			return &wasm.Reply{Status: 200, Body: pieces, Length: -1}, nil
		}))
		a := &arrivals{came: make(chan string)}
		done := make(chan error, 1)
		go func() { done <- k.Serve(t.Context(), k.request(t, route, nil), a) }()
		for i := range 20 {
			piece := fmt.Sprintf("data: %d\n\n", i)
			io.WriteString(out, piece)
			if got := <-a.came; got != piece {
				t.Fatalf("%s: piece %d came as %q", route, i, got)
			}
		}
		out.Close()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", route, err)
		}
	}
}

// arrivals hands each write over as it comes.
type arrivals struct {
	answer
	came chan string
}

func (a *arrivals) Write(p []byte) error {
	a.came <- string(bytes.Clone(p))
	return nil
}

// counters are what a guest says of itself at GET /counters.
type counters struct{ seen, cancelled, piped int }

func count(t testing.TB, k *kitchen) counters {
	t.Helper()
	var c counters
	if _, err := fmt.Sscan(k.must(t, "GET /counters", ""), &c.seen, &c.cancelled, &c.piped); err != nil {
		t.Fatal(err)
	}
	return c
}

// until waits until the guest's counters are as they should become.
func until(t testing.TB, k *kitchen, is func(counters) bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		c := count(t, k)
		if is(c) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the guest has counted %+v", c)
		}
	}
}

func conformMany(t *testing.T, s *subject) {
	const n = 10_000
	arrived, release := make(chan struct{}, n), make(chan struct{})
	k := s.start(t, func(o *wasm.Options) {
		o.InFlight, o.Memory = n, 256<<20
		fetching(func(ctx context.Context, _ *wasm.Operation) (*wasm.Reply, error) {
			arrived <- struct{}{}
			<-release
			return text("here", 4)(ctx, nil)
		})(o)
	})
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			req, a := k.request(t, "GET /fetch?path=/", nil), &answer{}
			req.Timeout = 0
			if err := k.Serve(t.Context(), req, a); err != nil || a.body.String() != "here" {
				t.Errorf("%q, error %v", a.body.String(), err)
			}
		})
	}
	for range n {
		<-arrived
	}
	if st := k.Stats(); st.Workers != 1 || st.InFlight != n {
		t.Errorf("%d workers hold %d requests, want 1 and %d", st.Workers, st.InFlight, n)
	}
	close(release)
	all.Wait()
}
