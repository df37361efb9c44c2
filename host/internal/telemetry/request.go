package telemetry

import (
	"context"
	"encoding/base32"
	"encoding/binary"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// RequestIDHeader carries the id of a request, in both directions.
const RequestIDHeader = "X-Request-Id"

// maxRequestID bounds an id that a client chose, in bytes.
const maxRequestID = 64

// unmatched is the route of a request that no route was set for.
const unmatched = "unmatched"

type contextKey struct{}

// record is what is known of one request while it runs. It is also the writer its handler gets, so
// that a request costs one allocation.
type record struct {
	writer
	tracker *Tracker
	request *http.Request // as it came
	start   time.Duration
	id      string
	ids     [1]string // the header's values, so that it needs no other place
	method  string
	route   string
	place   *route          // that answers; nil is not known yet
	key     string          // the name of the API key that came with it
	valid   context.Context // ends when that key does; nil is no key
	probe   bool
	ended   bool // counted as completed; a hijacked request is while its handler goes on
	body    body
	plugin  string     // that was asked to answer
	guest   *occupancy // of the plugin; nil is none
	version string     // of the plugin
	trace   Trace      // nil is none
	work    work
}

// SetRoute names the route pattern that answers the request of ctx, e.g. "GET /api/models". It is
// a label: pass patterns, never paths. The router calls it, from the request's own goroutine and
// before the handler; outside a tracked request it does nothing.
func SetRoute(ctx context.Context, pattern string) {
	if rec, ok := ctx.Value(contextKey{}).(*record); ok {
		rec.enter(pattern)
	}
}

// SetProbe is SetRoute for a request that only asks how the server is. It counts as any other, but
// its duration says nothing about the service and stays out of latency and capacity.
func SetProbe(ctx context.Context, pattern string) {
	if rec, ok := ctx.Value(contextKey{}).(*record); ok {
		rec.enter(pattern)
		rec.probe = true
	}
}

// enter counts the request in flight at a route, from its begin.
func (rec *record) enter(pattern string) {
	to := rec.tracker.board.get(pattern)
	rec.route = pattern
	if to == rec.place {
		return
	}
	if rec.place != nil {
		rec.place.flight.end(rec.start, false)
	}
	rec.place = to
	rec.place.flight.begin(rec.start)
}

// SetPlugin names the plugin that is asked to answer the request of ctx, for the access line. Both are from the configuration and the
// plugin's manifest, never from a client. As SetRoute it is called before the handler.
func SetPlugin(ctx context.Context, name, version string) {
	if rec, ok := ctx.Value(contextKey{}).(*record); ok {
		rec.plugin, rec.version = name, version
		if rec.guest == nil {
			if rec.guest = rec.tracker.plugins.get(name); rec.guest != nil {
				rec.guest.begin(rec.start)
			}
		}
	}
}

// Trace is what makes the spans of a request.
type Trace interface {
	TraceID() string // 32 hexadecimal digits for the access line; "" of a trace that is not recorded
}

// SetTrace puts the request of ctx into a trace, for the access line and for TraceOf. As SetRoute it is called before the handler.
func SetTrace(ctx context.Context, t Trace) {
	if rec, ok := ctx.Value(contextKey{}).(*record); ok {
		rec.trace = t
	}
}

// TraceOf returns the trace that the request of ctx was put into, nil when there is none.
func TraceOf(ctx context.Context) Trace {
	if rec, ok := ctx.Value(contextKey{}).(*record); ok {
		return rec.trace
	}
	return nil
}

// RequestID returns the id of the request of ctx, "" outside a tracked request.
func RequestID(ctx context.Context) string {
	if rec, ok := ctx.Value(contextKey{}).(*record); ok {
		return rec.id
	}
	return ""
}

// requestID takes the client's id when it is harmless in a header and a log, else makes one.
func requestID(r *http.Request) string {
	if id := r.Header.Get(RequestIDHeader); validID(id) {
		return id
	}
	return newID()
}

func newID() string {
	// An id is to be unique and no secret, so the generator of the runtime, which asks the system for its seed only, will do.
	var b [15]byte
	binary.LittleEndian.PutUint64(b[:], rand.Uint64())
	binary.LittleEndian.PutUint64(b[7:], rand.Uint64())
	return base32.StdEncoding.EncodeToString(b[:])
}

func validID(id string) bool {
	if len(id) == 0 || len(id) > maxRequestID || strings.Contains(id, config.KeyPrefix) { // an API key in the wrong place
		return false
	}
	for i := range len(id) {
		c := id[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// methodLabel bounds what a client can put into a label.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return method
	}
	return "other"
}
