package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// statusClientGone stands for a request whose client left before any answer; no client sees it.
const statusClientGone = 499

// leaver says how a request ended, in the words of the access line.
type leaver string

const (
	leftServer  leaver = "server"  // answered whole
	leftClient  leaver = "client"  // the client went first
	leftAborted leaver = "aborted" // the handler gave up in the middle
)

// TrackerOptions are a Tracker's surroundings. The zero value works.
type TrackerOptions struct {
	Log       *slog.Logger                 // gets the access lines; nil is silent. Its handler keeps nothing of a line past Handle
	Access    AccessLog                    // what they tell
	Client    func(r *http.Request) string // the client's address, for the access line; nil is not known
	Now       func() time.Time             // nil is time.Now
	MaxRoutes int                          // route patterns told apart, the rest counts as "other"; 0 is 256
}

// Tracker counts requests from their head to their last byte. Make it with NewTracker; its memory
// is fixed but for one entry per route pattern. All methods are safe for concurrent use.
type Tracker struct {
	log     *slog.Logger
	access  atomic.Pointer[AccessLog]
	client  func(r *http.Request) string
	attrs   sync.Pool // of *[]slog.Attr, for access lines
	now     func() time.Time
	start   time.Time
	flow    flow
	board   *routes
	plugins *pluginBoard
	keys    *keyBoard
}

// NewTracker starts counting now. It starts no goroutine and needs no closing.
func NewTracker(o TrackerOptions) *Tracker {
	t := &Tracker{log: o.Log, client: o.Client, now: o.Now}
	t.SetAccessLog(o.Access)
	t.attrs.New = func() any { return new(make([]slog.Attr, 0, 20)) }
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	if t.now == nil {
		t.now = time.Now
	}
	if o.MaxRoutes <= 0 {
		o.MaxRoutes = 256
	}
	t.board = newRoutes(o.MaxRoutes)
	t.plugins = &pluginBoard{max: o.MaxRoutes, byName: map[string]*occupancy{}}
	t.keys = newKeyBoard()
	t.start = t.now()
	return t
}

// Track counts every request that next answers until next has returned, gives it an id and returns
// the id as a header. A hijacked connection stops being a request when it is hijacked and counts as
// a websocket until it is closed, be it after next has returned. A panic passes through, counted as 500 when nothing was written.
func (t *Tracker) Track(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &record{tracker: t, id: requestID(r), method: methodLabel(r.Method), route: unmatched, request: r}
		rec.ResponseWriter, rec.of = w, rec
		rec.ids[0] = rec.id
		w.Header()[RequestIDHeader] = rec.ids[:]
		ctx := context.WithValue(r.Context(), contextKey{}, rec)

		rec.start = t.uptime()
		t.flow.begin(rec.start)
		returned := false
		defer func() { rec.finish(ctx, returned) }()
		inner := r.WithContext(ctx)
		if r.Body != nil && r.Body != http.NoBody {
			rec.body.ReadCloser, inner.Body = r.Body, &rec.body
		}
		next.ServeHTTP(rec, inner)
		returned = true
	})
}

// upgrade ends the request and begins the websocket.
func (rec *record) upgrade(conn net.Conn) net.Conn {
	rec.ended = true
	rec.count(outcome{took: rec.tracker.uptime() - rec.start, status: rec.status, upgrade: true, left: leftServer})
	return &websocket{Conn: conn, flow: &rec.tracker.flow}
}

// finish runs once the handler has returned or panicked.
func (rec *record) finish(ctx context.Context, returned bool) {
	t := rec.tracker
	now := t.now()
	took := now.Sub(t.start) - rec.start
	if rec.ended {
		t.say(rec, now, took, "") // it was answered; the websocket goes on
		return
	}
	left := rec.left(ctx, returned)
	if rec.status == 0 {
		rec.status = map[leaver]int{leftServer: http.StatusOK, leftClient: statusClientGone, leftAborted: http.StatusInternalServerError}[left]
		if left == leftServer {
			rec.began = rec.start + took
		}
	}
	rec.count(outcome{took: took, status: rec.status, bytes: rec.bytes, probe: rec.probe, left: left})
	t.say(rec, now, took, left)
}

// left says who went first. The context is over as soon as the connection cannot be read: that of a client that took a whole answer
// and closed its connection, and after a deadline of our own. That of a server that stops is cancelled with another cause.
func (rec *record) left(ctx context.Context, returned bool) leaver {
	answered := returned && rec.status != 0
	switch {
	case answered && (rec.whole() || rec.body.stalled.Load()):
		return leftServer
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled):
		return leftClient
	case returned:
		return leftServer
	case rec.body.gone.Load() || rec.body.stalled.Load():
		return leftClient
	}
	return leftAborted
}

// buffered is how much of an answer net/http may hold back until the handler returns, in bytes.
const buffered = 6 << 10

// whole says whether the client may have all of an answer of a known length, though its handler is just returning.
func (rec *record) whole() bool {
	if rec.bytes == 0 || rec.bytes != rec.flushed && rec.bytes < buffered {
		return false
	}
	return rec.Header().Get("Content-Length") == strconv.FormatInt(rec.bytes, 10)
}

func (rec *record) count(o outcome) {
	t := rec.tracker
	o.at, o.head = rec.start+o.took, rec.began-rec.start
	if rec.began == 0 {
		o.head = -1
	}
	o.probe = o.probe || rec.route == unmatched // it says nothing about the service either
	t.flow.end(o)
	if rec.place == nil { // nobody named one
		rec.enter(rec.route)
	}
	rec.place.flight.end(o.at, true)
	if rec.guest != nil {
		rec.guest.end(o.at, true)
	}
	rec.place.add(rec.method, o)
	t.keys.add(rec.key, o.status)
}

// uptime is monotonic as long as the clock is.
func (t *Tracker) uptime() time.Duration { return t.now().Sub(t.start) }
