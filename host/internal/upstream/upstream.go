// Package upstream makes the host's outbound HTTP calls: one bounded pool of connections for all
// hosts without a name, and one for each named upstream, so that chats cannot starve searches.
//
// It decides which connection a call uses, how long it may take and which addresses may be
// dialled. It does not decide who may call what, adds no secrets, follows no redirects and reads
// no proxy from the environment: one is a setting of an upstream.
package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// Upstream is a service the host calls by name. It is safe for concurrent use.
type Upstream struct {
	name      string
	pool      *Pool
	private   bool
	endpoints []endpoint
	next      atomic.Uint64 // the endpoint of the next URL
}

// newUpstream reads the endpoints of one named upstream. All problems come back at once.
func newUpstream(name string, c config.Upstream, pool *Pool, resolve func(string) (string, error)) (*Upstream, error) {
	u := &Upstream{name: name, pool: pool, private: c.Private}
	if len(c.Endpoints) == 0 {
		return nil, fmt.Errorf("upstreams.%s.endpoints is empty: give at least one URL", name)
	}
	var problems []error
	for i, raw := range c.Endpoints {
		e, err := resolveEndpoint(raw, resolve)
		if err != nil {
			problems = append(problems, fmt.Errorf("upstreams.%s.endpoints[%d]: %w", name, i, err))
			continue
		}
		u.endpoints = append(u.endpoints, e)
	}
	return u, errors.Join(problems...)
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
	i := (u.next.Add(1) - 1) % uint64(len(u.endpoints))
	to, err := u.endpoints[i].url(path, rawQuery)
	if err != nil {
		return nil, fmt.Errorf("upstream %s: %w", u.name, err)
	}
	return to, nil
}

// Do sends a request, whose URL came from URL, on the upstream's pool; see Pool.Do. Private
// addresses are allowed when the policy or the upstream's configuration says so, and for the
// very host that a "demo:" endpoint stands for, which is the server's own.
func (u *Upstream) Do(req *http.Request, pol Policy) (*http.Response, error) {
	if !pol.Private && req.URL != nil {
		pol.Private = u.private || u.isDemo(req.URL.Host)
	}
	return u.pool.Do(req, pol)
}

func (u *Upstream) isDemo(host string) bool {
	for _, e := range u.endpoints {
		if e.demo && strings.EqualFold(e.base.Host, host) {
			return true
		}
	}
	return false
}
