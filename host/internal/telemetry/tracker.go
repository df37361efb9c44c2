package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
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
	Log       *slog.Logger     // gets one line per request at debug; nil is silent
	Now       func() time.Time // nil is time.Now
	MaxRoutes int              // route patterns told apart, the rest counts as "other"; 0 is 256
}

// Tracker counts requests from their head to their last byte. Make it with NewTracker; its memory
// is fixed but for one entry per route pattern. All methods are safe for concurrent use.
type Tracker struct {
	log   *slog.Logger
	now   func() time.Time
	start time.Time
	flow  flow
	board *routes
}

// NewTracker starts counting now. It starts no goroutine and needs no closing.
func NewTracker(o TrackerOptions) *Tracker {
	t := &Tracker{log: o.Log, now: o.Now}
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
	t.start = t.now()
	return t
}

// Track counts every request that next answers until next has returned, gives it an id and returns
// the id as a header. A hijacked connection stops being a request when it is hijacked and counts as
// a websocket until it is closed, be it after next has returned. A panic passes through, counted as 500 when nothing was written.
func (t *Tracker) Track(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &record{tracker: t, id: requestID(r), method: methodLabel(r.Method), route: unmatched}
		rec.ResponseWriter = w
		rec.onHijack = rec.upgrade
		rec.ids[0] = rec.id
		w.Header()[RequestIDHeader] = rec.ids[:]
		ctx := context.WithValue(r.Context(), contextKey{}, rec)

		rec.start = t.uptime()
		t.flow.begin(rec.start)
		returned := false
		defer func() { rec.finish(ctx, returned) }()
		next.ServeHTTP(rec, r.WithContext(ctx))
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
	took := t.uptime() - rec.start
	left := leftServer
	if !rec.ended {
		instead := http.StatusOK // of a status that nobody wrote
		switch {
		case ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled):
			// A server that stops cancels with a cause of its own.
			left, instead = leftClient, statusClientGone
		case !returned:
			left, instead = leftAborted, http.StatusInternalServerError
		}
		if rec.status == 0 {
			rec.status = instead
		}
		rec.count(outcome{took: took, status: rec.status, bytes: rec.bytes, probe: rec.probe, left: left})
	}
	// The caller's context may be over; a handler of logs must not care.
	if t.log.Enabled(context.Background(), slog.LevelDebug) {
		t.log.LogAttrs(context.WithoutCancel(ctx), slog.LevelDebug, "request",
			slog.String("id", rec.id), slog.String("route", rec.route), slog.String("method", rec.method),
			slog.Int("status", rec.status), slog.Int64("bytes", rec.bytes), slog.Duration("duration", took),
			slog.String("left", string(left)))
	}
}

func (rec *record) count(o outcome) {
	t := rec.tracker
	t.flow.end(rec.start+o.took, o)
	t.board.get(rec.route).add(rec.method, o)
}

// uptime is monotonic as long as the clock is.
func (t *Tracker) uptime() time.Duration { return t.now().Sub(t.start) }
