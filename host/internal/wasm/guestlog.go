package wasm

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

const maxLogLine = 8 << 10 // bytes; the rest of a line is cut

// guestLog writes what the guests of a pool log, a bounded number of lines a second. Lines that were left out are counted
// and reported with the next one that passes.
type guestLog struct {
	log    *slog.Logger
	rate   float64 // lines a second; twice as many may come at once; 0 is no bound
	limits *limitCounts

	mu     sync.Mutex // guards what follows
	tokens float64
	filled time.Time
	lost   int
}

func newGuestLog(log *slog.Logger, rate int, limits *limitCounts) *guestLog {
	return &guestLog{log: log, rate: float64(rate), limits: limits, tokens: 2 * float64(rate), filled: time.Now()}
}

// line writes a line. fields says that it may carry some, as abi.ParseLog reads them: they stand in a group of their own, so that none
// is taken for the host's.
func (g *guestLog) line(w *worker, request string, level int32, text []byte, fields bool) {
	l := slog.Level(min(max(level, abi.LevelDebug), abi.LevelError))
	if !g.log.Enabled(context.Background(), l) {
		return
	}
	lost, ok := g.allow()
	if !ok {
		return
	}
	attrs := make([]slog.Attr, 0, 5)
	attrs = append(attrs, slog.Int64("worker", w.number))
	if request != "" {
		attrs = append(attrs, slog.String("request", request))
	}
	if lost > 0 {
		attrs = append(attrs, slog.Int("lines_left_out", lost))
	}
	message := string(text)
	if fields {
		var own []abi.LogField
		var left int
		message, own, left = abi.ParseLog(message)
		if len(own) > 0 {
			named, again := group(own)
			attrs = append(attrs, named)
			left += again
		}
		if left > 0 {
			attrs = append(attrs, slog.Int("fields_left_out", left))
		}
	}
	g.log.LogAttrs(context.Background(), l, printable(message), attrs...)
}

// group makes one attribute of fields. Of several with one name the last counts, and again is how many others there were: there are readers
// of JSON that refuse a line with a name twice.
func group(fields []abi.LogField) (named slog.Attr, again int) {
	list := make([]slog.Attr, 0, len(fields))
	for _, f := range fields {
		if text, ok := f.Value.(string); ok {
			f.Value = printable(text)
		}
		a := slog.Any(printable(f.Name), f.Value)
		if at := slices.IndexFunc(list, func(b slog.Attr) bool { return a.Key == b.Key }); at >= 0 {
			list[at] = a
			again++
			continue
		}
		list = append(list, a)
	}
	return slog.Attr{Key: "fields", Value: slog.GroupValue(list...)}, again
}

// printable is text for a line of the log, whatever a guest wrote: it is valid UTF-8, and what steers a terminal or turns the direction
// of writing around is left to the handler of the log to escape, or replaced where that of JSON would not.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 0x7f && r < 0xa0, r >= 0x200e && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}

func (g *guestLog) allow() (lost int, ok bool) {
	if g.rate == 0 {
		return 0, true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.tokens = min(g.tokens+now.Sub(g.filled).Seconds()*g.rate, 2*g.rate)
	g.filled = now
	if g.tokens < 1 {
		g.lost++
		g.limits.hit(limitLog)
		return 0, false
	}
	g.tokens--
	lost, g.lost = g.lost, 0
	return lost, true
}

// lineWriter logs what is written to it, line by line. Only the goroutine that polls writes.
type lineWriter struct {
	worker *worker
	level  int32
	line   []byte
}

func (l *lineWriter) write(p []byte) {
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		part := p
		if end >= 0 {
			part = p[:end]
		}
		l.line = append(l.line, part[:min(len(part), maxLogLine-len(l.line))]...)
		if end < 0 {
			break
		}
		l.worker.pool.log.line(l.worker, "", l.level, l.line, false)
		l.line = l.line[:0]
		p = p[end+1:]
	}
}
