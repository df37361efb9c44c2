package trace_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"
	"weak"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/otlptest"
	"github.com/patchbay-run/patchbay/host/internal/telemetry"
	"github.com/patchbay-run/patchbay/host/internal/trace"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanID  = "00f067aa0ba902b7"
	parent  = "00-" + traceID + "-" + spanID + "-01"
)

// TestOffIsFree: without an endpoint nothing runs and a request allocates nothing for traces.
func TestOffIsFree(t *testing.T) {
	before := runtime.NumGoroutine()
	tr, _ := open(t, config.Default().Traces)
	if tr != nil {
		t.Fatalf("there is a tracer %v", tr)
	}
	// Those of the test before may still come to their end.
	for end := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("there are %d goroutines after %d", runtime.NumGoroutine(), before)
		}
	}
	calls := 0
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls++ })
	h := tr.Middleware(next)
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
	r.Header.Set("Traceparent", parent)
	ctx := r.Context()
	if n := testing.AllocsPerRun(1000, func() {
		h.ServeHTTP(nil, r)
		ctx, span := trace.Plugin(ctx, "name", "version", "shared")
		if c := trace.Of(ctx); c.Parent != "" {
			t.Error(c)
		}
		span.Fail("kind", "text")
		span.End()
		cached := trace.Cache(ctx, "get")
		cached.Result("hit")
		cached.End()
		call := tr.Begin(ctx, "GET")
		if call.Recording() {
			t.Error("a call is recorded")
		}
		call.Propagate(r.Header, true)
		call.End(1, "kind", "text")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if calls == 0 || r.Header.Get("Traceparent") != parent || tr.Stats() != (trace.Stats{}) {
		t.Error(calls, r.Header, tr.Stats())
	}
}

// TestServerSpan: how a request is answered is what its span says, without its path, its query or who asked.
func TestServerSpan(t *testing.T) {
	const route = "GET /v1/models/{id}"
	for name, c := range map[string]struct {
		method, pattern string
		answer          http.HandlerFunc
		want            map[string]string // attributes; the keys name and status are the span's own
	}{
		"fine":             {"GET", route, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) }, map[string]string{"name": route, "status": "", "http.route": "/v1/models/{id}", "url.path": "/v1/models/{id}", "http.response.status_code": "201", "http.request.method": "GET"}},
		"nothing written":  {"GET", route, func(http.ResponseWriter, *http.Request) {}, map[string]string{"status": "", "http.response.status_code": "200"}},
		"not found":        {"GET", "", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, map[string]string{"name": "GET", "status": "", "http.route": "", "url.path": "", "error.type": ""}},
		"failed":           {"GET", route, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, map[string]string{"status": "error", "error.type": "502"}},
		"a strange method": {"BREW", route, func(http.ResponseWriter, *http.Request) {}, map[string]string{"name": "HTTP /v1/models/{id}", "http.request.method": "_OTHER"}},
		"given up": {"GET", route, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			panic(http.ErrAbortHandler)
		}, map[string]string{"status": "error", "error.type": "aborted", "http.response.status_code": "200"}},
	} {
		t.Run(name, func(t *testing.T) {
			receiver := otlptest.Start(t, "grpc", nil)
			tr, _ := open(t, settings(receiver.URL, nil))
			r := httptest.NewRequestWithContext(t.Context(), c.method, "/v1/models/secret-path?q=secret-query", strings.NewReader("secret-body"))
			r.Header.Set("Authorization", "secret-header")
			r.Header.Set("User-Agent", "secret-agent")
			r.Host, r.RemoteAddr = "secret-host", "192.0.2.99:99"
			func() {
				defer func() { _ = recover() }()
				server(tr, c.pattern, c.answer).ServeHTTP(httptest.NewRecorder(), r)
			}()
			tr.Close()
			all := receiver.Spans()
			if len(all) != 1 {
				t.Fatal(otlptest.Names(all))
			}
			for key, want := range c.want {
				got := all[0].Attribute(key)
				switch key {
				case "name":
					got = all[0].GetName()
				case "status":
					got = map[bool]string{true: "error"}[all[0].GetStatus().GetCode() == 2]
				}
				if got != want {
					t.Errorf("%s is %q, want %q", key, got, want)
				}
			}
			if text := receiver.Text(); strings.Contains(text, "secret") || strings.Contains(text, "192.0.2.99") {
				t.Errorf("the span tells too much: %s", text)
			}
		})
	}
}

// TestTraceparent: only a valid one is taken up; of a long tracestate the first members.
func TestTraceparent(t *testing.T) {
	long := "a=" + strings.Repeat("x", 200) + ",b=" + strings.Repeat("y", 200) + ",c=" + strings.Repeat("z", 200)
	for name, c := range map[string]struct {
		parents, states []string
		joins           bool
		state           string
	}{
		"valid":               {[]string{parent}, nil, true, ""},
		"none":                {nil, []string{"a=1"}, false, ""},
		"of a later version":  {[]string{"01-" + traceID + "-" + spanID + "-01-more"}, nil, true, ""},
		"capitals":            {[]string{strings.ToUpper(parent)}, nil, false, ""},
		"no trace":            {[]string{"00-" + strings.Repeat("0", 32) + "-" + spanID + "-01"}, nil, false, ""},
		"no span":             {[]string{"00-" + traceID + "-" + strings.Repeat("0", 16) + "-01"}, nil, false, ""},
		"a forbidden version": {[]string{"ff" + parent[2:]}, nil, false, ""},
		"too long":            {[]string{parent + "-00"}, nil, false, ""},
		"a dash too long":     {[]string{parent + "-"}, nil, false, ""},
		"too short":           {[]string{parent[:54]}, nil, false, ""},
		"twice":               {[]string{parent, parent}, nil, false, ""},
		"rubbish":             {[]string{"\x00\xff"}, nil, false, ""},
		"states of two lines": {[]string{parent}, []string{"a=1", "b=2"}, true, "a=1,b=2"},
		"a state of no form":  {[]string{parent}, []string{"="}, true, ""},
		"a long state":        {[]string{parent}, []string{long}, true, long[:strings.Index(long, ",c=")]},
		"one long member":     {[]string{parent}, []string{"a=" + strings.Repeat("x", 5000)}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			receiver := otlptest.Start(t, "grpc", nil)
			tr, _ := open(t, settings(receiver.URL, nil))
			r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
			r.Header["Traceparent"], r.Header["Tracestate"] = c.parents, c.states
			var inside trace.Context
			server(tr, "", func(_ http.ResponseWriter, r *http.Request) { inside = trace.Of(r.Context()) }).ServeHTTP(httptest.NewRecorder(), r)
			tr.Close()
			span := receiver.Spans()[0]
			if joined := span.Trace() == traceID && span.Parent() == spanID; joined != c.joins {
				t.Errorf("joined: %v, trace %s, parent %q", joined, span.Trace(), span.Parent())
			}
			if want := map[bool]uint32{true: 0x301, false: 0x101}[c.joins]; span.GetFlags() != want { // sampled; that the parent is remote, or not, is known
				t.Errorf("its flags are %x, want %x", span.GetFlags(), want)
			}
			if inside.State != c.state || span.GetTraceState() != c.state || !strings.HasPrefix(inside.Parent, "00-"+span.Trace()+"-"+span.ID()+"-0") {
				t.Errorf("inside it is %+v of %s %s, want the state %q", inside, span.Trace(), span.ID(), c.state)
			}
		})
	}
}

// TestReceivers: both protocols, plain and over TLS by a certificate of one's own, with headers.
func TestReceivers(t *testing.T) {
	cert, ca := certificate(t)
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %v", strings.ReplaceAll(protocol, "/", " "), secure), func(t *testing.T) {
				// What the environment says about exporters does not count.
				t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
				t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=other")
				with, file := cert, ca
				if !secure {
					with, file = nil, ""
				}
				receiver := otlptest.Start(t, protocol, with)
				tr, log := open(t, settings(receiver.URL, func(c *config.Traces) {
					c.Protocol, c.CA, c.Headers = protocol, file, map[string]string{"api-key": "k", "empty": ""}
				}))
				server(tr, "GET /", func(http.ResponseWriter, *http.Request) {}).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
				tr.Close()
				if n := len(receiver.Spans()); n != 1 || tr.Stats() != (trace.Stats{Sent: 1}) || receiver.Header("Api-Key") != "k" || log.String() != "" {
					t.Errorf("%d spans, %+v, key %q, log %s", n, tr.Stats(), receiver.Header("Api-Key"), log)
				}
			})
		}
	}
}

// TestQueueIsBounded: what does not fit is dropped at once and counted, and so is what a receiver never takes. Every span is one or the other.
func TestQueueIsBounded(t *testing.T) {
	receiver := otlptest.Start(t, "grpc", nil)
	receiver.Hang()
	const queue, n = 20_000, 20_500 // forty batches, each of which would hang for a second
	tr, _ := open(t, settings(receiver.URL, func(c *config.Traces) { c.Queue, c.Timeout = queue, time.Second }))
	h := server(tr, "GET /", func(http.ResponseWriter, *http.Request) {})
	began := time.Now()
	for range n {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("requests waited: %v", took)
	}
	if s := tr.Stats(); s.Dropped < n-queue || s.Dropped == n {
		t.Errorf("%+v of %d, while %d may wait", s, n, queue)
	}
	began = time.Now()
	tr.Close()
	if took := time.Since(began); took > 25*time.Second {
		t.Errorf("closing took %v", took)
	}
	if s := tr.Stats(); s != (trace.Stats{Dropped: n}) {
		t.Errorf("%+v of %d", s, n)
	}
}

// TestSpansHoldLittle: what waits to be sent holds neither the line of a request nor other texts of which it tells a part.
func TestSpansHoldLittle(t *testing.T) {
	receiver := otlptest.Start(t, "grpc", nil)
	tr, _ := open(t, settings(receiver.URL, func(*config.Traces) {}))
	var call trace.Call
	h := server(tr, "GET /", func(_ http.ResponseWriter, r *http.Request) { call = tr.Begin(r.Context(), "GET") })
	var all []weak.Pointer[byte]
	for range 20 { // they end one after the other, and none is sent and let go of but by the next ones
		func() {
			line := "GET /" + strings.Repeat("x", 60<<10) + " HTTP/1.1"
			state := strings.Repeat("k=v,", 15<<10)
			host := strings.Repeat("h", 60<<10)
			why := strings.Repeat("w", 60<<10)
			r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
			r.Method, r.Proto = line[:3], line[len(line)-8:]
			r.Header.Set("Traceparent", parent)
			r.Header.Set("Tracestate", state)
			h.ServeHTTP(httptest.NewRecorder(), r)
			call.Target(line[:3], "/", "", host[:9], 80)
			call.End(0, "connect", why)
			for _, text := range []string{line, state, host, why} {
				all = append(all, weak.Make(unsafe.StringData(text)))
			}
		}()
	}
	held := 0
	for range 10 { // what is pooled goes with the second
		runtime.GC()
		held = 0
		for _, p := range all {
			if p.Value() != nil {
				held++
			}
		}
	}
	if held > 0 {
		t.Errorf("%d of %d long texts are held", held, len(all))
	}
	tr.Close()
	if n := len(receiver.Spans()); n != 40 {
		t.Errorf("%d spans", n)
	}
}

// TestNobodyListens: one line is logged however many batches fail, and it holds no secret.
func TestNobodyListens(t *testing.T) {
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		const queue = 4 // and so is a batch
		tr, log := open(t, settings("http://127.0.0.1:1", func(c *config.Traces) { c.Protocol, c.Timeout, c.Queue = protocol, 300*time.Millisecond, queue }))
		h := server(tr, "GET /", func(http.ResponseWriter, *http.Request) {})
		for batch := range uint64(3) {
			for range queue {
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
			}
			for began := time.Now(); tr.Stats().Dropped < (batch+1)*queue; time.Sleep(time.Millisecond) {
				if time.Since(began) > time.Minute {
					t.Fatalf("%s, batch %d: %+v", protocol, batch, tr.Stats())
				}
			}
		}
		tr.Close()
		if lines := strings.Count(log.String(), "spans are lost"); lines != 1 {
			t.Errorf("%s: %d lines: %s", protocol, lines, log)
		}
	}
}

// TestWholeSpan: all that a span can say comes as it was said, bounded, and nothing comes that the protocol does not know.
func TestWholeSpan(t *testing.T) {
	receiver := otlptest.Start(t, "grpc", nil)
	tr, _ := open(t, settings(receiver.URL, nil))
	long := strings.Repeat("x", 1023) + "é"
	call := tr.Begin(t.Context(), "POST")
	call.Target("POST", "/v1", "", "first.example", 80)
	for i := range 20 {
		call.Attempt(i+1, fmt.Sprint("peer-", i), "reset")
	}
	call.Peer("[::1]:8080")
	call.Status(404, 21)
	call.Chat(trace.Chat{
		Operation: "chat", Provider: long, RequestModel: "m\xff1", Model: "m1-served", InputTokens: 1 << 40, OutputTokens: 4, FinishReasons: []string{"stop", "length"},
		FirstText: 1500 * time.Millisecond, Failed: true,
	})
	call.End(77, "", "")
	call.Status(500, 1) // too late
	call.End(78, "kind", "text")
	if call.Recording() {
		t.Error("a call that ended is recorded")
	}
	tr.Close()
	all := receiver.Spans()
	if len(all) != 1 {
		t.Fatal(otlptest.Names(all))
	}
	s := all[0]
	for name, want := range map[string]string{
		"http.request.method": "POST", "url.template": "/v1", "server.address": "::1", "server.port": "8080", "http.request.resend_count": "20", "http.response.status_code": "404",
		"gen_ai.operation.name": "chat", "gen_ai.provider.name": long[:1023], "gen_ai.request.model": "m1", "gen_ai.response.model": "m1-served", "gen_ai.usage.input_tokens": "1099511627776",
		"gen_ai.usage.output_tokens": "4", "gen_ai.response.finish_reasons": "stop,length", "gen_ai.response.time_to_first_chunk": "1.5", "error.type": "answer", "http.response.body.size": "77",
	} {
		if got := s.Attribute(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if len(s.GetAttributes()) != 16 || s.GetName() != "chat m1" || s.GetKind() != 3 || s.GetStatus().GetMessage() != "the answer holds an error" || s.GetFlags() != 0x101 || s.Parent() != "" {
		t.Errorf("the span is %v", s)
	}
	if n := len(s.GetEvents()); n != 16 || s.GetDroppedEventsCount() != 4 {
		t.Errorf("there are %d events, and %d more were", n, s.GetDroppedEventsCount())
	}
	last := s.GetEvents()[len(s.GetEvents())-1]
	if at := last.GetTimeUnixNano(); at < s.GetStartTimeUnixNano() || at > s.GetEndTimeUnixNano() || last.GetName() != "attempt failed" {
		t.Errorf("the last event is %v", last)
	}
	got := map[string]string{}
	for _, kv := range last.GetAttributes() {
		got[kv.GetKey()] = kv.GetValue().GetStringValue() + fmt.Sprint(kv.GetValue().GetIntValue())
	}
	if want := map[string]string{"http.request.resend_count": "19", "server.address": "peer-190", "error.type": "reset0"}; !maps.Equal(got, want) {
		t.Errorf("the last event says %v", got)
	}
	if ago := time.Since(time.Unix(0, int64(s.GetStartTimeUnixNano()))).Abs(); ago > time.Hour || s.GetEndTimeUnixNano() < s.GetStartTimeUnixNano() {
		t.Errorf("it began at %d and ended at %d", s.GetStartTimeUnixNano(), s.GetEndTimeUnixNano())
	}
	if s.Resource["service.name"] != "patchbay" || s.Resource["telemetry.sdk.name"] == "" {
		t.Errorf("the resource is %v", s.Resource)
	}
	if n := unknown(s.ProtoReflect()); n != 0 {
		t.Errorf("it has %d bytes of fields that nobody knows", n)
	}
}

// unknown counts the bytes of unknown fields of a message and all within it.
func unknown(m protoreflect.Message) (n int) {
	n = len(m.GetUnknown())
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				n += unknown(v.List().Get(i).Message())
			}
		default:
			n += unknown(v.Message())
		}
		return true
	})
	return n
}

// TestSpansThatEndTogether: spans of one request come from many goroutines, each once, below the one that they belong to.
func TestSpansThatEndTogether(t *testing.T) {
	receiver := otlptest.Start(t, "grpc", nil)
	tr, _ := open(t, settings(receiver.URL, nil))
	const n = 50
	server(tr, "GET /", func(_ http.ResponseWriter, r *http.Request) {
		ctx, span := trace.Plugin(r.Context(), "name", "version", "shared")
		var all sync.WaitGroup
		for range n {
			all.Go(func() {
				s := trace.Cache(ctx, "get")
				s.Result("hit")
				var both sync.WaitGroup
				both.Go(s.End)
				both.Go(s.End)
				both.Wait()
				s.Fail("late", "")
			})
		}
		all.Wait()
		span.End()
		if trace.Cache(ctx, "get") != nil {
			t.Error("there is a span below one that ended")
		}
	}).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
	tr.Close()
	all := receiver.Spans()
	root, plugin := otlptest.Find(t, all, "GET /"), otlptest.Find(t, all, "plugin name")
	if len(all) != n+2 || plugin.Parent() != root.ID() || root.GetKind() != 2 || plugin.GetKind() != 1 || tr.Stats() != (trace.Stats{Sent: n + 2}) {
		t.Errorf("%d spans came: %v, %+v", len(all), otlptest.Names(all), tr.Stats())
	}
	ids := map[string]bool{}
	for _, s := range all {
		ids[s.ID()] = true
		if s.GetName() == "cache get" && (s.Parent() != plugin.ID() || s.Trace() != root.Trace() || s.Attribute("patchbay.cache.result") != "hit" || s.Attribute("error.type") != "") {
			t.Errorf("one is %v", s)
		}
	}
	if len(ids) != n+2 {
		t.Errorf("they have %d ids", len(ids))
	}
}

// TestQueueIsUsedAgain: what was sent leaves its place to others.
func TestQueueIsUsedAgain(t *testing.T) {
	receiver := otlptest.Start(t, "grpc", nil)
	const queue = 4 // and so is a batch
	tr, _ := open(t, settings(receiver.URL, func(c *config.Traces) { c.Queue = queue }))
	for round := range uint64(5) {
		for range queue {
			tr.Begin(t.Context(), "GET").End(0, "", "")
		}
		for began := time.Now(); tr.Stats().Sent < (round+1)*queue; time.Sleep(time.Millisecond) {
			if time.Since(began) > time.Minute || tr.Stats().Dropped > 0 {
				t.Fatalf("round %d: %+v", round, tr.Stats())
			}
		}
	}
}

// TestSpanAfterTheEnd: it is lost, and counted.
func TestSpanAfterTheEnd(t *testing.T) {
	receiver := otlptest.Start(t, "grpc", nil)
	tr, _ := open(t, settings(receiver.URL, nil))
	call := tr.Begin(t.Context(), "GET")
	tr.Close()
	call.End(0, "", "")
	if s := tr.Stats(); s != (trace.Stats{Dropped: 1}) {
		t.Errorf("%+v", s)
	}
}

// TestUnsampledIsCheap: a request that is not recorded allocates what its calls tell of its trace, and nothing else.
func TestUnsampledIsCheap(t *testing.T) {
	tr, _ := open(t, settings("http://127.0.0.1:1", func(c *config.Traces) { c.Sample = 0 }))
	h := tr.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ctx, span := trace.Plugin(r.Context(), "name", "version", "shared")
		trace.Cache(ctx, "get").End()
		if tr.Begin(ctx, "GET").Recording() || span != nil || trace.Of(ctx).Parent != "" {
			t.Error("it is recorded")
		}
	}))
	telemetry.NewTracker(telemetry.TrackerOptions{}).Track(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, parents := range [][]string{nil, {parent[:54] + "0"}} {
			r.Header["Traceparent"] = parents
			if n := testing.AllocsPerRun(1000, func() { h.ServeHTTP(w, r) }); n > 1 {
				t.Errorf("%v allocations", n)
			}
		}
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
}

func TestBadCA(t *testing.T) {
	for _, file := range []string{"trace_test.go", "missing.pem"} {
		if tr, err := trace.New(context.Background(), settings("https://127.0.0.1:1", func(c *config.Traces) { c.CA = file }), trace.Options{}); err == nil || tr != nil || !strings.Contains(err.Error(), "ca: ") {
			t.Errorf("%s: %v, %v", file, tr, err)
		}
	}
}

// BenchmarkRequest is what a request, its plugin and one call cost: with tracing off, for a request that is not sampled, and for one that is,
// the sending of its spans included.
func BenchmarkRequest(b *testing.B) {
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer receiver.Close()
	to := func(sample float64) *trace.Tracer {
		tr, _ := open(b, settings(receiver.URL, func(c *config.Traces) { c.Protocol, c.Sample, c.Queue = "http/protobuf", sample, 1<<16 }))
		return tr
	}
	off, _ := open(b, config.Default().Traces)
	for _, c := range []struct {
		name string
		tr   *trace.Tracer
	}{{"off", off}, {"unsampled", to(0)}, {"sampled", to(1)}} {
		b.Run(c.name, func(b *testing.B) {
			h := server(c.tr, "GET /", func(_ http.ResponseWriter, r *http.Request) {
				ctx, span := trace.Plugin(r.Context(), "search", "1.0.0", "shared")
				call := c.tr.Begin(ctx, "POST")
				call.Propagate(http.Header{}, true)
				if call.Recording() {
					call.Target("POST", "/v1", "gpustack", "", 0)
					call.Status(200, 1)
				}
				call.End(100, "", "")
				span.End()
			})
			r := httptest.NewRequestWithContext(b.Context(), "GET", "/", nil)
			w := httptest.NewRecorder()
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				h.ServeHTTP(w, r)
				for c.name == "sampled" && n%1000 == 0 && int(c.tr.Stats().Sent) < (n-1000)*3 { // as many as the queue holds at most
					time.Sleep(100 * time.Microsecond)
				}
			}
		})
	}
}
