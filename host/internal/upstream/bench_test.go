package upstream_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
)

// BenchmarkDo and BenchmarkTransport make the same calls to the same server, one after the other and
// from many callers: the difference is what the pool costs.
func BenchmarkDo(b *testing.B) {
	p := newPool(b, func(c *config.Client) { c.MaxIdleConns = 100 })
	benchmark(b, func(req *http.Request) (*http.Response, error) { return p.Do(req, local) })
}

func BenchmarkTransport(b *testing.B) {
	tr := &http.Transport{MaxConnsPerHost: 100, MaxIdleConnsPerHost: 100, DisableCompression: true}
	defer tr.CloseIdleConnections()
	benchmark(b, tr.RoundTrip)
}

func benchmark(b *testing.B, do func(*http.Request) (*http.Response, error)) {
	s := newServer(b, hello)
	call := func() {
		resp, err := do(get(b, b.Context(), s.URL))
		if err != nil {
			b.Error(err)
			return
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			call()
		}
	})
	b.Run("many", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				call()
			}
		})
	})
}

// BenchmarkOutbound makes a call through an upstream with all that may be on (three endpoints, sticky sessions, active
// checks, a queue that is polled, retries, breaker, a header with the deadline) and one through a bare http.Transport, in turn,
// to the same server, and prints the median of both and the difference.
func BenchmarkOutbound(b *testing.B) {
	s := newServer(b, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			io.WriteString(w, "gpustack:num_requests_waiting 1\n")
			return
		}
		hello(w, r)
	})
	tr := &http.Transport{MaxConnsPerHost: 100, MaxIdleConnsPerHost: 100, DisableCompression: true}
	defer tr.CloseIdleConnections()
	_, u := newUpstream(b, func(c *config.Upstream) {
		c.Health.Path, c.Sticky, c.TimeoutHeader = "/healthz", "X-Session-Id", "X-Timeout-Ms"
		for i := range c.Endpoints {
			c.Endpoints[i].Metrics = s.URL + "/metrics"
		}
	}, s.URL, s.URL+"/b", s.URL+"/c")
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	finish := func(resp *http.Response, err error) {
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	for _, c := range []struct{ name, method, session string }{
		{"get", http.MethodGet, ""}, {"sticky", http.MethodGet, "session"}, {"chat", http.MethodPost, ""},
	} {
		b.Run(c.name, func(b *testing.B) {
			request := func(url string) *http.Request {
				var body io.Reader
				if c.method == http.MethodPost {
					body = strings.NewReader(`{"model":"m"}`)
				}
				req, err := http.NewRequestWithContext(ctx, c.method, url, body)
				if err != nil {
					b.Fatal(err)
				}
				if c.session != "" {
					req.Header.Set("X-Session-Id", c.session)
				}
				return req
			}
			var bare, ours []time.Duration
			for b.Loop() {
				start := time.Now()
				finish(tr.RoundTrip(request(s.URL + "/v1/models")))
				middle := time.Now()
				to, err := u.URL("/v1/models", "")
				if err != nil {
					b.Fatal(err)
				}
				finish(u.Do(request(to.String()), upstream.Policy{}))
				bare, ours = append(bare, middle.Sub(start)), append(ours, time.Since(middle))
			}
			slices.Sort(bare)
			slices.Sort(ours)
			p50 := func(all []time.Duration) float64 { return float64(all[len(all)/2]) / 1e3 }
			b.ReportMetric(p50(bare), "bare-p50-µs")
			b.ReportMetric(p50(ours), "upstream-p50-µs")
			b.ReportMetric(p50(ours)-p50(bare), "over-p50-µs")
			b.ReportMetric(0, "ns/op")
		})
	}
}
