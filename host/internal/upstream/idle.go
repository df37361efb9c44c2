package upstream

import "time"

// idleConns are the connections nobody uses: a stack per key, so that the most recently used one
// is taken first and the rest can age, and one list of all by age. Guarded by Pool.mu.
type idleConns struct {
	top            map[key]*conn
	oldest, newest *conn
	n              int
}

func (l *idleConns) put(c *conn, now time.Time) {
	c.idle, c.since, c.mark = true, now, c.read.Load()
	if l.top == nil {
		l.top = make(map[key]*conn)
	}
	if below := l.top[c.key]; below != nil {
		c.below, below.above = below, c
	}
	l.top[c.key] = c
	c.older = l.newest
	if l.newest != nil {
		l.newest.newer = c
	} else {
		l.oldest = c
	}
	l.newest = c
	l.n++
	if c.site != nil {
		c.site.idle++
	}
}

// take returns a usable connection for k, or nil. A connection that is past its time is left
// to the expiry timer. One that has died or spoken out of turn comes back in dead, to be closed.
func (l *idleConns) take(k key, now time.Time, limit time.Duration) (c *conn, dead []*conn) {
	for {
		c = l.top[k]
		if c == nil || limit > 0 && now.Sub(c.since) >= limit {
			return nil, dead
		}
		l.remove(c)
		if !c.failed.Load() && c.read.Load() == c.mark {
			return c, dead
		}
		dead = append(dead, c)
	}
}

// takeOldest returns the connection that was used least recently, or nil.
func (l *idleConns) takeOldest() *conn {
	c := l.oldest
	if c != nil {
		l.remove(c)
	}
	return c
}

// takeOf returns the connections of a site.
func (l *idleConns) takeOf(s *site) (all []*conn) {
	for c := l.oldest; c != nil; {
		newer := c.newer
		if c.site == s {
			l.remove(c)
			all = append(all, c)
		}
		c = newer
	}
	return all
}

// remove unlinks c; it does nothing when c is not idle.
func (l *idleConns) remove(c *conn) {
	if !c.idle {
		return
	}
	switch {
	case c.above != nil:
		c.above.below = c.below
	case c.below != nil:
		l.top[c.key] = c.below
	default:
		delete(l.top, c.key)
	}
	if c.below != nil {
		c.below.above = c.above
	}
	if c.older != nil {
		c.older.newer = c.newer
	} else {
		l.oldest = c.newer
	}
	if c.newer != nil {
		c.newer.older = c.older
	} else {
		l.newest = c.older
	}
	c.above, c.below, c.older, c.newer = nil, nil, nil, nil
	c.idle = false
	l.n--
	if c.site != nil {
		c.site.idle--
	}
}
