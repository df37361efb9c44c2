package upstream

import (
	"context"
	"net"
)

// CheckAddress lets the table test try addresses that no test may dial.
var CheckAddress = checkAddress

// SumMetric reads pages that no server of a test would send.
var SumMetric = sumMetric

// Check looks at the first endpoint once, as a Set does again and again.
func (u *Upstream) Check(ctx context.Context) error {
	return u.newProber(u.pool.set).check(ctx, u.members[0], u.health.Path)
}

// RetryAfter reads headers at a given time.
var RetryAfter = retryAfter

// Dial opens the pool's connections elsewhere: in a bubble of testing/synctest there are no sockets.
func (p *Pool) Dial(dial func(addr string) (net.Conn, error)) {
	p.transport.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
		raw, err := dial(addr)
		if err != nil {
			return nil, err
		}
		c := ctx.Value(dialKey{}).(*conn)
		c.Conn = raw
		return c, nil
	}
}
