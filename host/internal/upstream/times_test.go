package upstream_test

import (
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// TestTimes: what calls waited for, held and took, until their last byte.
func TestTimes(t *testing.T) { inBubble(t, testTimes) }

func testTimes(t *testing.T, m *memory) {
	const slow = 60 * time.Millisecond
	p := m.pool(t, func(c *config.Client) { c.MaxConns = 1 })
	s := m.backend(t, "s", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		time.Sleep(slow)
		_, _ = io.WriteString(w, "hello")
	})
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { mustFetch(t, p, s.url, local) })
	}
	both.Wait()
	got := p.Stats()
	if got.Whole.Count != 2 || got.Head.Count != 2 || got.Whole.Buckets[300] != 2 {
		t.Fatalf("of two calls %+v, %+v", got.Whole, got.Head)
	}
	if least := slow.Seconds(); got.Held != 2*least || got.Whole.Sum != got.Held || got.Waited != least {
		t.Errorf("held %v s, took %v s, waited %v s; each call holds its connection for %v s and the second waits for the first", got.Held, got.Whole.Sum, got.Waited, least)
	}
	if got.Head.Sum > got.Whole.Sum || got.Whole.Buckets[0.05] != 0 {
		t.Errorf("heads %+v, whole %+v", got.Head, got.Whole)
	}
	mustFetch(t, p, s.url, local)
	if again := p.Stats(); again.Waited != got.Waited || again.Held <= got.Held {
		t.Errorf("after a call that did not wait: waited %v s, held %v s", again.Waited, again.Held)
	}
}
