package keys

import (
	"context"
	"net/http"
	"net/url"
	"strings"
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
	// Refused is told of each request that goes no further; nil is nobody.
	Refused func(ctx context.Context)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Gate lets requests through to what lies behind it, or answers them itself. Until the first Swap it lets none through.
type Gate struct {
	options GateOptions
	set     atomic.Pointer[Set]
	vec     *prometheus.CounterVec
	counts  [reasons]prometheus.Counter
}

// NewGate makes a closed gate.
func NewGate(o GateOptions) *Gate {
	if o.Named == nil {
		o.Named = func(context.Context, string) {}
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

// Swap puts a set in force for all requests from now on. What is under way goes on, a websocket too.
func (g *Gate) Swap(s *Set) { g.set.Store(s) }

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
	set := g.set.Load()
	switch {
	case set == nil:
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
		if set.required {
			return why
		}
		return good
	default:
		return why
	}
	k, why := set.find(sent)
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
