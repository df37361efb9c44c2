package route_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/otlptest"
	"github.com/patchbay-run/patchbay/host/internal/trace"
)

// TestPluginSpan: a plugin reads its own place in the trace, and its span says in a word why it gave no answer.
func TestPluginSpan(t *testing.T) {
	const theirs = "4bf92f3577b34da6a3ce929d0e0e4736"
	s := open(t, nil)
	slow := s.load(func(p *config.Plugin) {
		p.Name, p.Routes, p.Limits.Timeout = "slow", []string{"GET /hang"}, 50*time.Millisecond
	})
	fast := s.load(func(p *config.Plugin) {
		p.Limits.CPU = 2 * time.Second
		p.Routes = []string{"GET /request", "GET /exit", "GET /loop", "GET /memory", "GET /half"}
	})
	s.swap(fast, slow)
	receiver := otlptest.Start(t, "grpc", nil)
	c := config.Default().Traces
	c.Endpoint = receiver.URL
	tracer, err := trace.New(t.Context(), c, trace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(s.tracker.Track(tracer.Middleware(s.handler)))
	defer front.Close()
	ask := func(path string) *answer {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", front.URL+path, nil)
		req.Header.Set("Traceparent", "00-"+theirs+"-00f067aa0ba902b7-01")
		req.Header.Set("Tracestate", "vendor=1")
		resp, err := s.client.Do(req)
		if err != nil {
			return nil // it was cut
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return &answer{resp, string(b)}
	}
	got := ask("/request").told(t).Headers
	faults := map[string]string{"/hang": "timeout", "/exit": "trap", "/loop": "cpu", "/memory": "memory", "/half": "aborted"}
	for path := range faults {
		ask(path)
	}
	tracer.Close()
	kinds := map[string]string{} // by the id of the span above
	for _, span := range receiver.Spans() {
		if span.Attribute("patchbay.plugin.name") == "" {
			continue
		}
		kinds[span.Parent()] = span.Attribute("error.type")
		if span.Attribute("error.type") != "" {
			continue
		}
		if want := []string{"00-" + theirs + "-" + span.ID() + "-01"}; len(got["traceparent"]) != 1 || got["traceparent"][0] != want[0] || len(got["tracestate"]) != 1 || got["tracestate"][0] != "vendor=1" {
			t.Errorf("the plugin reads %v %v, want %v", got["traceparent"], got["tracestate"], want)
		}
	}
	for path, want := range faults {
		if kind := kinds[otlptest.Find(t, receiver.Spans(), "GET "+path).ID()]; kind != want {
			t.Errorf("%s: %q, want %q", path, kind, want)
		}
	}
}
