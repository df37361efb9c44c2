package upstream_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/config"
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
