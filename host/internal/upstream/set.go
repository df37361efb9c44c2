package upstream

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"sync"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/events"
)

// shared is the name of the pool for hosts without one.
const shared = "shared"

// Set is the shared pool and the named upstreams of one configuration. It is read-only, and safe
// for concurrent use. Whoever made it closes it.
type Set struct {
	options options
	resolve func(string) (string, error)
	shared  *Pool
	named   map[string]*Upstream
	order   []string // the names, sorted
	close   sync.Once

	watching sync.WaitGroup
	stop     context.CancelFunc // ends what watches
}

// options are what the configuration does not say.
type options struct {
	roots    *x509.CertPool
	resolver *net.Resolver
	event    teller
}

// teller is told what happens to upstreams; see Events.
type teller func(kind events.Kind, subject, text string)

// Option changes what New makes.
type Option func(*options)

// Roots sets whose certificates are trusted where an upstream names no file of its own; without it
// those that the system trusts.
func Roots(p *x509.CertPool) Option { return func(o *options) { o.roots = p } }

// Resolver sets who finds the addresses of names; without it the system does.
func Resolver(r *net.Resolver) Option { return func(o *options) { o.resolver = r } }

// Events sets who is told when an endpoint is left out and comes back, and when a breaker changes; the subject is the upstream's name,
// with the endpoint's behind it. It is called within calls to the upstream, from several at once: it must not block.
func Events(tell func(kind events.Kind, subject, text string)) Option {
	return func(o *options) { o.event = tell }
}

// New makes the pools. Nothing is dialled. resolve turns an endpoint such as "demo:gpustack" into
// a URL; it may be nil when there is none. All problems of the configuration come back at once,
// each with its path.
func New(client config.Client, named map[string]config.Upstream, resolve func(string) (string, error), opts ...Option) (*Set, error) {
	s := &Set{options: options{event: func(events.Kind, string, string) {}}, resolve: resolve}
	for _, o := range opts {
		o(&s.options)
	}
	if err := s.build(client, named, nil); err != nil {
		return nil, err
	}
	return s, nil
}

// Reload makes the Set of a changed configuration. Pools whose settings are the same go on in it,
// with their connections; a pool may so belong to both Sets until one is closed. An error leaves
// s as it was, and s stays in use until its owner closes it.
func (s *Set) Reload(client config.Client, named map[string]config.Upstream) (*Set, error) {
	next := &Set{options: s.options, resolve: s.resolve}
	if err := next.build(client, named, s); err != nil {
		return nil, err
	}
	return next, nil
}

// build fills s, with the pools of old where they fit. It takes nothing when it fails.
func (s *Set) build(client config.Client, named map[string]config.Upstream, old *Set) error {
	var problems []error
	pool := func(name, path string, set settings) *Pool {
		before := old.pool(name)
		set.roots, set.resolver = s.options.roots, s.options.resolver
		if err := set.trust(path, before); err != nil {
			problems = append(problems, err)
		}
		if err := set.check(path); err != nil {
			problems = append(problems, err)
		}
		if before != nil && before.set == set {
			return before
		}
		return newPool(name, path, set)
	}
	s.shared = pool(shared, "client", settings{
		maxConns: client.MaxConns, maxIdle: client.MaxIdleConns, idle: client.IdleTimeout,
		connect: client.ConnectTimeout, response: client.ResponseTimeout, chunk: client.ChunkTimeout,
		maxWaiting: client.MaxWaiting,
	})
	s.named = make(map[string]*Upstream, len(named))
	for _, name := range slices.Sorted(maps.Keys(named)) {
		c := named[name]
		if name == shared {
			problems = append(problems, fmt.Errorf("upstreams.%s: the name is taken by the pool of client: choose another", name))
			continue
		}
		p := pool(name, "upstreams."+name, settings{
			maxConns: c.MaxConns, maxIdle: c.MaxIdleConns, idle: c.IdleTimeout,
			connect: c.ConnectTimeout, response: c.ResponseTimeout, chunk: c.ChunkTimeout,
			maxWaiting: c.MaxWaiting, proxy: proxyAddr(c.Proxy), caFile: c.TLS.CA,
		})
		var before *Upstream
		if old != nil {
			before = old.named[name]
		}
		u, err := newUpstream(name, c, p, s.resolve, before, s.options.event)
		if err != nil {
			problems = append(problems, err)
		}
		s.named[name] = u
		s.order = append(s.order, name)
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	s.begin()
	return nil
}

// trust reads the file of an upstream's own authorities. Of before, which may be nil, it takes the very
// same roots when the file says what it said then: settings are compared.
func (s *settings) trust(path string, before *Pool) error {
	if s.caFile == "" {
		return nil
	}
	pem, err := os.ReadFile(s.caFile)
	if err != nil {
		return fmt.Errorf("%s.tls.ca: %w", path, err)
	}
	s.ca = string(pem)
	if before != nil && before.set.ca == s.ca {
		s.roots = before.set.roots
		return nil
	}
	s.roots = x509.NewCertPool()
	if !s.roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s.tls.ca: %s holds no certificate in PEM form", path, s.caFile)
	}
	return nil
}

// begin takes the pools into use and starts what looks at the endpoints.
func (s *Set) begin() {
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.shared.retain()
	for _, name := range s.order {
		u := s.named[name]
		u.pool.retain()
		for _, m := range u.members {
			m.site = u.pool.retainSite(m.key.addr)
		}
		if u.watched() {
			u.watch(ctx, u.pool.set, &s.watching)
		}
	}
}

// pool finds a pool by its name; nil when there is none, or no Set.
func (s *Set) pool(name string) *Pool {
	if s == nil {
		return nil
	}
	if name == shared {
		return s.shared
	}
	if u := s.named[name]; u != nil {
		return u.pool
	}
	return nil
}

// Shared is the pool for hosts that are no named upstream.
func (s *Set) Shared() *Pool { return s.shared }

// Named finds an upstream by its key in the configuration.
func (s *Set) Named(name string) (*Upstream, bool) {
	u, ok := s.named[name]
	return u, ok
}

// Stats is the state of every pool: the shared one first, then the upstreams by name.
func (s *Set) Stats() []Stats {
	all := []Stats{s.shared.Stats()}
	for _, name := range s.order {
		all = append(all, s.named[name].stats())
	}
	return all
}

// Close gives the pools up, and may be called twice. In a pool that no other Set holds the idle
// connections close at once and the others when their call ends; so do those of an endpoint that no
// other Set has. Calls in flight finish, and a late one is still answered, on a connection that is closed after it.
func (s *Set) Close() {
	s.close.Do(func() {
		s.stop()
		s.watching.Wait()
		s.shared.drop()
		for _, name := range s.order {
			u := s.named[name]
			u.pool.drop()
			for _, m := range u.members {
				u.pool.dropSite(m.site)
			}
		}
	})
}
