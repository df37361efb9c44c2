package live

import (
	"errors"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// maxTalk is how many frames a client may send within one ping interval, pings and pongs included.
// A client has no reason to talk; beyond this it is closed with 1008.
const maxTalk = 60

// errClosing ends the reader after it has asked for a close frame.
var errClosing = errors.New("live: closing")

// client is one connection with two goroutines: the handler's reads, and one writes. Whoever fails
// first closes the connection, which ends the other.
type client struct {
	hub  *Hub
	conn *websocket.Conn

	ready chan struct{} // something is pending or closing; holds one
	done  chan struct{} // closed when the reader has ended

	mu      sync.Mutex                   // guards all below; a leaf
	pending []*websocket.PreparedMessage // hello, each topic, error: the newest not yet sent
	closing []byte                       // the close frame to send, nil to go on
}

// newClient puts the hello frame first and joins the hub.
func (h *Hub) newClient(conn *websocket.Conn) (*client, error) {
	hello, err := prepare(Frame{Type: "hello", Time: h.now().UTC(), Data: h.hello})
	if err != nil {
		return nil, err
	}
	c := &client{
		hub: h, conn: conn, ready: make(chan struct{}, 1), done: make(chan struct{}),
		pending: make([]*websocket.PreparedMessage, len(h.topics)+2),
	}
	c.put(0, hello)
	if err := h.join(c); err != nil {
		c.end(websocket.CloseTryAgainLater, err.Error())
	}
	return c, nil
}

// offer replaces the unsent state of a topic. It never waits.
func (c *client) offer(topic int, frame *websocket.PreparedMessage) { c.put(topic+1, frame) }

func (c *client) put(place int, frame *websocket.PreparedMessage) {
	c.mu.Lock()
	c.pending[place] = frame
	c.mu.Unlock()
	c.signal()
}

// end makes the writer send a close frame; the first call counts.
func (c *client) end(code int, reason string) {
	c.mu.Lock()
	if c.closing == nil {
		c.closing = websocket.FormatCloseMessage(code, reason)
	}
	c.mu.Unlock()
	c.signal()
}

func (c *client) signal() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// take returns the next frame to send, or the close frame.
func (c *client) take() (frame *websocket.PreparedMessage, closing []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing != nil {
		return nil, c.closing
	}
	for i, p := range c.pending {
		if p != nil {
			c.pending[i] = nil
			return p, nil
		}
	}
	return nil, nil
}

// run returns when both directions have ended and the connection is closed.
func (c *client) run() {
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write()
	}()
	c.read()
	close(c.done)
	c.hub.leave(c)
	// The writer may hang in a write to a client that has stopped reading.
	_ = c.conn.NetConn().Close()
	<-written
}

// write sends what is pending, and pings. On its end the reader has a moment to see the client's
// goodbye.
func (c *client) write() {
	defer c.grace()
	ping := time.NewTicker(c.hub.config.PingInterval)
	defer ping.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-ping.C:
			if c.conn.WriteControl(websocket.PingMessage, nil, c.deadline()) != nil {
				return
			}
			continue
		case <-c.ready:
		}
		for {
			frame, closing := c.take()
			if closing != nil {
				_ = c.conn.WriteControl(websocket.CloseMessage, closing, c.deadline())
				return
			}
			if frame == nil {
				break
			}
			_ = c.conn.SetWriteDeadline(c.deadline())
			if err := c.conn.WritePreparedMessage(frame); err != nil {
				// Nothing more can be said: half a frame may be out.
				_ = c.conn.NetConn().Close()
				return
			}
		}
	}
}

// grace is the reader's last deadline: alive does not move it once closing is set.
func (c *client) grace() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing == nil {
		c.closing = []byte{}
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(closeGrace))
}

func (c *client) deadline() time.Time { return time.Now().Add(c.hub.config.WriteTimeout) }

// read takes control frames and answers the rest with an error frame. It ends with the connection,
// after two ping intervals without a sign of life, or after a close frame from either side.
// gorilla/websocket itself sends 1002 for what breaks the protocol and 1009 for what is too large.
func (c *client) read() {
	heard := c.listener()
	c.conn.SetReadLimit(readLimit)
	pong := c.conn.PingHandler()
	c.conn.SetPingHandler(func(data string) error {
		if err := heard(); err != nil {
			return err
		}
		return pong(data)
	})
	c.conn.SetPongHandler(func(string) error { return heard() })
	err := heard()
	for err == nil {
		var (
			kind    int
			message []byte
		)
		if kind, message, err = c.conn.ReadMessage(); err == nil {
			err = heard()
		}
		switch {
		case err != nil:
		case kind == websocket.BinaryMessage:
			c.end(websocket.CloseUnsupportedData, "text only")
			err = errClosing
		case !utf8.Valid(message):
			c.end(websocket.CloseInvalidFramePayloadData, "text must be UTF-8")
			err = errClosing
		default:
			c.put(len(c.pending)-1, c.hub.unknown)
		}
	}
	if !errors.As(err, new(*websocket.CloseError)) {
		// The client has not said goodbye. Where a close frame is out already, this sends none.
		c.end(websocket.CloseProtocolError, "")
		c.drain()
	}
}

// listener returns what is called for each frame heard: it moves the read deadline, and fails for a
// client that talks too much.
func (c *client) listener() func() error {
	talk, since := 0, time.Now()
	return func() error {
		now := time.Now()
		if now.Sub(since) > c.hub.config.PingInterval {
			talk, since = 0, now
		}
		if talk++; talk > maxTalk {
			c.end(websocket.ClosePolicyViolation, "too many messages")
			return errClosing
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.closing != nil {
			return nil
		}
		return c.conn.SetReadDeadline(now.Add(2 * c.hub.config.PingInterval))
	}
}

// drain keeps the connection open until the close frame is out and answered, or the writer's grace
// is over, so that the client learns why.
func (c *client) drain() {
	buf := make([]byte, 512)
	for n := 0; n < 1<<20; {
		m, err := c.conn.NetConn().Read(buf)
		if err != nil {
			return
		}
		n += m
	}
}
