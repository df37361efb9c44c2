package telemetry

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// AccessLog says what is told of each request. The line has the route's pattern and never a path, a query, a header or a body.
type AccessLog struct {
	On     bool // one line for each request at info; for probes that went well at debug
	Client bool // with the client's address
}

// SetAccessLog says what is told from now on, of requests under way too.
func (t *Tracker) SetAccessLog(a AccessLog) { t.access.Store(&a) }

// maxModel bounds the name of a model in the log, in bytes.
const maxModel = 128

// level is that of the access line of rec; ok is false when none is written.
func (t *Tracker) level(rec *record) (l slog.Level, ok bool) {
	if rec.probe && rec.status < http.StatusBadRequest {
		l = slog.LevelDebug
	}
	return l, t.access.Load().On && t.log.Enabled(context.Background(), l)
}

// say writes the access line of a request that is over now. What a request has nothing of is left out of it.
func (t *Tracker) say(rec *record, now time.Time, took time.Duration, left leaver) {
	level, ok := t.level(rec)
	if !ok {
		return
	}
	kept := t.attrs.Get().(*[]slog.Attr)
	attrs := (*kept)[:0]
	text := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	number := func(name string, value int64) {
		if value != 0 {
			attrs = append(attrs, slog.Int64(name, value))
		}
	}
	text("id", rec.id)
	text("method", rec.method)
	text("route", rec.route)
	attrs = append(attrs, slog.Int("status", rec.status), slog.Int64("bytes_in", rec.body.bytes.Load()), slog.Int64("bytes_out", rec.bytes), millis("duration_ms", took))
	if rec.began > 0 && !rec.ended {
		attrs = append(attrs, millis("first_byte_ms", rec.began-rec.start))
	}
	upstream, usage := rec.work.done()
	if upstream > 0 {
		attrs = append(attrs, millis("upstream_ms", upstream))
	}
	text("plugin", rec.plugin)
	text("version", rec.version)
	if harmless(usage.Model) {
		text("model", usage.Model)
	}
	number("input_tokens", usage.InputTokens)
	number("output_tokens", usage.OutputTokens)
	text("key", rec.key)
	if rec.trace != nil {
		text("trace", rec.trace.TraceID())
	}
	if t.client != nil && rec.request != nil && t.access.Load().Client {
		text("client", t.client(rec.request))
	}
	text("left", string(left))

	// A group without a name is written as its attributes. A record of so many would copy them.
	r := slog.NewRecord(now, level, "request", 0)
	r.AddAttrs(slog.Attr{Value: slog.GroupValue(attrs...)})
	_ = t.log.Handler().Handle(context.Background(), r) // the request's own may be over
	*kept = attrs
	t.attrs.Put(kept)
}

// millis is a duration as a number with its unit in its name, to the microsecond.
func millis(name string, d time.Duration) slog.Attr {
	return slog.Float64(name, float64(d.Microseconds())/1e3)
}

// harmless says whether the name of a model, which an upstream told and perhaps a client chose, may stand in the log: it is short
// and looks like one.
func harmless(model string) bool {
	return len(model) <= maxModel && !strings.ContainsFunc(model, func(r rune) bool {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return false
		}
		return !strings.ContainsRune("._-:/@+", r)
	})
}
