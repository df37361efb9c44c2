package plugin_test

import (
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// FuzzUpstreamError reads what failing upstreams say: what a client gets of it is a text, and short.
func FuzzUpstreamError(f *testing.F) {
	for _, seed := range []string{
		`{"error":{"message":"too long","code":400}}`, `{"error":"no"}`, `{"detail":{"error":"gone"}}`, `{"detail":"\ud800"}`, `{"message":" "}`, `[1]`, "\xff",
		`{"detail":"` + strings.Repeat("ü", 1500) + `"}`,
	} {
		f.Add(422, seed, "120")
	}
	f.Add(503, "", "Mon, 02 Jan 2106 15:04:05 GMT")
	f.Add(401, `{"detail":"the key sk-123 is wrong"}`, "-1")
	f.Fuzz(func(t *testing.T, status int, body, retry string) {
		r := &plugin.Reply{Status: status, Header: plugin.Header{{Name: "retry-after", Value: retry}}, Body: io.NopCloser(strings.NewReader(body))}
		e := plugin.UpstreamError(r)
		if e.Status < 400 || e.Status > 599 || e.RetryAfter < 0 {
			t.Errorf("status %d, retry after %v", e.Status, e.RetryAfter)
		}
		if e.Detail == "" || len(e.Detail) > 2100 || !utf8.ValidString(e.Detail) {
			t.Errorf("detail %.100q of %d bytes", e.Detail, len(e.Detail))
		}
		if status == 401 && strings.Contains(e.Detail, body) && len(body) > 3 && !strings.Contains("The upstream refused the server's key.", body) {
			t.Errorf("%q quotes the upstream", e.Detail)
		}
	})
}
