package server

import (
	"container/list"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// gate bounds the open connections of a listener. When it is full, the connection that has been
// idle longest makes room for a new one; idle is between two requests, and before the first head
// has arrived, so that neither kept-alive nor silent clients can lock others out. When none is
// idle, the new one waits.
type gate struct {
	net.Listener
	max int // 0 is no bound

	mu      sync.Mutex // guards all below; never held while closing a connection
	room    *sync.Cond // a connection was closed or became idle, or the gate stopped
	open    map[*conn]struct{}
	idle    list.List // of *conn, the longest first
	stopped bool      // accepts no more
	closing bool      // closes what is idle at once
	grace   time.Duration
	empty   chan struct{} // closed when the last connection is; nil before the drain

	hijacked handlers // connections that were given away and are open; their handlers may have returned
}

// conn is an accepted connection; closing it makes room.
type conn struct {
	net.Conn
	gate             *gate
	reading, writing deadline
	once             sync.Once
	err              error
	place            *list.Element // in gate.idle; guarded by gate.mu
	given            bool          // it was hijacked; guarded by gate.mu
	known            bool          // whether it speaks HTTP/2; it and h2 are onState's, which net/http calls one at a time
	h2               atomic.Bool
}

func newGate(ln net.Listener, limit int) *gate {
	g := &gate{Listener: ln, max: limit, open: map[*conn]struct{}{}}
	g.room = sync.NewCond(&g.mu)
	return g
}

// Accept takes the connection first and makes room then, so that nothing is closed for nobody. The
// bound is passed by this one.
func (g *gate) Accept() (net.Conn, error) {
	nc, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, gate: g, reading: deadline{tell: nc.SetReadDeadline}, writing: deadline{tell: nc.SetWriteDeadline}}
	g.mu.Lock()
	for !g.stopped && g.max > 0 && len(g.open) >= g.max {
		longest := g.idle.Front()
		if longest == nil {
			g.room.Wait()
			continue
		}
		victim := g.notIdle(longest.Value.(*conn))
		g.mu.Unlock()
		_ = victim.Close()
		g.mu.Lock()
	}
	defer g.mu.Unlock()
	// A client whose connection was taken is served, even if the gate has closed meanwhile.
	g.open[c] = struct{}{}
	c.place = g.idle.PushBack(c)
	return c, nil
}

// Close stops accepting; open connections stay.
func (g *gate) Close() error {
	err := g.Listener.Close()
	g.mu.Lock()
	g.stopped = true
	g.mu.Unlock()
	g.room.Broadcast()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// drain closes connections that stay idle for the time of grace, from now on or from when they become idle; without grace it leaves those of
// HTTP/2 to net/http's Shutdown. What it returns is closed when none is left. The gate must have closed.
func (g *gate) drain(grace time.Duration) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.empty, g.grace = make(chan struct{}), grace
	if len(g.open) == 0 {
		close(g.empty)
	}
	for e := g.idle.Front(); e != nil; e = e.Next() {
		g.closeLater(e)
	}
	return g.empty
}

// closeLater closes a connection that is idle until grace is over. It must be called under mu.
func (g *gate) closeLater(place *list.Element) {
	c := place.Value.(*conn)
	time.AfterFunc(g.grace, func() {
		g.mu.Lock()
		still := c.place == place && !(g.grace <= 0 && c.h2.Load()) // an idle time has a place of its own
		g.mu.Unlock()
		if still {
			_ = c.Close()
		}
	})
}

// stop closes idle connections now and as they become idle. Those of HTTP/2 it leaves to net/http's Shutdown, which sends GOAWAY: so a client
// knows that a request which it sends meanwhile was not begun, and sends it again elsewhere.
func (g *gate) stop() {
	g.mu.Lock()
	g.closing = true
	g.mu.Unlock()
	g.closeSome(func(c *conn) bool { return c.place != nil && !c.h2.Load() })
}

// busy says whether a connection is open that is not idle.
func (g *gate) busy() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.open) > g.idle.Len()
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.open)
}

func (g *gate) closeAll() { g.closeSome(func(*conn) bool { return true }) }

func (g *gate) closeSome(which func(*conn) bool) {
	g.mu.Lock()
	var list []*conn
	for c := range g.open {
		if which(c) {
			list = append(list, c)
		}
	}
	g.mu.Unlock()
	for _, c := range list {
		_ = c.Close()
	}
}

// onState is the server's ConnState hook.
func (g *gate) onState(nc net.Conn, state http.ConnState) {
	c, plain := unwrap(nc)
	if c == nil {
		return
	}
	if plain != nil && state == http.StateIdle {
		plain.answering.Store(false)
	}
	if !c.known && state != http.StateNew { // hands are shaken
		t, ok := nc.(*tls.Conn)
		c.known = true
		c.h2.Store(ok && t.ConnectionState().NegotiatedProtocol == "h2")
	}
	if state == http.StateHijacked {
		c.reading.follow()
		c.writing.follow()
	}
	g.mu.Lock()
	if _, open := g.open[c]; state == http.StateHijacked && open && !c.given {
		c.given = true
		g.hijacked.enter()
	}
	closing := g.closing
	switch state {
	case http.StateActive, http.StateHijacked, http.StateClosed:
		g.notIdle(c)
	case http.StateIdle:
		if _, open := g.open[c]; open && c.place == nil {
			c.place = g.idle.PushBack(c)
			g.room.Signal()
			if g.empty != nil && !closing {
				g.closeLater(c.place)
			}
		}
	}
	g.mu.Unlock()
	if closing && state == http.StateIdle && !c.h2.Load() {
		_ = c.Close()
	}
}

// notIdle must be called under mu.
func (g *gate) notIdle(c *conn) *conn {
	if c.place != nil {
		g.idle.Remove(c.place)
		c.place = nil
	}
	return c
}

// Close may be called by anyone at any time; the first call counts.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.err = c.Conn.Close()
		c.reading.release()
		g := c.gate
		g.mu.Lock()
		g.notIdle(c)
		delete(g.open, c)
		if c.given {
			g.hijacked.leave()
		}
		if g.empty != nil && len(g.open) == 0 {
			select {
			case <-g.empty:
			default:
				close(g.empty)
			}
		}
		g.mu.Unlock()
		g.room.Signal()
	})
	return c.err
}

// CloseWrite ends our direction; net/http and plainConn use it to let a last answer arrive.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// NetConn is the connection that was accepted, for who writes to it past everything.
func (c *conn) NetConn() net.Conn { return c.Conn }

// unwrap finds what the gate and the plain listener made, below whatever net/http was given.
func unwrap(nc net.Conn) (*conn, *plainConn) {
	var plain *plainConn
	switch c := nc.(type) {
	case *plainConn:
		plain, nc = c, c.Conn
	case *tlsPlainConn:
		plain, nc = &c.plainConn, c.Conn
	}
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	c, _ := nc.(*conn)
	return c, plain
}
