package upstream_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
)

// TestObserve: who observes a call hears of every attempt, with the endpoint that it went to and what came of it, before Do returns.
func TestObserve(t *testing.T) {
	b := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Fine") == "" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	at, nobody := strings.TrimPrefix(b.URL, "http://"), "http://127.0.0.1:1"
	for _, c := range []struct {
		name      string
		endpoints []string
		fine      string
		want      []string
	}{
		{"retry", []string{b.URL}, "", []string{at + " 503", at + " 503", at + " 503"}},
		{"failover", []string{nobody, b.URL}, "1", []string{"127.0.0.1:1 0 refused", at + " 200"}},
	} {
		_, u := newUpstream(t, func(u *config.Upstream) {
			u.Retry.Max, u.Retry.Budget, u.Retry.Delay, u.Health.Failures = 2, 1, time.Millisecond, 0
		}, c.endpoints...)
		var seen []string
		for tries := 0; len(seen) < len(c.want) && tries < 100; tries++ { // of two endpoints either may be drawn first
			seen = nil
			to, err := u.URL("/x", "")
			if err != nil {
				t.Fatal(err)
			}
			req := get(t, upstream.Observe(t.Context(), func(a upstream.Attempt) {
				why := ""
				if errors.Is(a.Err, upstream.ErrConnect) {
					why = " refused"
				}
				seen = append(seen, fmt.Sprintf("%s %d%s", a.Addr, a.Status, why))
			}), to.String())
			req.Header.Set("X-Fine", c.fine)
			resp, err := u.Do(req, local)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		if !slices.Equal(seen, c.want) {
			t.Errorf("%s: %q, want %q", c.name, seen, c.want)
		}
	}
}
