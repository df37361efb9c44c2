package server

import (
	"errors"
	"os"
	"sync"
	"time"
)

const (
	// patience is how long it may take until a client that has left is noticed.
	patience = 50 * time.Millisecond
	// longAgo is later than the deadline with which net/http breaks a read off, which needs no look at the clock: in seconds, in 1973.
	longAgo = 100_000_000
)

// deadline is that of one direction of a connection. net/http and we set some eight of them for each request, most of which nothing waits for,
// and each costs a part of a small answer. So what is asked for is kept, and the connection is told when it would wait for too long. One
// that it was told before may come too early: then it is told anew, and waits again.
type deadline struct {
	tell func(time.Time) error // the connection's own

	mu      sync.Mutex // guards all below; a leaf
	asked   time.Time  // zero is none
	told    time.Time
	direct  bool // the connection is told whatever is asked for
	busy    int  // calls that wait or are about to
	waiting bool // see wait
	wake    chan struct{}
	timer   *time.Timer // nil until there is a wait
}

// set is SetReadDeadline or SetWriteDeadline.
func (d *deadline) set(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = t
	if !t.IsZero() {
		d.nudge()
	}
	if d.direct || d.busy > 0 && d.late() {
		return d.pass()
	}
	return nil
}

// late says whether the connection waits for longer than it may. It must be called under mu, as must the two that follow.
func (d *deadline) late() bool {
	return !d.asked.IsZero() && (d.told.IsZero() || d.asked.Before(d.told))
}

func (d *deadline) pass() error {
	d.told = d.asked
	return d.tell(d.asked)
}

func (d *deadline) nudge() {
	if d.waiting {
		d.waiting = false
		d.wake <- struct{}{}
	}
}

// begin is called before what may wait. The connection tells its errors then.
func (d *deadline) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy++
	if d.late() {
		_ = d.pass()
	}
}

// end is called after it, and says whether it ended before its time.
func (d *deadline) end(err error) (early bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy--
	if err == nil || d.told.Equal(d.asked) || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	_ = d.pass()
	return true
}

// follow has the connection told of everything from now on: somebody else knows it too.
func (d *deadline) follow() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.direct = true
	_ = d.pass()
}

// wait returns after a while, or when there is a deadline or the connection was closed. It says whether that deadline is long over.
// One waits at a time.
func (d *deadline) wait(long time.Duration) (over bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.asked.IsZero() && !d.direct {
		if d.timer == nil {
			d.wake = make(chan struct{}, 1)
			d.timer = time.AfterFunc(long, d.release)
		} else {
			d.timer.Reset(long)
		}
		d.waiting = true
		d.mu.Unlock()
		<-d.wake
		d.timer.Stop()
		d.mu.Lock()
	}
	return !d.asked.IsZero() && d.asked.Unix() < longAgo
}

// release ends a wait.
func (d *deadline) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.nudge()
}

// Read asks the system late for a single byte. It is net/http that does, to learn that a client has left while it is answered, and most
// answers are out before that is worth a call.
func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 1 && c.reading.wait(patience) {
		return 0, os.ErrDeadlineExceeded
	}
	for {
		c.reading.begin()
		n, err := c.Conn.Read(p)
		if !c.reading.end(err) {
			return n, err
		}
	}
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	done := 0
	for {
		c.writing.begin()
		n, err := c.Conn.Write(p[done:])
		done += n
		if !c.writing.end(err) {
			return done, err
		}
	}
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { return c.reading.set(t) }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.writing.set(t) }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.reading.set(t), c.writing.set(t))
}
