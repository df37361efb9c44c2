package capability_test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// TestIdempotent sends POSTs to an upstream that fails the first of every two calls.
func TestIdempotent(t *testing.T) {
	var calls atomic.Int64
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1)%2 == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	u := config.DefaultUpstream()
	u.Endpoints, u.Private, u.Retry.Budget = []config.Endpoint{{URL: s.URL}}, true, 1
	g := setup{
		named: map[string]config.Upstream{"up": u},
		grant: []config.Fetch{{Upstream: "up", Methods: []string{"POST"}, Paths: []string{"/"}}},
	}.guest(t)
	for name, c := range map[string]struct {
		fields []string
		stream bool
		status int
		calls  int64
	}{
		"not marked":     {nil, false, 503, 1},
		"marked":         {[]string{":idempotent", "1"}, false, 200, 2},
		"marked so not":  {[]string{":idempotent", "0"}, false, 503, 1},
		"with a stream":  {[]string{":idempotent", "1"}, true, 503, 1},
		"as the service": {[]string{":idempotent", "1", "x-other", "y"}, false, 200, 2},
	} {
		t.Run(name, func(t *testing.T) {
			calls.Store(0)
			in := ask("POST", "upstream://up/x", c.fields...)
			if c.stream {
				in.Stream = strings.NewReader("body")
			} else {
				in.Body = []byte("body")
			}
			if reply, _ := g.must(t, in); reply.Status != c.status || calls.Load() != c.calls {
				t.Errorf("status %d after %d calls, want %d after %d", reply.Status, calls.Load(), c.status, c.calls)
			}
		})
	}
}

// TestUnavailable opens the breaker of an upstream; the guest learns when to come back.
func TestUnavailable(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	u := config.DefaultUpstream()
	u.Endpoints, u.Private = []config.Endpoint{{URL: s.URL}}, true
	u.Breaker.MinCalls, u.Breaker.Open = 1, time.Hour
	g := setup{
		named: map[string]config.Upstream{"up": u},
		grant: []config.Fetch{{Upstream: "up", Methods: []string{"POST"}, Paths: []string{"/"}}},
	}.guest(t)
	if reply, _ := g.must(t, ask("POST", "upstream://up/")); reply.Status != http.StatusBadGateway {
		t.Fatalf("status %d", reply.Status)
	}
	_, _, err := g.do(t.Context(), ask("POST", "upstream://up/"))
	var coded *abi.Error
	if !errors.As(err, &coded) || coded.Code != abi.Unavailable || coded.Retry <= 59*time.Minute || coded.Retry > time.Hour {
		t.Errorf("%v, %+v", err, coded)
	}
}
