package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

const (
	// maxTalk is how many frames a client may send within one ping interval, pings and pongs included, and maxHeard how many bytes.
	// A client has little reason to talk; beyond this it is closed with 1008.
	maxTalk  = 60
	maxHeard = 128 << 10
	// maxListed is how many topics are named to a client that asks for one there is not.
	maxListed = 20
)

// errClosing ends the reader after it has asked for a close frame.
var errClosing = errors.New("live: closing")

// sub is a topic that a client wants.
type sub struct {
	topic *topic
	rate  rate
	owed  bool   // it is its turn, and the state is not out yet
	sent  uint64 // the newest state that went out
}

// client is one connection. It costs one goroutine, which reads; what is written goes out with the hub's turns, and in a goroutine
// of its own only while the client takes nothing.
type client struct {
	door *door
	from address
	wire wire
	raw  syscall.RawConn // writes without waiting; nil where that does not go

	heard  atomic.Int64  // when there was a sign of life last, since the hub's start
	pinged time.Duration // the sweep's alone
	stay   func() bool   // stops waiting for the end of what let the client in; nil waits for nothing

	// The reader's alone.
	talk  int
	bytes int
	since time.Duration

	mu      sync.Mutex // guards all below; a leaf
	subs    []sub
	replies []reply  // not yet sent
	holds   []*sheet // that what is being sent now is a part of
	pong    []byte
	pinging bool
	closing []byte // the close frame to send, nil to go on
	busy    bool   // somebody writes; for ever once the close frame is out
	said    bool   // the close frame is out
	parted  bool   // the client's close frame is in
	over    bool   // the reader has ended
	place   int    // in the hub's clients; guarded by its mu
}

// reply is a frame that is no state; kind tells those that replace each other.
type reply struct {
	kind  string
	parts [][]byte
	sheet *sheet // that a part is of; nil is none
}

// begin says hello, subscribes to what the address wishes, and starts the reader. valid ends when the client may not be here any
// more, with what it is told as its cause; nil never does.
func (c *client) begin(valid context.Context, conn *websocket.Conn, query url.Values) {
	h := c.door.hub
	c.raw = rawConn(c.wire.Conn)
	c.heard.Store(int64(time.Since(h.start)))
	c.pinged = time.Since(h.start)
	c.wire.client = c
	ask, err := parseQuery(query, h.now())
	joined := h.join(c, ask, err)
	if valid != nil {
		c.stay = context.AfterFunc(valid, func() { c.end(websocket.ClosePolicyViolation, context.Cause(valid).Error()) })
	}
	go c.read(conn)
	if !joined {
		c.end(websocket.CloseTryAgainLater, errStopped.Error())
	}
	c.send()
}

// join lets the client in and gives it its first topics; false when the hub has stopped.
func (h *Hub) join(c *client, ask wish, fault error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := h.names(c.door.public)
	hello := h.message(typeHello, Hello{
		Version: h.version, Topics: names, Rates: rateNames(),
		IntervalSeconds: h.interval.Seconds(), HistorySeconds: h.config.History.Seconds(),
	})
	c.mu.Lock()
	c.reply(typeHello, hello)
	c.mu.Unlock()
	if h.stopped {
		return false
	}
	c.place = len(h.clients)
	h.clients = append(h.clients, c)
	h.nudge() // it must be pinged at times
	if fault == nil && ask.topics == nil {
		for _, t := range h.order {
			if t.public && t.state != nil {
				ask.topics = append(ask.topics, t.name)
			}
		}
	}
	var chosen []*topic
	if fault == nil {
		chosen, fault = h.choose(c, ask)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if fault != nil {
		c.reply(typeError, h.complaint(fault))
		return true
	}
	h.change(c, ask, chosen)
	h.tell(c, ask, chosen)
	return true
}

// leave takes the client out. Nobody writes to it afterwards but who has begun.
func (h *Hub) leave(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	for _, s := range c.subs {
		h.count(s, -1)
	}
	c.subs = nil
	for _, r := range c.replies {
		h.shelf.give(r.sheet)
	}
	c.replies = nil
	if c.place < len(h.clients) && h.clients[c.place] == c {
		last := len(h.clients) - 1
		h.clients[c.place] = h.clients[last]
		h.clients[c.place].place = c.place
		h.clients[last] = nil
		h.clients = h.clients[:last]
	}
}

// obey does what a client asks for, all of it or nothing. The error is for the client.
func (h *Hub) obey(c *client, ask wish) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	chosen, err := h.choose(c, ask)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	h.change(c, ask, chosen)
	now := Subscribed{Topics: map[string]string{}}
	for _, s := range c.subs {
		now.Topics[s.topic.name] = s.rate.name()
	}
	c.reply(typeSubscribed, h.message(typeSubscribed, now))
	h.tell(c, ask, chosen)
	return nil
}

// choose finds the topics that are asked for. It must be called under mu.
func (h *Hub) choose(c *client, ask wish) (chosen []*topic, err error) {
	for _, name := range ask.topics {
		t := h.topics[name]
		if t == nil || c.door.public && !t.public {
			names := h.names(c.door.public)
			more := ""
			if len(names) > maxListed {
				names, more = names[:maxListed], ", …"
			}
			return nil, fmt.Errorf("there is no topic %q; the topics are %s%s", clip(name), strings.Join(names, ", "), more)
		}
		if !ask.since.IsZero() && t.history == nil {
			return nil, fmt.Errorf("topic %q keeps no history; ask without history and since", name)
		}
		if !slices.Contains(chosen, t) {
			chosen = append(chosen, t)
		}
	}
	return chosen, nil
}

// change subscribes to topics, or unsubscribes. It must be called under mu and the client's own.
func (h *Hub) change(c *client, ask wish, chosen []*topic) {
	if c.over {
		return
	}
	for _, t := range chosen {
		at := slices.IndexFunc(c.subs, func(s sub) bool { return s.topic == t })
		if at >= 0 {
			h.count(c.subs[at], -1)
		}
		switch {
		case ask.drop:
			if at >= 0 {
				c.subs = slices.Delete(c.subs, at, at+1)
			}
			continue
		case at < 0:
			c.subs = append(c.subs, sub{topic: t})
			at = len(c.subs) - 1
		}
		s := &c.subs[at]
		s.rate = ask.rate
		h.count(*s, 1)
		if s.owed = t.fresh(h.interval); !s.owed {
			// Nobody had it a moment ago: what there is may be old.
			h.newcomers = append(h.newcomers, c)
		}
	}
	h.nudge() // the next turn may be earlier now
}

// tell sends history that was asked for. It must be called as change is.
func (h *Hub) tell(c *client, ask wish, chosen []*topic) {
	if ask.since.IsZero() {
		return
	}
	for _, t := range chosen {
		parts, s := t.history.frame(t.name, h.now().UTC(), ask.since)
		if !h.shelf.take(s) {
			c.reply(typeError, h.complaint(errShelf))
			return
		}
		c.put(reply{typeHistory + t.name, parts, s})
	}
}

// reply puts a frame in the place of an unsent one of its kind. It must be called under mu.
func (c *client) reply(kind string, parts ...[]byte) { c.put(reply{kind: kind, parts: parts}) }

func (c *client) put(r reply) {
	if at := slices.IndexFunc(c.replies, func(old reply) bool { return old.kind == r.kind }); at >= 0 {
		c.door.hub.shelf.give(c.replies[at].sheet)
		c.replies = slices.Delete(c.replies, at, at+1)
	}
	c.replies = append(c.replies, r)
}

// out gives back what was being sent, be it out or given up. It must be called under mu.
func (c *client) out() {
	for _, s := range c.holds {
		c.door.hub.shelf.give(s)
	}
	c.holds = nil
}

// read takes what the client says. It ends with the connection, or soon after a close frame from either side.
// gorilla/websocket itself sends 1002 for what breaks the protocol and 1009 for what is too large.
func (c *client) read(conn *websocket.Conn) {
	h := c.door.hub
	defer c.door.release(c.from)
	defer h.leave(c)
	if c.stay != nil {
		defer c.stay()
	}
	defer c.wire.Conn.Close()
	defer func() { // net/http guards handlers only
		if v := recover(); v != nil {
			h.log.Error("panic in the feed", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	conn.SetReadLimit(readLimit)
	answer := conn.PingHandler()
	conn.SetPingHandler(func(data string) error { return cmp.Or(c.hear(), answer(data)) })
	goodbye := conn.CloseHandler()
	conn.SetCloseHandler(func(code int, text string) error {
		if c.wire.frames.short {
			c.end(websocket.CloseProtocolError, "a close frame has no body, or a code")
		}
		return goodbye(code, text)
	})
	conn.SetPongHandler(func(string) error { return c.hear() })
	for {
		kind, message, err := conn.ReadMessage()
		if err == nil {
			err = c.hear()
		}
		switch {
		case err != nil:
			if errors.As(err, new(*websocket.CloseError)) && c.part() {
				return
			}
			c.end(websocket.CloseProtocolError, "") // unless there is a reason already
			c.drain()
			return
		case kind == websocket.BinaryMessage:
			c.end(websocket.CloseUnsupportedData, "text only")
			c.drain()
			return
		case !utf8.Valid(message):
			c.end(websocket.CloseInvalidFramePayloadData, "text must be UTF-8")
			c.drain()
			return
		}
		ask, err := parse(message, h.now())
		if err == nil {
			err = h.obey(c, ask)
		}
		if err != nil {
			c.mu.Lock()
			c.reply(typeError, h.complaint(err))
			c.mu.Unlock()
		}
		c.send()
	}
}

// hear notes a sign of life, and fails for a client that talks too much.
func (c *client) hear() error {
	now := time.Since(c.door.hub.start)
	c.heard.Store(int64(now))
	if now-c.since > c.door.hub.config.PingInterval {
		c.talk, c.bytes, c.since = 0, 0, now
	}
	if c.talk++; c.talk > maxTalk || c.bytes > maxHeard {
		c.end(websocket.ClosePolicyViolation, "too many messages")
		return errClosing
	}
	return nil
}

// part notes the client's close frame; true when ours is out already.
func (c *client) part() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parted = true
	return c.said
}

// drain keeps the connection open until the close frame is out and answered, or its time is over, so that the client learns why.
func (c *client) drain() {
	buf := make([]byte, 4<<10)
	for n := 0; n < 8<<20; { // a connection closed with much unread is reset, and the reason lost
		m, err := c.wire.Conn.Read(buf)
		if err != nil {
			return
		}
		n += m
	}
}

// end says goodbye; the first call counts, and is true.
func (c *client) end(code int, reason string) bool {
	b := websocket.FormatCloseMessage(code, reason)
	return c.close(append(appendHeader(nil, opClose, len(b)), b...))
}

func (c *client) close(frame []byte) bool {
	c.mu.Lock()
	first := c.closing == nil
	if first {
		c.closing = frame
		_ = c.wire.Conn.SetReadDeadline(time.Now().Add(closeGrace))
	}
	c.mu.Unlock()
	if first {
		c.send()
	}
	return first
}

func (c *client) ping() {
	c.mu.Lock()
	c.pinging = true
	c.mu.Unlock()
	c.send()
}
