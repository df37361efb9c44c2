package trace_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/otlptest"
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
	if tr != nil || runtime.NumGoroutine() != before {
		t.Fatalf("there is a tracer %v, and there are %d goroutines after %d", tr, runtime.NumGoroutine(), before)
	}
	calls := 0
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls++ })
	h := tr.Middleware(next)
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
	r.Header.Set("Traceparent", parent)
	ctx := r.Context()
	if n := testing.AllocsPerRun(100, func() {
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
			if inside.State != c.state || !strings.HasPrefix(inside.Parent, "00-"+span.Trace()+"-"+span.ID()+"-0") {
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

// TestNobodyListens: one line is logged however many batches fail, and it holds no secret.
func TestNobodyListens(t *testing.T) {
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		tr, log := open(t, settings("http://127.0.0.1:1", func(c *config.Traces) { c.Protocol, c.Timeout, c.Queue = protocol, 300*time.Millisecond, 1 }))
		h := server(tr, "GET /", func(http.ResponseWriter, *http.Request) {})
		for begin := time.Now(); tr.Stats().Dropped < 3 && time.Since(begin) < 20*time.Second; time.Sleep(10 * time.Millisecond) {
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
		}
		time.Sleep(2500 * time.Millisecond) // two more batches
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
		tr.Close()
		if lines := strings.Count(log.String(), "spans are lost"); lines != 1 {
			t.Errorf("%s: %d lines: %s", protocol, lines, log)
		}
	}
}

func TestBadCA(t *testing.T) {
	for _, file := range []string{"trace_test.go", "missing.pem"} {
		if tr, err := trace.New(context.Background(), settings("https://127.0.0.1:1", func(c *config.Traces) { c.CA = file }), trace.Options{}); err == nil || tr != nil || !strings.Contains(err.Error(), "ca: ") {
			t.Errorf("%s: %v, %v", file, tr, err)
		}
	}
}

// BenchmarkRequest is what a request, its plugin and one call cost: with tracing off, for a request that is not sampled, and for one that is.
func BenchmarkRequest(b *testing.B) {
	receiver := otlptest.Start(b, "grpc", nil)
	off, _ := open(b, config.Default().Traces)
	unsampled, _ := open(b, settings(receiver.URL, func(c *config.Traces) { c.Sample = 0 }))
	sampled, _ := open(b, settings(receiver.URL, nil))
	for _, c := range []struct {
		name string
		tr   *trace.Tracer
	}{{"off", off}, {"unsampled", unsampled}, {"sampled", sampled}} {
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
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}
