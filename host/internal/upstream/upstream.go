// Package upstream makes the host's outbound HTTP calls: one bounded pool of connections for all
// hosts without a name, and one for each named upstream, so that chats cannot starve searches.
//
// It decides which endpoint and which connection a call uses, how long it may take, whether it is
// sent again, and which addresses may be dialled. It does not decide who may call what, adds no
// secrets, follows no redirects and reads no proxy from the environment: one is a setting of an
// upstream.
package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// Upstream is a service the host calls by name. It is safe for concurrent use.
type Upstream struct {
	name          string
	pool          *Pool
	private       bool
	sticky        string // a header; "" is none
	timeoutHeader string // "" is none
	health        config.Health
	queue         config.Queue
	members       []*member
	next          atomic.Uint64 // the endpoint of the next URL

	// A reload hands these on, when their settings are the same.
	breaker *breaker
	retries *retries
	count   *callCounters
	event   teller

	mu sync.Mutex // held while an endpoint is left out, so that one stays
}

// callCounters only grow.
type callCounters struct {
	failovers, retries, refused atomic.Uint64
}

// newUpstream reads the endpoints of one named upstream. What is known of the ones that old, which
// may be nil, has too goes on. All problems come back at once.
func newUpstream(name string, c config.Upstream, pool *Pool, resolve func(string) (string, error), old *Upstream, event teller) (*Upstream, error) {
	u := &Upstream{
		name: name, pool: pool, private: c.Private,
		sticky: http.CanonicalHeaderKey(c.Sticky), timeoutHeader: http.CanonicalHeaderKey(c.TimeoutHeader),
		health: c.Health, queue: c.Queue,
		breaker: newBreaker(name, c.Breaker, event), retries: newRetries(c.Retry), count: &callCounters{}, event: event,
	}
	if old != nil {
		u.count = old.count
		if old.breaker != nil && old.breaker.set == c.Breaker {
			u.breaker = old.breaker
		}
		if old.retries != nil && reflect.DeepEqual(old.retries.set, c.Retry) {
			u.retries = old.retries
		}
	}
	if len(c.Endpoints) == 0 {
		return nil, fmt.Errorf("upstreams.%s.endpoints is empty: give at least one URL", name)
	}
	var problems []error
	for i, e := range c.Endpoints {
		m, err := newMember(e, resolve)
		if err != nil {
			problems = append(problems, fmt.Errorf("upstreams.%s.endpoints[%d]: %w", name, i, err))
			continue
		}
		if len(u.members) > 0 && m.key.scheme != u.members[0].key.scheme {
			problems = append(problems, fmt.Errorf("upstreams.%s.endpoints[%d]: it speaks %s, and %s does not: make two upstreams of them", name, i, m.key.scheme, u.members[0].name))
			continue
		}
		if u.find(m.name) != nil {
			problems = append(problems, fmt.Errorf("upstreams.%s.endpoints[%d]: %s is listed already: give it a weight instead", name, i, m.name))
			continue
		}
		m.record = newRecord()
		if old != nil {
			if before := old.find(m.name); before != nil {
				m.record = before.record
			}
		}
		u.members = append(u.members, m)
	}
	return u, errors.Join(problems...)
}

// find returns the member of a name, or nil.
func (u *Upstream) find(name string) *member {
	for _, m := range u.members {
		if m.name == name {
			return m
		}
	}
	return nil
}

// newMember reads one endpoint. Its record and its site are still missing.
func newMember(c config.Endpoint, resolve func(string) (string, error)) (*member, error) {
	e, err := resolveEndpoint(c.URL, resolve)
	if err != nil {
		return nil, err
	}
	m := &member{endpoint: e, name: e.base.String(), weight: float64(max(1, c.Weight))}
	switch {
	case e.demo:
		m.name = c.URL
	case e.chat != nil:
		m.name = e.chat.String()
	}
	if m.key, err = keyOf(e.base, Policy{}); err != nil {
		return nil, err
	}
	if c.Metrics != "" {
		at, err := parseEndpoint(c.Metrics)
		if err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
		m.metrics = at.base
	}
	return m, nil
}

// Name is the upstream's key in the configuration.
func (u *Upstream) Name() string { return u.name }

// Pool is the upstream's own pool. It may be shared with the upstream of the same name in an
// earlier or later Set; the Sets close it.
func (u *Upstream) Pool() *Pool { return u.pool }

// URL builds the address of a request on the next endpoint, in turn. The path is in its escaped
// form and begins with "/"; it may hold no "." or ".." segment, since those could leave the
// endpoint's prefix. "/v1/chat/completions" goes to the configured chat URL when the endpoint
// is one.
func (u *Upstream) URL(path, rawQuery string) (*url.URL, error) {
	i := (u.next.Add(1) - 1) % uint64(len(u.members))
	to, err := u.members[i].url(path, rawQuery)
	if err != nil {
		return nil, fmt.Errorf("upstream %s: %w", u.name, err)
	}
	return &to, nil
}

// Path is the reverse of URL: the path that leads to an absolute URL below one of the endpoints, "" when
// none does. near says that the URL is on the server of one of them.
func (u *Upstream) Path(to *url.URL) (path string, near bool) {
	_, path, near = u.at(to)
	return path, near
}

// at finds the endpoint that a URL is below, nil when there is none, and the path that leads to it there.
func (u *Upstream) at(to *url.URL) (found *member, path string, near bool) {
	k, err := keyOf(to, Policy{})
	if err != nil || to.User != nil {
		return nil, "", false
	}
	for _, m := range u.members {
		if m.key != k {
			continue
		}
		near = true
		if rest, ok := m.cut(to); ok && (found == nil || len(m.base.Path) > len(found.base.Path)) {
			found, path = m, rest
		}
	}
	return found, path, near
}

// Do sends a request, whose URL came from URL, on the upstream's pool; see Pool.Do. It goes to the
// endpoint that has less to do, of two that are drawn, or to the one that the value of the sticky
// header belongs to.
//
// A request whose connection could not be made was not sent: whatever its method, it goes to
// another endpoint where there is one. A GET, HEAD or OPTIONS, and any request whose context
// is Idempotent, is sent again after other failures too, within the retry budget and after a
// Retry-After. Neither is possible with a body that has no GetBody. While the breaker is open, or
// too many calls wait for the pool, Do fails at once with an error that is ErrUnavailable.
//
// Private addresses are allowed when the policy or the upstream's configuration says so, and for the
// very host that a "demo:" endpoint stands for, which is the server's own.
func (u *Upstream) Do(req *http.Request, pol Policy) (*http.Response, error) {
	t := &try{u: u, req: req, pol: pol, asks: asksOf(req.Context())}
	if err := t.aim(); err != nil {
		closeBody(req.Body)
		return nil, err
	}
	if u.retries != nil {
		u.retries.budget.deposit()
	}
	if !u.retries.allows(req, t.asks.idempotent) {
		o := t.attempt()
		return o.resp, o.err
	}
	return u.retries.do(req.Context(), u.name, func(n int) outcome {
		if n > 1 {
			u.count.retries.Add(1)
		}
		return t.attempt()
	}, u.worthAnother)
}

// maxFailover is how many endpoints one attempt may find unreachable.
const maxFailover = 3

// try is one call of Do.
type try struct {
	u     *Upstream
	req   *http.Request
	pol   Policy
	asks  asks
	path  string // of the request, without an endpoint's prefix
	c     choice
	sent  bool // its body was given away
	once  bool // the one repetition after a dead connection is used up
	tried []*member
	room  [4]*member // for tried
}

// aim finds what the request asks of any endpoint.
func (t *try) aim() error {
	if t.req.URL == nil || t.req.Header == nil {
		return errNoURL
	}
	m, path, _ := t.u.at(t.req.URL)
	if m == nil {
		return fmt.Errorf("upstream %s: %w: %s is none of its endpoints", t.u.name, ErrBlocked, t.req.URL.Host)
	}
	t.path = path
	if t.asks.addressed {
		t.c.addressed = m
	}
	if t.u.sticky != "" {
		t.c.sticky = t.req.Header.Get(t.u.sticky)
	}
	t.tried = t.room[:0]
	return nil
}

// attempt sends the request once, as far as an upstream sees, with the breaker's leave.
func (t *try) attempt() outcome {
	trial, ok, retry := t.u.breaker.enter()
	if !ok {
		t.u.count.refused.Add(1)
		if !t.sent {
			closeBody(t.req.Body)
		}
		return outcome{err: &Open{Upstream: t.u.name, Retry: max(retry, time.Millisecond)}}
	}
	resp, v, err := t.send()
	t.u.breaker.leave(trial, v)
	return outcome{resp: resp, err: err}
}

// send tries endpoints until one could be reached.
func (t *try) send() (resp *http.Response, v verdict, err error) {
	t.c.now = time.Now()
	m := t.u.pick(&t.c, true, t.tried)
	if m == nil {
		m = t.u.pick(&t.c, true, nil)
	}
	if m == nil { // none is available: perhaps one works all the same
		m = t.u.pick(&t.c, false, nil)
	}
	for n := 1; ; n++ {
		t.tried = append(t.tried, m)
		var took time.Duration
		if resp, took, err = t.sendTo(m); resp == nil {
			m.inFlight.Add(-1)
		}
		t.c.now = time.Now()
		v = t.u.judge(resp, err)
		t.u.note(m, v, took, t.c.now)
		t.observe(m, resp, err)
		if n == maxFailover || !dialFailed(err) || !t.replayable() {
			return resp, v, err
		}
		t.once = t.once || errors.Is(err, errWritten)
		if m = t.u.pick(&t.c, true, t.tried); m == nil {
			m = t.u.pick(&t.c, false, t.tried)
		}
		if m == nil {
			return resp, v, err
		}
		t.u.count.failovers.Add(1)
	}
}

// observe tells of an attempt.
func (t *try) observe(m *member, resp *http.Response, err error) {
	if t.asks.observe == nil {
		return
	}
	a := Attempt{Addr: m.key.addr, Err: err}
	if resp != nil {
		a.Status = resp.StatusCode
	}
	t.asks.observe(a)
}

// replayable says whether the body can be had again.
func (t *try) replayable() bool { return !hasBody(t.req.Body) || t.req.GetBody != nil }

// sendTo sends the request to one endpoint, which has one call more from then on. took is Pool.send's.
func (t *try) sendTo(m *member) (resp *http.Response, took time.Duration, err error) {
	m.inFlight.Add(1)
	if t.sent && hasBody(t.req.Body) {
		again, err := renewed(t.req)
		if err != nil {
			return nil, 0, fmt.Errorf("call %s: get the request's body again: %w", m.key.addr, err)
		}
		t.req = again
	}
	t.sent = true
	req, err := t.address(m)
	if err != nil {
		closeBody(t.req.Body)
		return nil, 0, err
	}
	k := m.key
	k.policy = t.pol
	k.policy.Private = k.policy.Private || t.u.private || m.demo
	return t.u.pool.send(req, k, m, t.once)
}

// address gives the request the endpoint's address, on a copy where that changes anything.
func (t *try) address(m *member) (*http.Request, error) {
	to, err := m.url(t.path, t.req.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("upstream %s: %w", t.u.name, err)
	}
	same := to == *t.req.URL
	if same && t.u.timeoutHeader == "" {
		return t.req, nil
	}
	req := t.req.WithContext(t.req.Context())
	if !same {
		other := to
		req.URL, req.Host = &other, other.Host
	}
	if left := t.left(); left > 0 {
		req.Header = req.Header.Clone()
		req.Header.Set(t.u.timeoutHeader, strconv.FormatInt(max(1, left.Milliseconds()), 10))
	}
	return req, nil
}

// left is how long the head may take, for the header that says so; 0 is not to be said.
func (t *try) left() time.Duration {
	if t.u.timeoutHeader == "" {
		return 0
	}
	left := t.u.pool.set.response
	if deadline, ok := t.req.Context().Deadline(); ok {
		if until := max(1, time.Until(deadline)); left == 0 || until < left {
			left = until
		}
	}
	return left
}

// isDemo says whether host is the server's own demo.
func (u *Upstream) isDemo(host string) bool {
	for _, m := range u.members {
		if m.demo && strings.EqualFold(m.base.Host, host) {
			return true
		}
	}
	return false
}
