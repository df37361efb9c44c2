package wasm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/logtest"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// stuckLog is a log whose reader takes nothing: a line with this text waits until release is closed.
type stuckLog struct {
	slog.Handler
	text           string
	stuck, release chan struct{}
}

func newStuckLog(text string) *stuckLog {
	return &stuckLog{slog.DiscardHandler, text, make(chan struct{}, 100), make(chan struct{})}
}

func (l *stuckLog) Enabled(context.Context, slog.Level) bool { return true }

func (l *stuckLog) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, l.text) {
		l.stuck <- struct{}{}
		<-l.release
	}
	return nil
}

// TestLogThatHangsHoldsNobodyUp has each line that tells of a worker's end or start wait for its reader. The pool is looked at and serves
// meanwhile.
func TestLogThatHangsHoldsNobodyUp(t *testing.T) {
	for _, c := range []struct {
		line   string
		change func(*wasm.Options)
		target string
		times  int
	}{
		{"a worker is replaced", func(o *wasm.Options) { o.Recycle.Requests = 1 }, "GET /count", 1},
		{"a worker trapped", nil, "GET /exit", 1},
		{"workers trapped repeatedly", func(o *wasm.Options) { o.Faults.Traps = 2 }, "GET /exit", 2},
		{"the plugin traps on every request", func(o *wasm.Options) { o.Fresh, o.Faults.Row = true, 1 }, "GET /exit", 1},
	} {
		t.Run(c.line, func(t *testing.T) {
			log := newStuckLog(c.line)
			k := startKitchen(t, func(o *wasm.Options) {
				o.Workers, o.Log = 2, slog.New(log)
				if c.change != nil {
					c.change(o)
				}
			})
			t.Cleanup(func() { close(log.release) }) // before the pool closes
			go func() {                              // it may be the one that logs
				for range c.times {
					_, _ = k.do(t, c.target, "")
				}
			}()
			select {
			case <-log.stuck:
			case <-time.After(time.Minute):
				t.Fatal("nothing was logged")
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = k.Stats()
				_, _ = k.do(t, "GET /noop", "")
			}()
			select {
			case <-done:
			case <-time.After(time.Minute):
				t.Fatal("the pool waits for the log")
			}
		})
	}
}

// TestWhatGuestsSayStaysInItsLine: a guest may write what looks like a line of the host's, or steer the terminal that shows it.
func TestWhatGuestsSayStaysInItsLine(t *testing.T) {
	const forged = "harmless\ntime=2026-01-01T00:00:00Z level=ERROR msg=\"the database is gone\" plugin=search\r\x1b[2K\x1b[31mred\x00\u202e\u009b2J\u2028\x7f\xff end"
	for format, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		t.Run(format, func(t *testing.T) {
			var log logtest.Buffer
			var one bytes.Buffer
			k := startKitchen(t, func(o *wasm.Options) {
				o.Log = slog.New(handler(&one)).With("plugin", "kitchen", "version", "1.0.0")
			})
			k.must(t, "POST /say", forged)
			k.must(t, "POST /say", strings.Repeat("long ", 4000))
			k.Close() // nobody writes any more
			_, _ = log.Write(one.Bytes())
			n, with := 0, 0
			for line := range strings.Lines(log.String()) {
				n++
				if strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\r\x1b\x00\x7f\u202e\u009b\u2028") {
					t.Errorf("it can steer a terminal: %q", line)
				}
				if len(line) > 20<<10 {
					t.Errorf("a line of %d bytes", len(line))
				}
				begin := map[string]string{"text": "time=", "json": `{"time":`}[format]
				if !strings.HasPrefix(line, begin) || !strings.Contains(line, "kitchen") || !strings.Contains(line, "1.0.0") || !strings.Contains(line, "worker") {
					t.Errorf("it does not say whose it is: %.300q", line)
				}
				if strings.Contains(line, "test") && strings.Contains(line, "request") {
					with++
				}
			}
			// Once with the request, and on the standard output and error, where a line's end is one, and nobody knows which request it is.
			if want := 1 + 2*2 + 1 + 2; n != want || with != 2 {
				t.Errorf("%d lines, %d with the request's id; want %d and 2:\n%.3000s", n, with, want, log.String())
			}
		})
	}
}

// TestAttributesAreFields: what a guest says beside its text is told apart from it, and cannot stand in the place of the host's own.
func TestAttributesAreFields(t *testing.T) {
	var log logtest.Buffer
	k := startKitchen(t, func(o *wasm.Options) { o.Log = slog.New(slog.NewJSONHandler(&log, nil)) })
	for _, said := range []string{"hello", "an end\nof a line, \"quoted\"", "a mark\x1e{\"n\":4}"} {
		k.must(t, "POST /say", said)
		var line struct {
			Msg     string
			Worker  int
			Request string
			Fields  map[string]any
			Left    int `json:"fields_left_out"`
		}
		for text := range strings.Lines(log.String()) {
			if strings.Contains(text, `"fields"`) {
				line.Fields = nil
				if n := strings.Count(text, `"n":`); n != 1 {
					t.Errorf("a field stands there %d times: %s", n, text)
				}
				if err := json.Unmarshal([]byte(text), &line); err != nil {
					t.Fatal(err)
				}
			}
		}
		want := map[string]any{"n": 3.0, "own.said": said, "own.worker": "forged", "own.half": 0.5}
		if line.Msg != said || line.Worker == 0 || line.Request != "test" || !maps.Equal(line.Fields, want) || line.Left != 1 {
			t.Errorf("%+v, want the text %q and the fields %v", line, said, want)
		}
	}

	k.must(t, "POST /say", strings.Repeat("long ", 1500)) // with its fields it is longer than a line may be
	if !strings.Contains(log.String(), `"fields":{"n":3}`) || !strings.Contains(log.String(), `"fields_left_out":2`) {
		t.Errorf("a line that is cut: %.300s", log.String())
	}
}

// TestLinesLeftOutAreTold: the next line that passes says how many are missing in front of it.
func TestLinesLeftOutAreTold(t *testing.T) {
	k := startKitchen(t, func(o *wasm.Options) { o.LogLines = 20 })
	k.must(t, "GET /log?n=5000", "") // which would take minutes to be too few
	left := k.Stats().Limits["log"]
	if left == 0 {
		t.Fatal("all lines were written")
	}
	time.Sleep(200 * time.Millisecond)
	k.must(t, "GET /log?n=1", "")
	if want := fmt.Sprintf("lines_left_out=%d", left); !strings.Contains(k.log.String(), want) {
		t.Errorf("no line says %s:\n%s", want, k.log.String())
	}
}
