package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/otlptest"
)

// The trace of a client, by the example of the specification.
const (
	theirTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	theirSpan  = "00f067aa0ba902b7"
	theirs     = "00-" + theirTrace + "-" + theirSpan + "-01"
	unsampled  = "00-" + theirTrace + "-" + theirSpan + "-00"
)

// tracesTo is the section of a configuration.
func tracesTo(r *otlptest.Receiver, more string) string {
	return fmt.Sprintf("traces: {endpoint: %q%s}", r.URL, more)
}

// heard is what an upstream heard of traces.
type heard struct {
	mu  sync.Mutex
	all []http.Header
}

func (h *heard) note(r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, r.Header.Clone())
}

// last is a header of the newest request.
func (h *heard) last(name string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.all[len(h.all)-1].Values(name), "|")
}

// TestOneTrace follows a chat from its client's trace through server, plugin and call into what the upstream reads.
func TestOneTrace(t *testing.T) {
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		t.Run(strings.ReplaceAll(protocol, "/", " "), func(t *testing.T) {
			receiver := otlptest.Start(t, protocol, nil)
			const pause = 60 * time.Millisecond
			var upstream heard
			stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) {
				upstream.note(r)
				time.Sleep(pause)
				begin(w)
				fmt.Fprintf(w, "data: {\"model\":\"m1-served\",\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(pause)
				event(w, generated)
				p.hang(r)
				fmt.Fprintf(w, "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":17,\"completion_tokens\":4}}\n\n")
				done(w)
			})
			p := serve(t, setup{plugins: "inference", gpustack: stack.url, top: tracesTo(receiver, ", protocol: "+protocol+", resource: {deployment.environment.name: test}")})
			a := p.stream(chatBody("m1", prompt), "Traceparent", theirs, "Tracestate", "vendor=1")
			for !strings.Contains(a.line("data: "), generated) {
			}
			time.Sleep(pause) // after the first text, whenever that came
			stack.release()
			a.rest()
			all := receiver.Wait(t, 3)
			server, plugin, call := otlptest.Find(t, all, "POST /api/inference/stream"), otlptest.Find(t, all, "plugin inference"), otlptest.Find(t, all, "chat m1")
			for _, link := range []struct{ what, got, want string }{
				{"the server's trace", server.Trace(), theirTrace}, {"the server's parent", server.Parent(), theirSpan},
				{"the plugin's trace", plugin.Trace(), theirTrace}, {"the plugin's parent", plugin.Parent(), server.ID()},
				{"the call's trace", call.Trace(), theirTrace}, {"the call's parent", call.Parent(), plugin.ID()},
				{"the upstream's traceparent", upstream.last("Traceparent"), "00-" + theirTrace + "-" + call.ID() + "-01"},
				{"the upstream's tracestate", upstream.last("Tracestate"), "vendor=1"},
			} {
				if link.got != link.want {
					t.Errorf("%s is %q, want %q", link.what, link.got, link.want)
				}
			}
			host, port, _ := strings.Cut(strings.TrimPrefix(stack.url, "http://"), ":")
			for _, c := range []struct {
				span *otlptest.Span
				want map[string]string
			}{
				{server, map[string]string{"http.request.method": "POST", "http.route": "/api/inference/stream", "url.path": "/api/inference/stream", "url.scheme": "http",
					"http.response.status_code": "200", "network.protocol.version": "1.1", "patchbay.request.id": a.resp.Header.Get("X-Request-Id")}},
				{plugin, map[string]string{"patchbay.plugin.name": "inference", "patchbay.plugin.version": p.version("inference"), "patchbay.plugin.isolation": "shared"}},
				{call, map[string]string{"http.request.method": "POST", "url.template": "/v1/chat/completions", "patchbay.upstream": "gpustack", "server.address": host, "server.port": port,
					"http.response.status_code": "200", "gen_ai.operation.name": "chat", "gen_ai.provider.name": "gpustack", "gen_ai.request.model": "m1", "gen_ai.response.model": "m1-served",
					"gen_ai.usage.input_tokens": "17", "gen_ai.usage.output_tokens": "4", "gen_ai.response.finish_reasons": "stop"}},
			} {
				for name, want := range c.want {
					if got := c.span.Attribute(name); got != want {
						t.Errorf("%s: %s is %q, want %q", c.span.GetName(), name, got, want)
					}
				}
				if c.span.GetStatus().GetCode() != 0 {
					t.Errorf("%s: %v", c.span.GetName(), c.span.GetStatus())
				}
			}
			first, err := strconv.ParseFloat(call.Attribute("gen_ai.response.time_to_first_chunk"), 64)
			if took := time.Duration(call.GetEndTimeUnixNano() - call.GetStartTimeUnixNano()); err != nil || first < (2*pause).Seconds() || first > (took-pause).Seconds() {
				t.Errorf("the first text is said to have come after %v s (%v) of %v", first, err, took)
			}
			for name, want := range map[string]string{"service.name": "patchbay", "service.version": "test", "deployment.environment.name": "test"} {
				if got := server.Resource[name]; got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			if found := told(receiver.Text()); len(found) > 0 {
				t.Errorf("the spans tell %v", found)
			}
		})
	}
}

// TestSampling: who began the trace has decided, and the upstream hears of the decision either way.
func TestSampling(t *testing.T) {
	for _, c := range []struct {
		name, config string
		headers      []string
		want         string // what the upstream hears
		sent         bool
	}{
		{"all", ", sample: 1", nil, "00-.{32}-.{16}-0[13]", true},
		{"none", ", sample: 0", nil, "00-.{32}-.{16}-0[02]", false},
		{"none but those that others began", ", sample: 0", []string{"Traceparent", theirs}, "00-" + theirTrace + "-.{16}-01", true},
		{"all but those that others began", ", sample: 1", []string{"Traceparent", unsampled}, "00-" + theirTrace + "-.{16}-00", false},
		{"their own", ", sample: 1, join: false", []string{"Traceparent", unsampled}, "00-.{32}-.{16}-0[13]", true},
		{"not a traceparent", ", sample: 1", []string{"Traceparent", "00-" + strings.Repeat("0", 32) + "-" + theirSpan + "-01"}, "00-.{32}-.{16}-0[13]", true},
		{"told to nobody", ", propagate: none", []string{"Traceparent", theirs}, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			receiver := otlptest.Start(t, "grpc", nil)
			var upstream heard
			stack := newProvider(t, func(w http.ResponseWriter, r *http.Request) {
				upstream.note(r)
				writeJSON(w, 200, `{"object":"list","data":[]}`)
			})
			p := serve(t, setup{plugins: "models", gpustack: stack.url, top: tracesTo(receiver, c.config)})
			if a := p.do("GET", "/api/models", "", c.headers...); a.status != 200 {
				t.Fatal(a)
			}
			got := upstream.last("Traceparent")
			if !regexp.MustCompile("^"+c.want+"$").MatchString(got) || strings.Contains(got, theirSpan) {
				t.Errorf("the upstream hears %q, want %s", got, c.want)
			}
			if c.config == ", sample: 1, join: false" && strings.Contains(got, theirTrace) {
				t.Errorf("the upstream hears of the client's trace: %q", got)
			}
			_ = p.do("GET", "/livez", "", "Traceparent", theirs) // a probe has no span
			if err := p.stop(); err != nil {
				t.Error(err)
			}
			names := otlptest.Names(receiver.Spans())
			slices.Sort(names)
			if c.sent != (len(names) > 0) || c.sent && !slices.Equal(names, []string{"GET /api/models", "GET /v1/models", "plugin models"}) {
				t.Errorf("these spans came: %q", names)
			}
		})
	}
}

// TestTraceOfASearch: what the cache said, why calls failed, and another host that hears of no trace whatever a plugin writes.
func TestTraceOfASearch(t *testing.T) {
	receiver := otlptest.Start(t, "grpc", nil)
	var host heard
	tavily := newTavily(t, func(_ *provider, r *http.Request, q string) {
		host.note(r)
		if strings.Contains(q, "break") {
			panic(http.ErrAbortHandler)
		}
	})
	p := serve(t, setup{plugins: "search", tavily: tavily.url, cache: "1MiB", top: tracesTo(receiver, ""), published: "{topic: providers}"})
	for range 2 {
		if a := p.do("POST", "/api/tools/search", searchBody(query), "Traceparent", theirs); a.status != 200 {
			t.Fatal(a)
		}
	}
	if got := host.last("Traceparent") + host.last("Tracestate"); got != "" {
		t.Errorf("another host hears of the trace: %q", got)
	}
	if a := p.search("break"); a.status != 502 {
		t.Fatal(a)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	var cache, calls []string
	published := 0
	for _, s := range receiver.Spans() {
		switch name := s.GetName(); {
		case name == "publish providers":
			published++
		case strings.HasPrefix(name, "cache "):
			cache = append(cache, name+" "+s.Attribute("patchbay.cache.result"))
		case name == "POST /search":
			calls = append(calls, s.Attribute("http.response.status_code")+" "+s.Attribute("error.type")+" "+s.Attribute("server.address")+" "+s.GetStatus().GetCode().String())
		}
	}
	if published == 0 {
		t.Error("nothing was published when the provider failed")
	}
	for _, want := range []string{"cache once lead", "cache once hit", "cache put "} {
		if !slices.Contains(cache, want) {
			t.Errorf("%q is not among %q", want, cache)
		}
	}
	if !slices.Contains(calls, "200  127.0.0.1 STATUS_CODE_UNSET") || !slices.Contains(calls, " connection broke off 127.0.0.1 STATUS_CODE_ERROR") {
		t.Errorf("the calls are %q", calls)
	}
	if found := told(receiver.Text()); len(found) > 0 {
		t.Errorf("the spans tell %v", found)
	}
}

// TestForgedTrace: a plugin that writes a traceparent of its own reaches nobody with it.
func TestForgedTrace(t *testing.T) {
	receiver := otlptest.Start(t, "grpc", nil)
	var host, upstream heard
	echo := func(h *heard) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			h.note(r)
			_, _ = io.WriteString(w, "ok")
		}
	}
	a, b := newProvider(t, echo(&host)), newProvider(t, echo(&upstream))
	p := fetcher(t, tracesTo(receiver, "")+fmt.Sprintf("\nupstreams: {named: {endpoints: [%q], private: true}}", b.url), "", "",
		lineFor(a.url, ", private: true"), "{upstream: named, methods: [GET], paths: [/]}")
	forged := map[string]string{"traceparent": "00-" + strings.Repeat("a", 32) + "-" + strings.Repeat("b", 16) + "-01", "tracestate": "forged=1"}
	for _, to := range []string{a.url + "/x/" + query, "upstream://named/y/" + query + "?q=" + query} {
		body, _ := json.Marshal(map[string]any{"Method": "GET", "URL": to, "Header": forged})
		if o := p.do("POST", "/fetch?secret="+query, string(body), "Traceparent", theirs); o.status != 200 || !strings.Contains(string(o.body), `"status":200`) {
			t.Fatal(o)
		}
	}
	if got := host.last("Traceparent") + host.last("Tracestate"); got != "" {
		t.Errorf("another host hears %q", got)
	}
	if got := upstream.last("Traceparent"); !strings.HasPrefix(got, "00-"+theirTrace+"-") || upstream.last("Tracestate") != "" {
		t.Errorf("the upstream hears %q %q", got, upstream.last("Tracestate"))
	}
	receiver.Wait(t, 6)
	if found := told(receiver.Text()); len(found) > 0 {
		t.Errorf("the spans tell %v", found)
	}
}

// TestTracesAreLost: a receiver that hangs, or refuses with the key in its mouth, costs spans and nothing else. They are counted, one line
// is logged, and stopping does not wait for ever.
func TestTracesAreLost(t *testing.T) {
	const key = "trace-key-0123456789"
	for _, how := range []string{"hangs", "refuses"} {
		t.Run(how, func(t *testing.T) {
			receiver := otlptest.Start(t, "http/protobuf", nil)
			if how == "hangs" {
				receiver.Hang()
			} else {
				receiver.Refuse("no such key: " + key)
			}
			p := serve(t, setup{plugins: "models", top: tracesTo(receiver, `, protocol: http/protobuf, timeout: 1s, queue: 20, insecure: true, headers: {api-key: "${TRACE_KEY}"}`)}, "TRACE_KEY="+key)
			for range 20 {
				if a := p.do("GET", "/api/models", ""); a.status != 200 {
					t.Fatal(a)
				}
			}
			eventually(t, "spans are counted as lost", func() bool {
				return strings.Contains(string(p.admins("/metrics").body), "patchbay_trace_spans_dropped_total 6") // of 3 for each request
			})
			if shown := string(p.admins("/api/config").body); strings.Contains(shown, key) || !regexp.MustCompile(`"api-key": *"\*\*\*"`).MatchString(shown) {
				t.Error("the configuration shows the key, or no header")
			}
			stopped := make(chan error, 1)
			go func() { stopped <- p.stop() }()
			if err := receive(t, "the end", stopped); err != nil {
				t.Error(err)
			}
			if how == "refuses" && receiver.Header("Api-Key") != key {
				t.Errorf("the receiver got the key %q", receiver.Header("Api-Key"))
			}
			if lines := strings.Count(p.log.String(), "spans are lost"); lines != 1 {
				t.Errorf("%d lines say that spans are lost", lines)
			}
			if strings.Contains(p.log.String(), key) {
				t.Error("the log tells the key")
			}
		})
	}
}

// TestTraceOfWhoLeaves: a client that goes away and a plugin that dies leave whole traces.
func TestTraceOfWhoLeaves(t *testing.T) {
	receiver := otlptest.Start(t, "grpc", nil)
	stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, _ chat) {
		begin(w)
		event(w, generated)
		p.hang(r)
	})
	p := serve(t, setup{plugins: "inference", gpustack: stack.url, top: tracesTo(receiver, "")})
	ctx, leave := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "POST", p.url+"/api/inference/stream", strings.NewReader(chatBody("m1", prompt)))
	resp, err := p.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := resp.Body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	leave()
	resp.Body.Close()
	all := receiver.Wait(t, 3)
	server, call := otlptest.Find(t, all, "POST /api/inference/stream"), otlptest.Find(t, all, "chat m1")
	if server.Attribute("patchbay.client_left") != "true" || server.GetStatus().GetCode() != 0 {
		t.Errorf("%v", server)
	}
	if call.Attribute("error.type") != "cancelled" || call.Attribute("gen_ai.response.time_to_first_chunk") == "" {
		t.Errorf("%v", call)
	}
}
