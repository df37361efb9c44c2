package wasm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"
)

// FuzzEvents reads event streams of upstreams, whole and byte by byte, and holds the data of their events against a reader that is as
// plain as the standard's words.
func FuzzEvents(f *testing.F) {
	seeds, err := filepath.Glob("testdata/sse/*.in")
	if err != nil || len(seeds) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, seed := range seeds {
		b, err := os.ReadFile(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("\uFEFFdata\r\rdata: {\"error\":{}}\r\n\r\n: x\ndata:a\rdata\ndata:b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		want := plainEvents(b)
		for _, source := range []io.Reader{bytes.NewReader(b), iotest.OneByteReader(bytes.NewReader(b))} {
			r := eventReader{r: bufio.NewReaderSize(source, 8<<10)}
			var got []string
			for {
				e, err := r.next()
				if err == io.EOF {
					break
				}
				if err != nil {
					if len(b) < maxEvent {
						t.Fatal(err)
					}
					return
				}
				if e.hasData {
					got = append(got, string(e.data))
				}
				_ = upstreamError(e.data)
				sent := appendEvent(nil, e)
				if text, ok := bytes.CutSuffix(sent, []byte("\n\n")); !ok || bytes.Contains(text, []byte("\n\n")) || bytes.ContainsRune(text, '\r') {
					t.Fatalf("not one event: %q", sent)
				}
				for line := range bytes.SplitSeq(sent, []byte("\n")) {
					if bytes.HasPrefix(line, []byte("data:")) && bytes.ContainsFunc(line, func(r rune) bool { return r >= utf8.RuneSelf }) {
						t.Fatalf("data beyond ASCII: %q", line)
					}
				}
			}
			if strings.Join(got, "\x00") != strings.Join(want, "\x00") || len(got) != len(want) {
				t.Fatalf("read %q, want %q", got, want)
			}
		}
	})
}

// plainEvents is the data of each event of a stream that has any (WHATWG HTML, 9.2.6), that of the last one too if the stream ends within.
func plainEvents(b []byte) (all []string) {
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(b))
	text = strings.TrimPrefix(text, "\uFEFF")
	var data []string
	for line := range strings.SplitSeq(text+"\n\n", "\n") {
		name, value, _ := strings.Cut(line, ":")
		switch {
		case line == "" && data != nil:
			all, data = append(all, strings.Join(data, "\n")), nil
		case name == "data":
			data = append(data, strings.TrimPrefix(value, " "))
		}
	}
	return all
}

// FuzzSubscriptions reads what guests give to poll_oneoff.
func FuzzSubscriptions(f *testing.F) {
	clock := make([]byte, subscriptionSize)
	binary.LittleEndian.PutUint64(clock[24:], uint64(time.Second))
	at := bytes.Clone(clock)
	at[40] = clockAbstime
	descriptor := bytes.Clone(clock)
	descriptor[8] = 1
	for _, seed := range [][]byte{clock, at, descriptor, bytes.Repeat([]byte{0xff}, 2*subscriptionSize), append(bytes.Clone(clock), at...), nil} {
		f.Add(seed, int64(5*time.Second))
	}
	f.Fuzz(func(t *testing.T, b []byte, now int64) {
		b = b[:len(b)-len(b)%subscriptionSize]
		now = max(now, 0) // a monotonic clock
		found, delay := nextClock(b, func() int64 { return now })
		clocks := false
		for s := b; len(s) > 0; s = s[subscriptionSize:] {
			if s[8] != eventtypeClock {
				continue
			}
			clocks = true
			if one, alone := nextClock(s[:subscriptionSize], func() int64 { return now }); !one || alone < delay-time.Second { // the wall clock goes on
				t.Fatalf("a clock rings in %v, and the next in %v", alone, delay)
			}
		}
		if found != clocks || delay < 0 {
			t.Fatalf("found %v in %v, there are clocks: %v", found, delay, clocks)
		}
	})
}

// lines is a log that keeps what it gets.
type lines struct {
	slog.Handler
	all []string
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.all = append(l.all, r.Message)
	return nil
}

// FuzzLines writes to the standard output of a guest, whole and in pieces: the same lines come out, bounded and valid.
func FuzzLines(f *testing.F) {
	f.Add([]byte("one\ntwo\n\nfour"), 3)
	f.Add([]byte("\xff\xfe\x00\n\x1b[31m\r\n"), 1)
	f.Add(bytes.Repeat([]byte("x"), 2*maxLogLine), 5000)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		write := func(piece int) []string {
			l := &lines{}
			w := lineWriter{worker: &worker{pool: &Pool{log: newGuestLog(slog.New(l), 0, nil)}}}
			for rest := b; len(rest) > 0; {
				n := min(max(piece, 1), len(rest))
				w.write(rest[:n])
				rest = rest[n:]
			}
			return l.all
		}
		whole, pieces := write(len(b)), write(piece)
		if strings.Join(whole, "\n") != strings.Join(pieces, "\n") || len(whole) != bytes.Count(b, []byte("\n")) {
			t.Fatalf("%q as a whole, %q in pieces of %d", whole, pieces, piece)
		}
		for _, line := range whole {
			if !utf8.ValidString(line) || len(line) > maxLogLine*len("\uFFFD") {
				t.Fatalf("a line of %d bytes: %.100q", len(line), line)
			}
		}
	})
}
