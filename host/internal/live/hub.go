// Package live is the websocket feed: the state of each topic, whole, to every client that wants it, at one of three rates.
//
// It is a feed of states and not of events: a client that reads slowly gets the newest state next and never learns of the ones
// between. What topics say is theirs; here they are computed and encoded once for all, and nothing of a client is kept
// beyond its connection. docs/live-feed.md describes the protocol.
package live

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

const (
	// Protocol is what a client may ask for by name. A browser has to when it sends its API key as another protocol, beside it.
	Protocol = "patchbay"
	// readLimit bounds what a client may say in one message, in bytes.
	readLimit = 1 << 10
	// closeGrace is how long clients have to answer a close frame.
	closeGrace = time.Second
	// sweeps is how often within a ping interval the silent are looked for.
	sweeps = 20
	// shard is how many clients one goroutine serves at least.
	shard = 512
)

// Topic is a named state. State is called from the hub's goroutine, once for all clients and not at all without one, but for what
// history needs; it must be quick, must not call the hub, and what it returns must encode as JSON.
type Topic struct {
	Name   string
	Public bool // everybody may see it, and gets it who asks for nothing else
	State  func() any
	Series []Series // the numbers that history keeps; none keeps nothing
}

// Options are what a Hub is made from.
type Options struct {
	// Config has a bound in each field: zero fields get 256 clients, as many of one address, 64 published topics of 64 KiB, 32 MiB of history
	// on its way, a ping
	// each 20 s, 10 s for a write. A History of zero keeps none.
	Config   config.Live
	Origins  []string         // pages that may connect besides those of the same host; "*" is any
	Topics   []Topic          // listed in this order
	Interval time.Duration    // what the rate "1s" really is, and the others in proportion; 0 is a second
	Version  string           // of the server, for the hello frame
	Log      *slog.Logger     // nil is silent
	Now      func() time.Time // stamps frames; nil is time.Now
}

// Hub sends frames to clients. Make it with New, start it with Run, mount Public and Private.
type Hub struct {
	config   config.Live
	origins  []string
	quarter  time.Duration
	interval time.Duration
	version  string
	log      *slog.Logger
	now      func() time.Time
	upgrader websocket.Upgrader
	doors    [2]door // private, public

	start   time.Time
	wake    chan struct{} // somebody wants what is not there yet; holds one
	gone    sync.WaitGroup
	senders sync.Pool // of *sender
	counts  counters
	shelf   shelf

	mu        sync.Mutex // guards all below; taken before a client's own
	stopped   bool
	topics    map[string]*topic
	order     []*topic // those of Options, then the published ones
	published int
	changed   bool // the list of topics is not what clients were told
	warned    time.Time
	clients   []*client
	wanted    [rateCount]int // subscriptions by rate
	newcomers []*client      // wait for a state that nobody wanted before
}

// counters are what Stats tells of all clients.
type counters struct{ frames, bytes, dropped, refused atomic.Int64 }

// New checks the options; it starts nothing.
func New(o Options) (*Hub, error) {
	h := &Hub{
		config: o.Config, interval: o.Interval, version: o.Version, log: o.Log, now: o.Now, start: time.Now(),
		wake: make(chan struct{}, 1), topics: map[string]*topic{},
	}
	for _, origin := range o.Origins {
		h.origins = append(h.origins, strings.ToLower(origin))
	}
	setDefault(&h.config.MaxClients, 256)
	setDefault(&h.config.MaxPerAddress, h.config.MaxClients)
	setDefault(&h.config.MaxPublished, 64)
	setDefault(&h.config.MaxState, 64*config.KiB)
	setDefault(&h.config.MaxHistory, 32*config.MiB)
	h.shelf.max = h.config.MaxHistory
	setDefault(&h.config.PingInterval, 20*time.Second)
	setDefault(&h.config.WriteTimeout, 10*time.Second)
	setDefault(&h.interval, time.Second)
	h.quarter = h.interval / quarters
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.now == nil {
		h.now = time.Now
	}
	for _, t := range o.Topics {
		if t.Name == "" || t.State == nil || h.topics[t.Name] != nil {
			return nil, fmt.Errorf("live topic %q: it needs a name of its own and a state", t.Name)
		}
		own := &topic{name: t.Name, public: t.Public, state: t.State}
		if len(t.Series) > 0 && h.config.History > 0 {
			own.history = newHistory(t.Series, h.config.History, h.interval)
		}
		h.topics[t.Name] = own
		h.order = append(h.order, own)
	}
	h.doors = [2]door{{hub: h, addresses: map[address]int{}}, {hub: h, public: true, addresses: map[address]int{}}}
	h.senders.New = func() any { return newSender() }
	h.upgrader = websocket.Upgrader{
		HandshakeTimeout: h.config.WriteTimeout,
		// Clients say little, and frames are written past gorilla's buffer: see wire.
		ReadBufferSize: 256, WriteBufferPool: &sync.Pool{},
		Subprotocols: []string{Protocol},
		CheckOrigin:  h.originAllowed,
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			text := strings.TrimPrefix(reason.Error(), "websocket: ")
			if status == http.StatusForbidden {
				text = "pages of this origin may not connect"
			}
			w.Header().Set("Sec-WebSocket-Version", "13") // RFC 6455, 4.4: who speaks another one learns which there is
			detail(w, status, text)
		},
	}
	return h, nil
}

func setDefault[T int | config.Bytes | time.Duration](v *T, value T) {
	if *v <= 0 {
		*v = value
	}
}

// Public is the handler for everybody: the topics that are public.
func (h *Hub) Public() http.Handler { return &h.doors[1] }

// Private is the handler for the operator: every topic. Whoever mounts it sees to it that nobody else gets there.
func (h *Hub) Private() http.Handler { return &h.doors[0] }

// Stats are the feed's figures for metrics, of both handlers together.
type Stats struct {
	Clients int   // connected
	Topics  int   // published ones included
	Frames  int64 // sent, control frames included
	Bytes   int64 // of these frames
	Dropped int64 // clients that took nothing for too long, or answered no ping
	Refused int64 // clients that found no place

	HistoryHeld    int64 // bytes of history on its way to clients
	HistoryRefused int64 // answers with history that were left out
}

// Stats returns the figures as of now.
func (h *Hub) Stats() Stats {
	held, left := h.shelf.stats()
	h.mu.Lock()
	defer h.mu.Unlock()
	return Stats{
		HistoryHeld: held, HistoryRefused: left,
		Clients: len(h.clients), Topics: len(h.order),
		Frames: h.counts.frames.Load(), Bytes: h.counts.bytes.Load(),
		Dropped: h.counts.dropped.Load(), Refused: h.counts.refused.Load(),
	}
}

// Clients returns how many are connected.
func (h *Hub) Clients() int { return h.Stats().Clients }

// Run feeds clients until ctx is done, then says goodbye to all (1001) and returns nil once their connections are closed and
// their goroutines have ended. Call it once. Clients that come before it wait for it; after it, the handlers answer 503.
func (h *Hub) Run(ctx context.Context) error {
	defer h.stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last, swept int64 // the last turn in quarters and the last sweep in its own steps, since start
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.wake:
			h.welcome()
		case <-timer.C:
		}
		up := time.Since(h.start)
		if now := int64(up / h.quarter); now > last {
			h.turn(dueBetween(last, now))
			last = now
		}
		if now := int64(up / h.sweepStep()); now > swept {
			h.sweep(up)
			swept = now
		}
		timer.Stop()
		if next := h.next(time.Since(h.start)); next > 0 {
			timer.Reset(next)
		}
	}
}

func (h *Hub) sweepStep() time.Duration { return max(h.config.PingInterval/sweeps, time.Millisecond) }

// next is how long there is nothing to do, 0 for ever.
func (h *Hub) next(up time.Duration) (wait time.Duration) {
	until := func(step time.Duration) {
		if d := step - up%step; wait == 0 || d < wait {
			wait = d
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.clients) > 0 {
		until(h.sweepStep())
	}
	for r, n := range h.wanted {
		if n > 0 {
			until(h.quarter * time.Duration(rate(r).ticks()))
			break // the others are multiples of the fastest
		}
	}
	if h.changed && len(h.clients) > 0 || slices.ContainsFunc(h.order, func(t *topic) bool { return t.history != nil }) {
		until(h.interval)
	}
	return wait
}

// turn takes the states that are due and gives them to those who want them at that rate.
func (h *Hub) turn(due rates) {
	h.mu.Lock()
	var jobs []job
	served := false
	for _, t := range h.order {
		j := job{t, t.wantedAt(due), t.history != nil && due.has(normal)}
		if j.send || j.record {
			jobs = append(jobs, j)
		}
		served = served || j.send
	}
	changed := h.changed && due.has(normal)
	if changed {
		h.changed = false
		h.announce()
	}
	var all []*client
	if served || changed {
		all = slices.Clone(h.clients)
	}
	h.mu.Unlock()
	for _, j := range jobs {
		h.take(j)
	}
	h.serve(all, due)
}

// serve is not held up by any client: see sender.
func (h *Hub) serve(all []*client, due rates) {
	goroutines := max(1, min(runtime.GOMAXPROCS(0)/2, len(all)/shard)) // the rest of the processors is for requests
	if goroutines == 1 {
		h.serveShard(all, due)
		return
	}
	var group sync.WaitGroup
	for part := range slices.Chunk(all, (len(all)+goroutines-1)/goroutines) {
		group.Go(func() { h.serveShard(part, due) })
	}
	group.Wait()
}

func (h *Hub) serveShard(all []*client, due rates) {
	s := h.sender()
	defer h.put(s)
	for _, c := range all {
		c.flush(s, due)
	}
}

// welcome takes the states that newcomers want and nobody has, and serves them.
func (h *Hub) welcome() {
	h.mu.Lock()
	all := h.newcomers
	h.newcomers = nil
	var jobs []job
	for _, t := range h.order {
		if t.wantedAt(everyRate) && !t.fresh(h.interval) {
			jobs = append(jobs, job{t, true, false})
		}
	}
	h.mu.Unlock()
	for _, j := range jobs {
		h.take(j)
	}
	h.serve(all, everyRate)
}

// sweep pings those who were silent for an interval, and drops those who were for two.
func (h *Hub) sweep(up time.Duration) {
	h.mu.Lock()
	all := slices.Clone(h.clients)
	h.mu.Unlock()
	for _, c := range all {
		switch silent := up - time.Duration(c.heard.Load()); {
		case silent >= 2*h.config.PingInterval:
			if c.end(websocket.ClosePolicyViolation, "no answer to pings") {
				h.counts.dropped.Add(1)
			}
		case silent >= h.config.PingInterval && up-c.pinged >= h.config.PingInterval:
			c.pinged = up
			c.ping()
		}
	}
}

// stop sends everyone away and waits until they are gone.
func (h *Hub) stop() {
	h.mu.Lock()
	h.stopped = true
	all := slices.Clone(h.clients)
	h.mu.Unlock()
	for _, c := range all {
		c.end(websocket.CloseGoingAway, "the server is stopping")
	}
	// A client that answers nothing, or whose writer hangs, has been given a last deadline.
	h.gone.Wait()
}

// complaint is what a client is told of its mistake.
func (h *Hub) complaint(err error) []byte {
	return h.message(typeError, Fault{err.Error()})
}

// message is a frame that is no topic's state, ready for the wire.
func (h *Hub) message(kind string, data any) []byte {
	b, err := json.Marshal(Frame{Type: kind, Time: h.now().UTC(), Data: data})
	if err != nil { // texts and numbers always encode
		h.log.Error("encode a frame of the feed", "type", kind, "error", err)
		return nil
	}
	return text(b)
}
