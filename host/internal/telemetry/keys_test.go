package telemetry_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/telemetry"
)

// TestKeysAreCounted: each request of a key that there is, to its last one, and of no other.
func TestKeysAreCounted(t *testing.T) {
	tr := telemetry.NewTracker(telemetry.TrackerOptions{})
	registry, err := telemetry.NewRegistry(telemetry.RegistryOptions{Tracker: tr})
	if err != nil {
		t.Fatal(err)
	}
	use := func(name string, status int) {
		tr.Track(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			telemetry.SetKey(r.Context(), name)
			w.WriteHeader(status)
		})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/x", http.NoBody))
	}
	want := func(lines ...string) {
		t.Helper()
		w := httptest.NewRecorder()
		registry.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
		var got []string
		for line := range strings.Lines(w.Body.String()) {
			if rest, ok := strings.CutPrefix(line, "patchbay_key_requests_total"); ok {
				got = append(got, strings.TrimSpace(rest))
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(lines) {
			t.Errorf("%q, want %q", got, lines)
		}
	}
	tr.SetKeys([]string{"web", "batch"})
	want()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			use("web", 200)
			use("web", 404)
			use("batch", 401)
			use("nobody", 200)
			use("", 200)
		})
	}
	all.Wait()
	want(`{class="2xx",key="web"} 50`, `{class="4xx",key="batch"} 50`, `{class="4xx",key="web"} 50`)
	tr.SetKeys([]string{"web", "new"})
	use("batch", 200)
	use("web", 200)
	use("new", 500)
	want(`{class="2xx",key="web"} 51`, `{class="4xx",key="web"} 50`, `{class="5xx",key="new"} 1`)

	telemetry.SetKey(t.Context(), "web") // outside a request
}
