package upstream

import (
	"container/list"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Policy is what a call may do, and whose connections it may share: a connection that one policy
// opened never serves another.
type Policy struct {
	Private bool   // may dial addresses that are not public
	Owner   string // keeps owners apart where the caller wants that, a plugin's name for example
}

// settings are what makes two pools the same for a reload. Comparable.
type settings struct {
	maxConns, maxIdle        int
	maxWaiting               int // 0 is no bound
	idle                     time.Duration
	connect, response, chunk time.Duration  // 0 is no limit
	caFile, ca               string         // who may sign a server's certificate, and what the file said; "" is roots as they are
	roots                    *x509.CertPool // nil is the system's
	resolver                 *net.Resolver  // nil is the system's
	proxy                    string         // host:port that stands between the pool and every server; "" is none
}

func (s settings) check(path string) error {
	var problems []error
	if s.maxConns < 1 {
		problems = append(problems, fmt.Errorf("%s.max_conns is %d: it must be at least 1", path, s.maxConns))
	}
	if s.maxIdle < 0 {
		problems = append(problems, fmt.Errorf("%s.max_idle_conns is %d: it must be at least 1, or 0 for as many as max_conns", path, s.maxIdle))
	}
	if s.maxWaiting < 0 {
		problems = append(problems, fmt.Errorf("%s.max_waiting is %d: it must be at least 1, or 0 for no bound", path, s.maxWaiting))
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{{"idle_timeout", s.idle}, {"connect_timeout", s.connect}, {"response_timeout", s.response}, {"chunk_timeout", s.chunk}} {
		if d.value < 0 {
			problems = append(problems, fmt.Errorf("%s.%s is %v: it must not be negative", path, d.key, d.value))
		}
	}
	return errors.Join(problems...)
}

// key names connections that can stand in for each other.
type key struct {
	policy       Policy
	scheme, addr string
}

// Pool is a bounded set of connections. It is safe for concurrent use.
//
// Every connection, from the start of its dial to the end of its close, takes one of max_conns
// places, whatever its host and policy. A call takes an idle connection of its own host and
// policy; else a place, and dials; else it joins the queue, and the idle connection that was used
// least recently is closed to make room. The queue is strictly first come, first served, so a
// connection that comes back while the queue's head wants another host is closed for it.
//
// http.Transport sends and receives, but lends its connections through NewClientConn: its own pool
// dials in the background for calls that are long gone and cannot bound all hosts together.
type Pool struct {
	name      string
	path      string // where its settings are in the configuration
	set       settings
	transport *http.Transport
	started   time.Time // what conn.wrote counts from
	traffic   traffic
	times     times

	// mu guards what follows. A ClientConn locks itself while it closes its connection, and that
	// close locks mu: so no method of a ClientConn is called under mu.
	mu      sync.Mutex
	users   int // Sets that hold the pool; nobody is left at 0
	open    int // places taken: dialling, in use and idle
	dialing int
	idle    idleConns
	queue   list.List   // of *waiter; empty unless every place is taken
	expiry  *time.Timer // runs expire when the oldest idle connection is due; nil until first used
	count   counters
	dialed  dialTimes
	sites   map[string]*site // by host:port, of the endpoints of a named upstream; nil in the shared pool
}

// waiter is a call in the queue.
type waiter struct {
	key     key
	fresh   bool       // takes a place only, no used connection
	ready   chan *conn // of 1: an idle connection, or one to dial
	granted bool       // something was sent to ready; guarded by Pool.mu
}

func newPool(name, path string, s settings) *Pool {
	p := &Pool{name: name, path: path, set: s, started: time.Now()}
	p.transport = newTransport(s)
	return p
}

// Name is "shared", or the name of the upstream the pool belongs to.
func (p *Pool) Name() string { return p.name }

// acquire returns an idle connection, or an empty one that holds a place and must be dialled.
// The caller owns it: it goes back through settle, or through release when it was never dialled.
func (p *Pool) acquire(ctx context.Context, k key, retry bool) (*conn, error) {
	if ctx.Err() != nil {
		return nil, contextError(ctx, k.addr)
	}
	var dead []*conn
	p.mu.Lock()
	if retry {
		p.count.retries++
	} else {
		p.count.calls++
		var c *conn
		if c, dead = p.idle.take(k, time.Now(), p.set.idle); c != nil {
			p.count.reused++
			p.mu.Unlock()
			closeAll(dead)
			c.waited = 0
			return c, nil
		}
	}
	if p.open < p.set.maxConns {
		c := p.placeLocked(k)
		p.mu.Unlock()
		closeAll(dead)
		return c, nil
	}
	if p.set.maxWaiting > 0 && p.queue.Len() >= p.set.maxWaiting && !retry {
		p.count.turnedAway++
		p.mu.Unlock()
		closeAll(dead)
		return nil, &PoolFull{Pool: p.name, MaxWaiting: p.set.maxWaiting, Setting: p.path + ".max_waiting"}
	}
	w := &waiter{key: k, fresh: retry, ready: make(chan *conn, 1)}
	var at *list.Element
	if retry { // it has had its turn
		at = p.queue.PushFront(w)
	} else {
		at = p.queue.PushBack(w)
	}
	if len(dead) == 0 {
		if victim := p.idle.takeOldest(); victim != nil {
			dead = append(dead, victim)
		}
	}
	p.mu.Unlock()
	closeAll(dead)
	return p.wait(ctx, w, at)
}

// wait blocks until a connection or a place is granted to w, or its context ends.
func (p *Pool) wait(ctx context.Context, w *waiter, at *list.Element) (*conn, error) {
	began := time.Now()
	select {
	case c := <-w.ready:
		c.waited = time.Since(began)
		return c, nil
	case <-ctx.Done():
	}
	p.times.waited.Add(int64(time.Since(began)))
	var c *conn // granted at the same moment
	p.mu.Lock()
	if !w.granted {
		p.queue.Remove(at)
	} else if c = <-w.ready; c.cc != nil {
		p.count.reused--
	}
	late := errors.Is(ctx.Err(), context.DeadlineExceeded)
	if late {
		p.count.poolTimeouts++
	}
	inUse := p.open - p.idle.n
	p.mu.Unlock()
	switch {
	case c == nil:
	case c.cc == nil:
		p.release(c)
	default:
		p.settle(c)
	}
	if !late {
		return nil, contextError(ctx, w.key.addr)
	}
	return nil, &PoolTimeout{
		Pool: p.name, MaxConns: p.set.maxConns, InUse: inUse,
		Waited: time.Since(began), Setting: p.path + ".max_conns",
	}
}

// placeLocked takes a place for a connection that is now to be dialled.
func (p *Pool) placeLocked(k key) *conn {
	p.open++
	p.dialing++
	c := &conn{pool: p, key: k, dialing: true, site: p.sites[k.addr]}
	if c.site != nil {
		c.site.open++
	}
	return c
}

// release gives a connection's place back, once: when its socket is closed or its dial has failed.
func (p *Pool) release(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.released {
		return
	}
	c.released = true
	if c.dialing {
		c.dialing = false
		p.dialing--
	}
	p.idle.remove(c)
	p.open--
	if c.site != nil {
		c.site.open--
	}
	for p.open < p.set.maxConns && p.queue.Len() > 0 {
		w := p.queue.Remove(p.queue.Front()).(*waiter)
		w.granted = true
		w.ready <- p.placeLocked(w.key)
	}
}

// settle takes a connection back from a call: it becomes idle, or goes to the head of the queue,
// or is closed.
func (p *Pool) settle(c *conn) {
	if c.cc.Available() == 0 || !p.keep(c) {
		_ = c.cc.Close()
	}
}

// keep reports whether the connection found a use.
func (p *Pool) keep(c *conn) bool {
	p.mu.Lock()
	if c.released || p.users == 0 || c.goneLocked() {
		p.mu.Unlock()
		return false
	}
	c.used = true
	if front := p.queue.Front(); front != nil {
		w := front.Value.(*waiter)
		match := w.key == c.key && !w.fresh
		if match {
			p.queue.Remove(front)
			p.count.reused++
			w.granted = true
			c.mark = c.read.Load()
			w.ready <- c
		}
		p.mu.Unlock()
		return match
	}
	p.idle.put(c, time.Now())
	var victim *conn
	if p.set.maxIdle > 0 && p.idle.n > p.set.maxIdle {
		victim = p.idle.takeOldest()
	}
	if p.set.idle > 0 && p.idle.n == 1 {
		p.armExpiryLocked(p.set.idle)
	}
	p.mu.Unlock()
	if victim != nil {
		_ = victim.cc.Close()
	}
	return true
}

func (p *Pool) armExpiryLocked(d time.Duration) {
	if p.expiry == nil {
		p.expiry = time.AfterFunc(d, p.expire)
		return
	}
	p.expiry.Reset(d)
}

// expire closes what has been idle for too long. All connections of a pool have the same limit, so
// one timer at the oldest is enough.
func (p *Pool) expire() {
	p.mu.Lock()
	now := time.Now()
	var due []*conn
	for p.idle.oldest != nil {
		left := p.set.idle - now.Sub(p.idle.oldest.since)
		if left > 0 {
			p.armExpiryLocked(left)
			break
		}
		due = append(due, p.idle.takeOldest())
	}
	p.mu.Unlock()
	closeAll(due)
}

// retain adds a Set to the pool's users.
func (p *Pool) retain() {
	p.mu.Lock()
	p.users++
	p.mu.Unlock()
}

// drop takes a Set away. With the last one the idle connections close, and those in use when their
// call ends; calls still work, without keeping connections.
func (p *Pool) drop() {
	p.mu.Lock()
	p.users--
	var all []*conn
	if p.users == 0 {
		for c := p.idle.takeOldest(); c != nil; c = p.idle.takeOldest() {
			all = append(all, c)
		}
		if p.expiry != nil {
			p.expiry.Stop()
		}
	}
	p.mu.Unlock()
	closeAll(all)
}

// closeAll closes connections that were taken out of the idle ones. Not under Pool.mu.
func closeAll(conns []*conn) {
	for _, c := range conns {
		_ = c.cc.Close()
	}
}
