package app_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// TestMissesAreSearches: each search that is made counts as one miss. One whose summary failed leaves its sources, and says so to the operator.
func TestMissesAreSearches(t *testing.T) {
	var fails atomic.Bool
	stack := newGPUStack(t, func(_ *provider, w http.ResponseWriter, _ *http.Request, c chat) {
		if fails.Load() {
			writeJSON(w, 503, `{"error":{"message":"no instance","code":503}}`)
			return
		}
		say(w, c, "A summary.")
	})
	tavily := newTavily(t, nil)
	p := serve(t, setup{plugins: "search", gpustack: stack.url, chats: "retry: {max: 0}", tavily: tavily.url, cache: "1MiB", summary: "summarist"})
	for _, query := range []string{"one", "two", "one"} {
		p.search(query)
	}
	if k := p.kept(); k.Misses != 2 || k.Hits != 1 || k.Status["summary"] != "" {
		t.Errorf("%+v", k)
	}
	fails.Store(true)
	p.search("three")
	if k := p.kept(); k.Misses != 3 || !strings.Contains(k.Status["summary"], "a summary failed") {
		t.Errorf("%+v", k)
	}
}
