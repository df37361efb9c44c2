package keys

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// GateOptions are what a Gate is made from.
type GateOptions struct {
	// Error answers a request that is refused.
	Error func(w http.ResponseWriter, r *http.Request, status int, detail string)
	// Named is told whose key came with a request; nil is nobody.
	Named func(ctx context.Context, name string)
	// Admitted is told of each request that goes on with a key. valid ends when the key is revoked or expires, with ErrRevoked or
	// ErrExpired as its cause. All requests of the key share it, and it outlives them. nil is nobody.
	Admitted func(ctx, valid context.Context)
	// Refused is told of each request that goes no further; nil is nobody.
	Refused func(ctx context.Context)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Gate lets requests through to what lies behind it, or answers them itself. Until the first Swap it lets none through.
// What was let in with a key that is good no longer is told: see GateOptions.Admitted.
type Gate struct {
	options GateOptions
	force   atomic.Pointer[force]
	vec     *prometheus.CounterVec
	counts  [reasons]prometheus.Counter

	mu     sync.Mutex // held by whoever changes force, or ends what is over
	expiry *time.Timer
	closed bool
}

// NewGate makes a closed gate.
func NewGate(o GateOptions) *Gate {
	if o.Named == nil {
		o.Named = func(context.Context, string) {}
	}
	if o.Admitted == nil {
		o.Admitted = func(context.Context, context.Context) {}
	}
	if o.Refused == nil {
		o.Refused = func(context.Context) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	g := &Gate{options: o, vec: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "patchbay_key_refusals_total",
		Help: "Requests that were refused for their API key, by reason.",
	}, []string{"reason"})}
	for why := range reasons {
		if name := refusals[why].name; name != "" {
			g.counts[why] = g.vec.WithLabelValues(name)
		}
	}
	return g
}

// Swap puts a set in force for all requests from now on. What is under way with a key that is in it, and good, goes on; what
// others were admitted with ends. A key whose routes are others now has that from its next request on.
func (g *Gate) Swap(s *Set) {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.force.Load()
	next := s.follow(old, g.options.Now())
	g.force.Store(next) // first: who is let in by the old one has what is about to end
	g.lapse(next, old)
}

// lapse ends what is over, and looks again when the next key expires. It must be called under mu.
func (g *Gate) lapse(f, old *force) {
	if g.expiry != nil {
		g.expiry.Stop()
	}
	now := g.options.Now()
	next := f.lapse(old, now)
	if next.IsZero() || g.closed {
		return
	}
	g.expiry = time.AfterFunc(min(max(next.Sub(now), time.Millisecond), recheck), func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.lapse(g.force.Load(), nil)
	})
}

// Close ends the wait for keys to expire. What is in force stays.
func (g *Gate) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed = true; g.expiry != nil {
		g.expiry.Stop()
	}
}

// Collector counts what was refused.
func (g *Gate) Collector() prometheus.Collector { return g.vec }

// Guard asks for a key in front of next, which sees none: the key is taken off the request. It reads nothing of a body. A key
// that is sent is checked also where none is required.
func (g *Gate) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if why := g.judge(r); why != good {
			g.refuse(w, r, why)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (g *Gate) judge(r *http.Request) reason {
	force := g.force.Load()
	switch {
	case force == nil:
		return unready
	case inURL(r.URL):
		return leaked
	case isProbe(r):
		return good
	}
	sent, why := sentWith(r.Header)
	switch why {
	case good:
	case missing, foreign: // a foreign one may be for a plugin
		if force.required {
			return why
		}
		return good
	default:
		return why
	}
	k, why := force.find(sent)
	if why != good {
		return why
	}
	g.options.Named(r.Context(), k.name)
	if why := k.state(g.options.Now()); why != good {
		return why
	}
	if !k.allows(r) {
		return outOfScope
	}
	v := force.valid[k]
	if v == nil || v.Err() != nil { // the clock was set back: what was over stays so until the next Swap, which may be going on
		if v != nil && context.Cause(v) == ErrRevoked {
			return revoked
		}
		return expired
	}
	g.options.Admitted(r.Context(), v)
	strip(r.Header)
	return good
}

// isProbe says whether a request asks how the server is, as machines do that have no key.
func isProbe(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && (r.URL.Path == "/livez" || r.URL.Path == "/readyz")
}

// inURL says whether a key stands in a URL, plain or escaped. Proxies log URLs, and browsers remember them.
func inURL(u *url.URL) bool {
	if holds(u.Path) || holds(u.RawQuery) || u.User != nil && holds(u.User.String()) {
		return true
	}
	if !strings.Contains(u.RawQuery, "%") {
		return false
	}
	// Part by part: one that is escaped wrongly must not hide the others.
	for part := range strings.SplitSeq(u.RawQuery, "&") {
		if plain, err := url.QueryUnescape(part); err == nil && holds(plain) {
			return true
		}
	}
	return false
}
