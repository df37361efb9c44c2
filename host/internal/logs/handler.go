package logs

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"math"
	"math/bits"
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
	lines        *sync.Pool // of *line
}

func newHandler(out io.Writer, format string, level slog.Leveler) slog.Handler {
	o := options(format, level)
	h := &plainHandler{out: out, json: format == "json"}
	h.lines = &sync.Pool{New: func() any { return &line{buf: make([]byte, 0, 512), json: h.json} }}
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
	l := h.lines.Get().(*line)
	ok := l.record(&r)
	var err error
	if ok {
		_, err = h.out.Write(l.buf)
	}
	h.lines.Put(l)
	if !ok {
		return h.Handler.Handle(ctx, r)
	}
	return err
}

// line is one that is being written.
type line struct {
	buf    []byte
	json   bool
	quotes int // that stand in JSON around what it holds
	stamp
}

// record writes all of r. It says no when something of it is not plain.
func (l *line) record(r *slog.Record) bool {
	if r.Time.IsZero() || !l.set(r.Time) {
		return false
	}
	if l.json {
		l.buf = append(l.buf[:0], `{"time":"`...)
		l.buf = l.appendNanos(l.buf, r.Time.Nanosecond())
		l.buf = append(l.buf, `","level":"`...)
		l.buf = append(l.buf, r.Level.String()...)
		l.buf = append(l.buf, '"')
		l.quotes = 8
	} else {
		l.buf = append(l.buf[:0], "time="...)
		l.buf = l.appendMillis(l.buf, r.Time.Nanosecond())
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
		ok = ok && plain(l.buf, l.quotes)
	}
	l.buf = append(l.buf, '\n')
	return ok
}

// stamp is the time of the last line but for what is less than a second: most lines of a busy server have it in common.
type stamp struct {
	second int64
	zone   *time.Location
	date   []byte // 2006-01-02T15:04:05
	offset []byte // Z or +07:00
}

// set makes it that of a moment; no when slog writes such years in another way.
func (s *stamp) set(at time.Time) bool {
	second, zone := at.Unix(), at.Location()
	if second == s.second && zone == s.zone {
		return true
	}
	if y := at.Year(); y < 1 || y > 9999 {
		return false
	}
	s.second, s.zone = second, zone
	s.date, s.offset = at.AppendFormat(s.date[:0], "2006-01-02T15:04:05"), at.AppendFormat(s.offset[:0], "Z07:00")
	return true
}

// appendNanos writes it as time.RFC3339Nano does.
func (s *stamp) appendNanos(b []byte, nanos int) []byte {
	b = append(b, s.date...)
	if nanos > 0 {
		b = append(b, '.')
		for unit := 100_000_000; nanos > 0; unit /= 10 {
			b = append(b, byte('0'+nanos/unit))
			nanos %= unit
		}
	}
	return append(b, s.offset...)
}

// appendMillis writes it with three decimal places.
func (s *stamp) appendMillis(b []byte, nanos int) []byte {
	ms := nanos / 1_000_000
	b = append(b, s.date...)
	b = append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	return append(b, s.offset...)
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

// key appends what stands in front of a value. In JSON whether it is plain is seen at the end.
func (l *line) key(name string) bool {
	if l.json {
		l.buf = append(l.buf, `,"`...)
		l.buf = append(l.buf, name...)
		l.buf = append(l.buf, `":`...)
		l.quotes += 2
		return true
	}
	l.buf = append(l.buf, ' ')
	l.buf = append(l.buf, name...)
	l.buf = append(l.buf, '=')
	plain, quotes := look(name)
	return plain && !quotes
}

func (l *line) text(name, value string) bool {
	ok := l.key(name)
	if l.json {
		l.buf = append(l.buf, '"')
		l.buf = append(l.buf, value...)
		l.buf = append(l.buf, '"')
		l.quotes += 2
		return true
	}
	plain, quotes := look(value)
	if quotes {
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

// plain says whether a line has only ASCII that is seen, no backslash, and so many quotes: none is within a text then. It looks at eight bytes
// at a time, of which the highest bits tell; https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord
func plain(line []byte, quotes int) bool {
	const (
		each uint64 = 0x0101010101010101
		high        = 0x80 * each
	)
	var odd uint64
	for ; len(line) >= 8; line = line[8:] {
		x := binary.LittleEndian.Uint64(line)
		odd |= (x - ' '*each) &^ x // below
		odd |= (x + each) | x      // above '~', which is 126
		backslash, quote := x^'\\'*each, x^'"'*each
		odd |= (backslash - each) &^ backslash
		quotes -= bits.OnesCount64(^((quote&^high + ^high) | quote) & high) // exact for each byte, where the others may err above one that is found
	}
	for _, c := range line {
		if c < ' ' || c > '~' || c == '\\' {
			return false
		}
		if c == '"' {
			quotes--
		}
	}
	return odd&high == 0 && quotes == 0
}
