// Package live is the websocket feed: the state of a few topics, whole, to every client, once an
// interval.
//
// It is a feed of states and not of events: a client that reads slowly gets the newest state next
// and never learns of the ones between. Nothing is kept, nothing is replayed.
package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

const (
	// Protocol is what a client may ask for by name. A browser has to when it sends its API key as another protocol, beside it.
	Protocol = "patchbay"
	// readLimit bounds what a client may say in one message, in bytes.
	readLimit = 1 << 10
	// closeGrace is how long clients have to answer a close frame when the hub stops.
	closeGrace = time.Second
	// retryAfter is said to a client that finds no place, in seconds.
	retryAfter = "5"
)

// Topic is a named state. State is called from the hub's goroutine, once an interval for all
// clients and not at all without clients; it must be quick, must not call the hub, and what it
// returns must encode as JSON.
type Topic struct {
	Name  string
	State func() any
}

// Options are what a Hub is made from.
type Options struct {
	Config   config.Live      // zero fields get defaults: 256 clients, a ping each 20 s, 10 s for a write
	Origins  []string         // pages that may connect besides those of the same host; "*" is any
	Topics   []Topic          // sent in this order
	Interval time.Duration    // 0 is a second
	Version  string           // of the server, for the hello frame
	Log      *slog.Logger     // nil is silent
	Now      func() time.Time // stamps frames; nil is time.Now
}

// Hub sends frames to clients. Make it with New, start it with Run, mount it as a handler.
type Hub struct {
	config   config.Live
	origins  []string
	topics   []Topic
	interval time.Duration
	log      *slog.Logger
	now      func() time.Time
	upgrader websocket.Upgrader
	hello    json.RawMessage            // the hello frame's data
	unknown  *websocket.PreparedMessage // the answer to what a client says

	seq  []uint64      // by topic; Run's alone
	wake chan struct{} // a client has come; holds one
	gone sync.WaitGroup

	mu      sync.Mutex // guards all below; taken before a client's own
	stopped bool
	places  int // taken, those still shaking hands included
	clients map[*client]struct{}
	latest  []*websocket.PreparedMessage // by topic; nil entries and all of them nil when nobody listens
}

// New checks the options; it starts nothing.
func New(o Options) (*Hub, error) {
	h := &Hub{
		config: o.Config, topics: slices.Clone(o.Topics), interval: o.Interval, log: o.Log, now: o.Now,
		wake: make(chan struct{}, 1), clients: map[*client]struct{}{},
		latest: make([]*websocket.PreparedMessage, len(o.Topics)), seq: make([]uint64, len(o.Topics)),
	}
	for _, origin := range o.Origins {
		h.origins = append(h.origins, strings.ToLower(origin))
	}
	setDefault(&h.config.MaxClients, 256)
	setDefault(&h.config.PingInterval, 20*time.Second)
	setDefault(&h.config.WriteTimeout, 10*time.Second)
	setDefault(&h.interval, time.Second)
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.now == nil {
		h.now = time.Now
	}
	names := make([]string, 0, len(o.Topics))
	for _, t := range o.Topics {
		if t.Name == "" || t.State == nil || slices.Contains(names, t.Name) {
			return nil, fmt.Errorf("live topic %q: it needs a name of its own and a state", t.Name)
		}
		names = append(names, t.Name)
	}
	h.upgrader = websocket.Upgrader{
		HandshakeTimeout: h.config.WriteTimeout,
		ReadBufferSize:   readLimit, WriteBufferSize: readLimit,
		Subprotocols: []string{Protocol},
		CheckOrigin:  h.originAllowed,
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			text := strings.TrimPrefix(reason.Error(), "websocket: ")
			if status == http.StatusForbidden {
				text = "pages of this origin may not connect"
			}
			detail(w, status, text)
		},
	}
	var err error
	if h.hello, err = json.Marshal(Hello{Version: o.Version, Topics: names, IntervalSeconds: h.interval.Seconds()}); err != nil {
		return nil, fmt.Errorf("encode hello: %w", err)
	}
	if h.unknown, err = prepare(Frame{Type: "error", Time: h.now().UTC(), Data: map[string]string{
		"detail": "nothing is expected from a client; the feed is one way"}}); err != nil {
		return nil, err
	}
	return h, nil
}

func setDefault[T int | time.Duration](v *T, value T) {
	if *v <= 0 {
		*v = value
	}
}

// Run feeds clients until ctx is done, then says goodbye to all (1001) and returns nil once their
// connections are closed and their goroutines have ended. Call it once. Clients that
// come before it wait for it; after it, the handler answers 503.
func (h *Hub) Run(ctx context.Context) error {
	defer h.stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.wake:
		}
		if err := h.feed(ctx); err != nil {
			return nil
		}
	}
}

// feed works as long as there are clients. The error is ctx's.
func (h *Hub) feed(ctx context.Context) error {
	tick := time.NewTicker(h.interval)
	defer tick.Stop()
	for h.publish() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// publish encodes every topic once and offers it to every client; false when there is none.
func (h *Hub) publish() bool {
	h.mu.Lock()
	if len(h.clients) == 0 {
		clear(h.latest) // what a later client gets at once must not be old
		h.mu.Unlock()
		return false
	}
	h.mu.Unlock()
	for i, t := range h.topics {
		frame, err := h.frame(i, t)
		if err != nil {
			h.log.Error("live topic is left out this time", "topic", t.Name, "error", err)
			continue
		}
		h.mu.Lock()
		h.latest[i] = frame
		for c := range h.clients {
			c.offer(i, frame)
		}
		h.mu.Unlock()
	}
	return true
}

func (h *Hub) frame(i int, t Topic) (*websocket.PreparedMessage, error) {
	data, err := h.state(t)
	if err != nil {
		return nil, err
	}
	frame, err := prepare(Frame{Type: "state", Topic: t.Name, Seq: h.seq[i] + 1, Time: h.now().UTC(), Data: data})
	if err == nil {
		h.seq[i]++
	}
	return frame, err
}

// state keeps a topic that panics from taking the feed with it.
func (h *Hub) state(t Topic) (data json.RawMessage, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return json.Marshal(t.State())
}

// stop sends everyone away and waits until they are gone.
func (h *Hub) stop() {
	h.mu.Lock()
	h.stopped = true
	all := make([]*client, 0, len(h.clients))
	for c := range h.clients {
		all = append(all, c)
	}
	h.mu.Unlock()
	for _, c := range all {
		c.end(websocket.CloseGoingAway, "the server is stopping")
	}
	// A client that answers nothing, or whose writer hangs, is cut.
	cut := time.AfterFunc(closeGrace, func() {
		for _, c := range all {
			_ = c.conn.NetConn().Close()
		}
	})
	defer cut.Stop()
	h.gone.Wait()
}

// errFull and errStopped are why a client is turned away.
var (
	errFull    = errors.New("the feed has as many clients as it takes; try again")
	errStopped = errors.New("the feed has stopped; try again")
)

// reserve takes a place before the handshake, so that handshakes count too.
func (h *Hub) reserve() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.stopped:
		return errStopped
	case h.places >= h.config.MaxClients:
		return errFull
	}
	h.places++
	h.gone.Add(1)
	return nil
}

func (h *Hub) release() {
	h.mu.Lock()
	h.places--
	h.mu.Unlock()
	h.gone.Done()
}

// join hands the client what is newest, and wakes the hub for the first one.
func (h *Hub) join(c *client) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return errStopped
	}
	h.clients[c] = struct{}{}
	for i, frame := range h.latest {
		if frame != nil {
			c.offer(i, frame)
		}
	}
	select {
	case h.wake <- struct{}{}:
	default:
	}
	return nil
}

func (h *Hub) leave(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.clients, c)
}

// Clients returns how many are connected.
func (h *Hub) Clients() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.clients)
}

// originAllowed lets programs in, which send no Origin, pages of this very host, and listed ones.
func (h *Hub) originAllowed(r *http.Request) bool {
	origin := strings.ToLower(r.Header.Get("Origin"))
	if origin == "" || slices.Contains(h.origins, "*") || slices.Contains(h.origins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// ServeHTTP upgrades the request and returns when the client has gone. It answers 503 with
// Retry-After when the feed is full or has stopped, 403 to a page that may not connect, and 400 or
// 405 to what is no websocket handshake.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h.reserve(); err != nil {
		w.Header().Set("Retry-After", retryAfter)
		detail(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer h.release()
	conn, err := h.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // answered by the upgrader
	}
	c, err := h.newClient(conn)
	if err != nil {
		h.log.Error("live client", "error", err)
		_ = conn.Close()
		return
	}
	c.run()
}

func detail(w http.ResponseWriter, status int, text string) {
	if status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodGet)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"detail": text})
}
