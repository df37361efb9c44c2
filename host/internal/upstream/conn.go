package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// conn is one connection, and the place it takes in its pool. It sits above TLS, so that what it
// counts are bytes of HTTP.
type conn struct {
	net.Conn                  // TCP or TLS; nil until dialled
	cc       *http.ClientConn // nil until dialled
	pool     *Pool
	key      key
	site     *site                // of key.addr; nil where the pool keeps none
	tls      *tls.ConnectionState // nil without TLS

	read   atomic.Int64 // bytes received
	wrote  atomic.Int64 // time of the last byte sent, in nanoseconds after Pool.started
	failed atomic.Bool  // a read or write failed before we closed: the peer or the network did it
	closed atomic.Bool

	// Guarded by Pool.mu.
	dialing, released bool
	idle              bool
	since             time.Time // when it became idle
	above, below      *conn     // neighbours in the stack of its key
	older, newer      *conn     // neighbours in the list by age

	waited time.Duration // of the call that has it, for it

	// Written under Pool.mu before the connection is handed on, read by whoever has it then.
	used bool  // has served a call
	mark int64 // of read, when the last call ended
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.read.Add(int64(n))
		c.pool.traffic.in.Add(uint64(n))
		if c.site != nil {
			c.site.in.Add(uint64(n))
		}
	}
	if err != nil && !c.closed.Load() {
		c.failed.Store(true)
	}
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if n > 0 {
		c.wrote.Store(int64(time.Since(c.pool.started)))
		c.pool.traffic.out.Add(uint64(n))
		if c.site != nil {
			c.site.out.Add(uint64(n))
		}
	}
	if err != nil && !c.closed.Load() {
		c.failed.Store(true)
	}
	return n, err
}

// Close gives the place back, after the socket is gone.
func (c *conn) Close() error {
	c.closed.Store(true)
	err := c.Conn.Close()
	c.pool.release(c)
	return err
}

// dialKey finds the conn that a dial is for in the dial's context.
type dialKey struct{}

// maxHeader bounds the headers of one response, in bytes: a guest is given no more of them.
const maxHeader = 64 << 10

// newTransport makes the one http.Transport of a pool. It opens connections and speaks HTTP/1.1
// on them; keeping them is the pool's work.
func newTransport(s settings) *http.Transport {
	// HTTP/1.1 only: there one call in use is one connection, so that a cap on connections is a cap
	// on what an upstream is asked at once, and closing a call early stops it at once.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Protocols:              &protocols,
		Proxy:                  nil, // never from the environment: it would see every call and hide the address from the check
		DialContext:            dialTCP,
		DialTLSContext:         s.dialTLS,
		DisableCompression:     true, // what the upstream sent is what the caller gets
		MaxResponseHeaderBytes: maxHeader,
		ExpectContinueTimeout:  time.Second,
		ReadBufferSize:         4 << 10,
		WriteBufferSize:        4 << 10,
	}
}

// dialTCP opens the socket of the conn in ctx, on an address that its policy allows.
func dialTCP(ctx context.Context, network, addr string) (net.Conn, error) {
	c, ok := ctx.Value(dialKey{}).(*conn)
	if !ok {
		return nil, errors.New("a dial outside the pool") // a fault of this package; never an open door
	}
	raw, err := c.pool.set.open(ctx, c.key.policy.Private, network, addr)
	if err != nil {
		return nil, err
	}
	c.Conn = raw
	return c, nil
}

// open opens a socket to addr, or to the proxy that leads there, on a public address or on any.
func (s settings) open(ctx context.Context, private bool, network, addr string) (net.Conn, error) {
	dialer := net.Dialer{
		// One address after the other: a race of two would be two connections in one place.
		FallbackDelay: -1,
		Resolver:      s.resolver,
	}
	if !private {
		// Here, since this is the very address that the kernel is given: a name that resolves to
		// another address a second time changes nothing.
		dialer.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("check address %q: %w", address, err)
			}
			return checkAddress(at.Addr())
		}
	}
	if s.proxy != "" {
		addr = s.proxy
	}
	return dialer.DialContext(ctx, network, addr)
}

// dialTLS is dialTCP and a handshake, under the same deadline.
func (s settings) dialTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	if _, err := dialTCP(ctx, network, addr); err != nil {
		return nil, err
	}
	c := ctx.Value(dialKey{}).(*conn)
	raw := c.Conn
	c.Conn = nil
	secure, err := s.secure(ctx, raw, addr)
	if err != nil {
		return nil, err
	}
	state := secure.ConnectionState()
	c.Conn, c.tls = secure, &state
	return c, nil
}

// secure makes a socket that open gave a TLS connection to addr. It closes the socket when that fails.
func (s settings) secure(ctx context.Context, raw net.Conn, addr string) (*tls.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	if s.proxy != "" {
		if err := tunnel(ctx, raw, s.proxy, addr); err != nil {
			_ = raw.Close()
			return nil, err
		}
	}
	secure := tls.Client(raw, &tls.Config{RootCAs: s.roots, ServerName: host, NextProtos: []string{"http/1.1"}})
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return secure, nil
}

// dial connects c, which holds a place. When it fails the place is free again.
func (p *Pool) dial(ctx context.Context, c *conn) error {
	dctx := context.WithValue(ctx, dialKey{}, c)
	if d := p.set.connect; d > 0 {
		var cancel context.CancelFunc
		dctx, cancel = context.WithTimeout(dctx, d)
		defer cancel()
	}
	clock, began := &dnsClock{}, time.Now()
	cc, err := p.transport.NewClientConn(clock.trace(dctx), c.key.scheme, c.key.addr)
	if err == nil {
		c.cc = cc
		took, dns := time.Since(began), clock.took
		p.mu.Lock()
		p.count.dials++
		p.dialed.add(dns, took-dns)
		if c.site != nil {
			c.site.dials++
			c.site.dialed.add(dns, took-dns)
		}
		if c.dialing { // the server may have closed it already
			c.dialing = false
			p.dialing--
		}
		p.mu.Unlock()
		return nil
	}
	if c.Conn != nil { // the transport gave it up after the dial
		_ = c.Close()
	}
	err = p.dialError(ctx, dctx, c.key.addr, err)
	p.mu.Lock()
	p.count.dials++
	p.count.dialErrors++
	if c.site != nil {
		c.site.dials++
		c.site.dialErrors++
	}
	p.mu.Unlock()
	p.release(c)
	return err
}

// dialError says what kind of failure a dial's error is. ctx is the caller's, dctx the dial's.
func (p *Pool) dialError(ctx, dctx context.Context, addr string, err error) error {
	var blocked *Blocked
	var late net.Error
	deadline, bounded := ctx.Deadline()
	switch {
	case errors.As(err, &blocked):
		return &Error{Kind: ErrBlocked, Pool: p.name, Addr: addr, Err: blocked}
	case ctx.Err() != nil, bounded && !time.Now().Before(deadline):
		return contextError(ctx, addr)
	case dctx.Err() != nil, errors.As(err, &late) && late.Timeout():
		return &Error{
			Kind: ErrConnectTimeout, Pool: p.name, Addr: addr,
			// Its text only: it may be a deadline's error, but the deadline was not the caller's.
			Err:  errors.New(err.Error()),
			Hint: fmt.Sprintf("%s.connect_timeout is %v", p.path, p.set.connect),
		}
	default:
		return &Error{Kind: ErrConnect, Pool: p.name, Addr: addr, Err: err}
	}
}
