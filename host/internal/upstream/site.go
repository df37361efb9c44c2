package upstream

import (
	"context"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// site is what the pool of a named upstream keeps of one address of its endpoints. Guarded by Pool.mu, but for its traffic.
type site struct {
	traffic
	addr       string
	users      int // endpoints of Sets; nobody is left at 0
	open, idle int
	dials      uint64 // ended, failed ones among them
	dialErrors uint64
	dialed     dialTimes
}

// traffic counts bytes of HTTP, below no TLS.
type traffic struct{ in, out atomic.Uint64 }

// dialTimes says how long dials took that ended well.
type dialTimes struct {
	dns, connect             time.Duration // in all; connect is TCP and TLS
	recentDNS, recentConnect float64       // smoothed, in nanoseconds
}

func (d *dialTimes) add(dns, connect time.Duration) {
	smooth := func(old float64, v time.Duration) float64 {
		if d.dns == 0 && d.connect == 0 { // the first one
			return float64(v)
		}
		return (1-smoothing)*old + smoothing*float64(v)
	}
	d.recentDNS, d.recentConnect = smooth(d.recentDNS, dns), smooth(d.recentConnect, connect)
	d.dns += dns
	d.connect += connect
}

// dnsClock measures how long the name of a dial took to resolve.
type dnsClock struct {
	began time.Time
	took  time.Duration
}

func (c *dnsClock) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart: func(httptrace.DNSStartInfo) { c.began = time.Now() },
		DNSDone:  func(httptrace.DNSDoneInfo) { c.took = time.Since(c.began) },
	})
}

// retainSite adds an endpoint of a Set to the users of an address.
func (p *Pool) retainSite(addr string) *site {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sites[addr]
	if s == nil {
		s = &site{addr: addr}
		if p.sites == nil {
			p.sites = map[string]*site{}
		}
		p.sites[addr] = s
	}
	s.users++
	return s
}

// dropSite takes an endpoint away. With the last one at its address the idle connections there close, and those in
// use when their call ends.
func (p *Pool) dropSite(s *site) {
	p.mu.Lock()
	var all []*conn
	if s.users--; s.users == 0 {
		delete(p.sites, s.addr)
		all = p.idle.takeOf(s)
	}
	p.mu.Unlock()
	closeAll(all)
}

// goneLocked says that no endpoint is at the connection's address any more. In the shared pool there
// are no endpoints.
func (c *conn) goneLocked() bool {
	return c.pool.sites != nil && (c.site == nil || c.site.users == 0)
}
