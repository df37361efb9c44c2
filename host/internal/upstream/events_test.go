package upstream_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/events"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
)

// told keeps what a Set says of its upstreams.
type told struct {
	mu   sync.Mutex
	list []string
}

func (l *told) event(kind events.Kind, subject, _ string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, fmt.Sprint(kind, " ", subject))
}

func (l *told) is(want ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Equal(l.list, want)
}

// listening is newUpstream with somebody who is told.
func listening(t *testing.T, change func(*config.Upstream), urls ...string) (*told, *upstream.Upstream) {
	t.Helper()
	l := &told{}
	set, err := upstream.New(client(nil), map[string]config.Upstream{"up": entry(change, urls...)}, nil, upstream.Events(l.event))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("it told %q", l.list)
		}
	})
	next, err := set.Reload(client(nil), map[string]config.Upstream{"up": entry(change, urls...)}) // it tells the same
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(next.Close)
	u, _ := next.Named("up")
	return l, u
}

func TestEventsOfAnEndpoint(t *testing.T) {
	good, bad := newBackend(t, "good", nil), newBackend(t, "bad", nil)
	bad.status.Store(http.StatusBadGateway)
	l, u := listening(t, func(c *config.Upstream) {
		c.Retry.Max, c.Breaker.FailureRate = 0, 0
		c.Health.Failures, c.Health.Ejection, c.Health.SlowStart = 2, 50*time.Millisecond, time.Millisecond
	}, good.url, bad.url)
	out, back := "endpoint.ejected up "+bad.url, "endpoint.returned up "+bad.url
	eventually(t, "it is left out", func() bool { ask(t.Context(), u, http.MethodGet, ""); return l.is(out) })
	bad.status.Store(0)
	eventually(t, "it is back", func() bool { ask(t.Context(), u, http.MethodGet, ""); return l.is(out, back) })
	for range 20 {
		mustAsk(t, u)
	}
	if !l.is(out, back) {
		t.Error("it told more")
	}
}

func TestEventsOfChecks(t *testing.T) {
	b := newBackend(t, "b", nil)
	b.status.Store(http.StatusServiceUnavailable)
	l, _ := listening(t, func(c *config.Upstream) {
		c.Health.Path, c.Health.Interval, c.Health.Failures = "/healthz", 5*time.Millisecond, 2
	}, b.url)
	out, back := "endpoint.ejected up "+b.url, "endpoint.returned up "+b.url
	eventually(t, "it is left out", func() bool { return l.is(out) })
	b.status.Store(0)
	eventually(t, "it is back", func() bool { return l.is(out, back) })
}

func TestEventsOfTheBreaker(t *testing.T) {
	b := newBackend(t, "b", nil)
	b.status.Store(http.StatusBadGateway)
	l, u := listening(t, func(c *config.Upstream) {
		c.Retry.Max = 0
		c.Breaker = config.Breaker{FailureRate: 0.5, MinCalls: 2, Window: time.Minute, Open: 20 * time.Millisecond, Trials: 1}
	}, b.url)
	eventually(t, "it opens", func() bool { ask(t.Context(), u, http.MethodPost, ""); return l.is("breaker.opened up") })
	b.status.Store(0)
	eventually(t, "it closes", func() bool {
		ask(t.Context(), u, http.MethodPost, "")
		return l.is("breaker.opened up", "breaker.half-open up", "breaker.closed up")
	})
}
