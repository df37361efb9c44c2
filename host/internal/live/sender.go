package live

import (
	"errors"
	"os"
	"syscall"
	"time"
)

const (
	// joinLimit is up to how many bytes frames are copied together, so that they go out with one system call.
	joinLimit = 16 << 10
	// writeChunk is what a client has to take within the write time-out; more is progress in parts.
	writeChunk = 64 << 10
)

// sender writes to one client after the other without waiting for any. What a client does not take at once is left to a
// goroutine of the client's own, so that the others do not notice.
type sender struct {
	load [][]byte // what one client is owed
	join []byte

	// The arguments and results of try: a closure for each write would be an allocation for each.
	p   []byte
	n   int
	err error
	try func(fd uintptr) bool
}

func newSender() *sender {
	s := &sender{}
	s.try = func(fd uintptr) bool {
		s.n, s.err = tryWrite(fd, s.p)
		return true // whatever happened: waiting is others' work
	}
	return s
}

// write sends the load as far as the socket takes it, and returns the rest.
func (s *sender) write(raw syscall.RawConn) (rest [][]byte, err error) {
	rest = s.load
	for len(rest) > 0 {
		s.p = rest[0]
		joined := 1
		if len(rest) > 1 && len(rest[0])+len(rest[1]) <= joinLimit {
			s.join = append(s.join[:0], rest[0]...)
			for ; joined < len(rest) && len(s.join)+len(rest[joined]) <= joinLimit; joined++ {
				s.join = append(s.join, rest[joined]...)
			}
			s.p = s.join
		}
		if err := raw.Write(s.try); err != nil {
			return nil, err
		}
		if s.err != nil {
			return nil, s.err
		}
		if s.n < len(s.p) {
			return skip(rest, s.n), nil
		}
		rest = rest[joined:]
	}
	return nil, nil
}

// skip leaves out the first n bytes. The pieces are shared with other clients and stay as they are.
func skip(load [][]byte, n int) [][]byte {
	rest := make([][]byte, 0, len(load))
	for _, p := range load {
		cut := min(n, len(p))
		n -= cut
		if cut < len(p) {
			rest = append(rest, p[cut:])
		}
	}
	return rest
}

// send is flush where no turn is due.
func (c *client) send() {
	h := c.door.hub
	s := h.sender()
	defer h.put(s)
	c.flush(s, 0)
}

func (h *Hub) sender() *sender { return h.senders.Get().(*sender) }

// put keeps no frame of an old turn.
func (h *Hub) put(s *sender) {
	clear(s.load[:cap(s.load)])
	s.p = nil
	h.senders.Put(s)
}

// flush marks what is due, and sends what is owed unless somebody is at it, who will see to it then. It does not wait.
func (c *client) flush(s *sender, due rates) {
	h := c.door.hub
	c.mu.Lock()
	for i := range c.subs {
		c.subs[i].owed = c.subs[i].owed || due.has(c.subs[i].rate)
	}
	if c.busy || c.over {
		c.mu.Unlock()
		return
	}
	s.load = c.owed(s.load[:0])
	if len(s.load) == 0 {
		c.mu.Unlock()
		return
	}
	c.busy = true
	h.gone.Add(1) // the reader's place still counts: it is not over
	c.mu.Unlock()
	if c.raw == nil {
		go c.finish(skip(s.load, 0))
		return
	}
	for {
		rest, err := s.write(c.raw)
		switch {
		case err != nil:
			c.cut(err)
			return
		case len(rest) > 0:
			go c.finish(skip(rest, 0))
			return
		}
		load, more := c.next(s.load[:0])
		if !more {
			return
		}
		s.load = load
	}
}

// finish writes what the client did not take at once, and what it is owed then, with a deadline for each part.
func (c *client) finish(load [][]byte) {
	for more := true; more; load, more = c.next(nil) {
		for _, p := range load {
			for len(p) > 0 {
				_ = c.wire.Conn.SetWriteDeadline(time.Now().Add(c.door.hub.config.WriteTimeout))
				n, err := c.wire.Conn.Write(p[:min(len(p), writeChunk)])
				if err != nil {
					c.cut(err)
					return
				}
				p = p[n:]
			}
		}
		_ = c.wire.Conn.SetWriteDeadline(time.Time{}) // one that is over would stop a write that need not wait
	}
}

// next returns what is owed after a load is out, or ends the sending.
func (c *client) next(load [][]byte) (_ [][]byte, more bool) {
	c.mu.Lock()
	c.out()
	if c.closing != nil && len(c.closing) == 0 { // it was in the load
		c.said = true
		parted := c.parted
		c.mu.Unlock()
		if parted { // not under mu, which the hub needs: TLS may wait for seconds to say goodbye
			_ = c.wire.Conn.Close()
		}
		c.door.hub.gone.Done()
		return nil, false // and stays busy
	}
	defer c.mu.Unlock()
	if load = c.owed(load); len(load) == 0 {
		c.busy = false
		c.door.hub.gone.Done()
		return nil, false
	}
	return load, true
}

// owed appends what is to be sent now, the newest of everything. It must be called under mu.
func (c *client) owed(load [][]byte) [][]byte {
	begin, pieces := len(load), 0 // of history frames, beyond the first
	if c.pong != nil {
		load, c.pong = append(load, c.pong), nil
	}
	for _, r := range c.replies {
		load = append(load, r.parts...)
		pieces += len(r.parts) - 1
		if r.sheet != nil {
			c.holds = append(c.holds, r.sheet)
		}
	}
	c.replies = nil
	if c.closing != nil {
		load = append(load, c.closing)
		c.closing, c.pinging = []byte{}, false // handed out, and the last
	}
	for i := range c.subs {
		s := &c.subs[i]
		if c.closing != nil {
			break
		}
		if f := s.topic.frame.Load(); s.owed && f != nil {
			s.owed = false
			if f.seq != s.sent {
				load, s.sent = append(load, f.wire), f.seq
			}
		}
	}
	if c.pinging {
		load, c.pinging = append(load, []byte{opPing, 0}), false
	}
	h := c.door.hub
	h.counts.frames.Add(int64(len(load) - begin - pieces))
	h.counts.bytes.Add(int64(size(load[begin:])))
	return load
}

func size(load [][]byte) (n int) {
	for _, p := range load {
		n += len(p)
	}
	return n
}

// cut ends a connection that cannot be written to. Nothing more can be said: half a frame may be out.
func (c *client) cut(err error) {
	h := c.door.hub
	if errors.Is(err, os.ErrDeadlineExceeded) {
		h.counts.dropped.Add(1)
		h.log.Debug("a client of the feed took nothing for too long and was dropped", "client", c.wire.RemoteAddr(), "timeout", h.config.WriteTimeout)
	}
	_ = c.wire.Conn.Close()
	c.mu.Lock()
	c.out()
	c.mu.Unlock()
	h.gone.Done()
}
