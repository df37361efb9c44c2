package logs

import (
	"context"
	"io"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"time"
)

// plainHandler writes lines of plain texts and numbers itself, for less than half of what slog's handlers take: the access line is written
// for each request. Whatever else there is, be it a quote within a text, it leaves to them. What it writes is what they would.
type plainHandler struct {
	slog.Handler // slog's own
	out          io.Writer
	json         bool
	buffers      *sync.Pool // of *[]byte
}

func newHandler(out io.Writer, format string, level slog.Leveler) slog.Handler {
	o := options(format, level)
	h := &plainHandler{out: out, json: format == "json", buffers: &sync.Pool{New: func() any { return new(make([]byte, 0, 512)) }}}
	if h.json {
		h.Handler = slog.NewJSONHandler(out, o)
	} else {
		h.Handler = slog.NewTextHandler(out, o)
	}
	return h
}

// options has durations written as "1.5s" in JSON too, where slog would write nanoseconds and no unit.
func options(format string, level slog.Leveler) *slog.HandlerOptions {
	o := &slog.HandlerOptions{Level: level}
	if format == "json" {
		o.ReplaceAttr = func(_ []string, a slog.Attr) slog.Attr {
			if a.Value.Kind() == slog.KindDuration {
				a.Value = slog.StringValue(a.Value.Duration().String())
			}
			return a
		}
	}
	return o
}

// Handle implements slog.Handler.
func (h *plainHandler) Handle(ctx context.Context, r slog.Record) error {
	b := h.buffers.Get().(*[]byte)
	l := line{buf: (*b)[:0], json: h.json}
	ok := l.record(r)
	var err error
	if ok {
		_, err = h.out.Write(l.buf)
	}
	*b = l.buf
	h.buffers.Put(b)
	if !ok {
		return h.Handler.Handle(ctx, r)
	}
	return err
}

// line is one that is being written.
type line struct {
	buf  []byte
	json bool
}

// record appends all of r. It says no when something of it is not plain.
func (l *line) record(r slog.Record) bool {
	if r.Time.IsZero() || r.Time.Year() < 1 || r.Time.Year() > 9999 {
		return false
	}
	at := r.Time.Round(0)
	if l.json {
		l.buf = append(l.buf, `{"time":"`...)
		l.buf = at.AppendFormat(l.buf, time.RFC3339Nano)
		l.buf = append(l.buf, `","level":"`...)
		l.buf = append(l.buf, r.Level.String()...)
		l.buf = append(l.buf, '"')
	} else {
		l.buf = append(l.buf, "time="...)
		l.buf = at.AppendFormat(l.buf, "2006-01-02T15:04:05.000Z07:00")
		l.buf = append(l.buf, " level="...)
		l.buf = append(l.buf, r.Level.String()...)
	}
	ok := l.text("msg", r.Message)
	r.Attrs(func(a slog.Attr) bool {
		ok = ok && l.attr(a)
		return ok
	})
	if l.json {
		l.buf = append(l.buf, '}')
	}
	l.buf = append(l.buf, '\n')
	return ok
}

func (l *line) attr(a slog.Attr) bool {
	switch a.Value.Kind() {
	case slog.KindString:
		return l.text(a.Key, a.Value.String())
	case slog.KindInt64:
		ok := l.key(a.Key)
		l.buf = strconv.AppendInt(l.buf, a.Value.Int64(), 10)
		return ok
	case slog.KindFloat64:
		ok, f := l.key(a.Key), a.Value.Float64()
		if n := int64(math.Round(f * 1000)); l.thousandths(n, f) {
			return ok
		}
		if !l.json {
			l.buf = strconv.AppendFloat(l.buf, f, 'g', -1, 64)
			return ok
		}
		l.buf = strconv.AppendFloat(l.buf, f, 'f', -1, 64)
		return ok && (f == 0 || math.Abs(f) >= 1e-4 && math.Abs(f) < 1e15) // beyond, JSON has other notations
	case slog.KindGroup:
		if a.Key != "" {
			return false
		}
		for _, a := range a.Value.Group() {
			if !l.attr(a) {
				return false
			}
		}
		return true
	}
	return false
}

// thousandths appends f if it is n thousandths and no more than a million, as times in milliseconds are: strconv would look for the shortest
// notation.
func (l *line) thousandths(n int64, f float64) bool {
	if n < 0 || n >= 1e9 || float64(n)/1000 != f || n == 0 && math.Signbit(f) {
		return false
	}
	l.buf = strconv.AppendInt(l.buf, n/1000, 10)
	if n %= 1000; n > 0 {
		l.buf = append(l.buf, '.', byte('0'+n/100), byte('0'+n/10%10), byte('0'+n%10))
		for l.buf[len(l.buf)-1] == '0' {
			l.buf = l.buf[:len(l.buf)-1]
		}
	}
	return true
}

// key appends what stands in front of a value.
func (l *line) key(name string) bool {
	if l.json {
		l.buf = append(l.buf, `,"`...)
		l.buf = append(l.buf, name...)
		l.buf = append(l.buf, `":`...)
	} else {
		l.buf = append(l.buf, ' ')
		l.buf = append(l.buf, name...)
		l.buf = append(l.buf, '=')
	}
	plain, quotes := look(name)
	return plain && !quotes
}

func (l *line) text(name, value string) bool {
	ok := l.key(name)
	plain, quotes := look(value)
	if l.json || quotes {
		l.buf = append(l.buf, '"')
		l.buf = append(l.buf, value...)
		l.buf = append(l.buf, '"')
	} else {
		l.buf = append(l.buf, value...)
	}
	return ok && plain
}

// look says whether a text can stand as it is, and whether in quotes where they can be left out.
func look(s string) (plain, quotes bool) {
	quotes = s == ""
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c > '~' || c == '"' || c == '\\':
			return false, true
		case c == ' ' || c == '=':
			quotes = true
		}
	}
	return true, quotes
}
