package capability_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// BenchmarkFetch is what an outbound call costs between the engine and the socket: policy, secret, endpoint, breaker, pool, and the answer of
// 1 KiB looked through for the secret. A bare http.Transport makes the same call to the same server in turn with it. Both medians
// and the difference are reported.
func BenchmarkFetch(b *testing.B) {
	page := strings.Repeat("The sandbox has a memory of its own. ", 28)
	s := serve(b, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, page)
	})
	up := config.DefaultUpstream()
	up.Endpoints, up.Private = []config.Endpoint{{URL: s.URL}, {URL: s.URL + "/b"}}, true
	up.Auth = config.Auth{Secret: "up", As: "bearer"}
	g := setup{
		client: func(c *config.Client) { c.MaxIdleConns, c.MaxResponse = 100, 64<<20 },
		grant: []config.Fetch{
			{Upstream: "other", Methods: []string{"GET"}, Paths: []string{"/"}},
			{Upstream: "up", Methods: []string{"GET", "POST"}, Paths: []string{"/v1/models", "/v1/chat/completions"}},
			grant(b, s.URL, func(f *config.Fetch) { f.Secret = "key" }),
		},
		named:   map[string]config.Upstream{"up": up},
		secrets: map[string]config.Secret{"up": {Env: "UP", Upstream: "up", Insecure: true}, "key": {Env: "KEY", Hosts: []string{"127.0.0.1"}, Insecure: true}},
		environ: []string{"UP=" + value, "KEY=" + value},
	}.guest(b)
	tr := &http.Transport{MaxConnsPerHost: 100, MaxIdleConnsPerHost: 100, DisableCompression: true}
	defer tr.CloseIdleConnections()
	for _, c := range []struct {
		name string
		ask  func() *wasm.Operation
	}{
		{"upstream", func() *wasm.Operation { return ask("GET", "upstream://up/v1/models", "accept", "application/json") }},
		{"chat", func() *wasm.Operation {
			in := ask("POST", "upstream://up/v1/chat/completions", "content-type", "application/json")
			in.Body = []byte(`{"model":"m","messages":[{"role":"user","content":"hello"}]}`)
			return in
		}},
		{"host", func() *wasm.Operation { return with(ask("GET", s.URL+"/search", "accept", "application/json"), "key") }},
	} {
		b.Run(c.name, func(b *testing.B) {
			var bare, ours []time.Duration
			for b.Loop() {
				in := c.ask()
				began := time.Now()
				if err := callBare(b, tr, s.URL, in); err != nil {
					b.Fatal(err)
				}
				middle := time.Now()
				if _, body, err := g.do(b.Context(), in); err != nil || len(body) != len(page) {
					b.Fatal(len(body), err)
				}
				bare, ours = append(bare, middle.Sub(began)), append(ours, time.Since(middle))
			}
			p50 := func(all []time.Duration) float64 {
				slices.Sort(all)
				return float64(all[len(all)/2]) / 1e3
			}
			b.ReportMetric(p50(bare), "bare-p50-µs")
			b.ReportMetric(p50(ours), "fetch-p50-µs")
			b.ReportMetric(p50(ours)-p50(bare), "over-p50-µs")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// callBare makes the request of an operation without anything of ours.
func callBare(b *testing.B, tr *http.Transport, server string, in *wasm.Operation) error {
	var body io.Reader
	if len(in.Body) > 0 {
		body = strings.NewReader(string(in.Body))
	}
	req, err := http.NewRequestWithContext(b.Context(), abi.Get(in.Fields, ":method"), server+"/v1/models", body)
	if err != nil {
		return err
	}
	for _, f := range in.Fields[2:] {
		req.Header.Set(f.Name, f.Value)
	}
	req.Header.Set("Authorization", "Bearer "+value)
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err = io.ReadAll(resp.Body); err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return err
}
