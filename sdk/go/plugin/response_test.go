package plugin_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
	"github.com/patchbay-run/patchbay/sdk/go/plugin/plugintest"
)

func TestWriteSizes(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 70<<10) // over four credits
	for _, c := range []struct {
		name        string
		size, piece int
	}{
		{"nothing", 0, 1}, {"small", 100, 7}, {"one piece", 64 << 10, 64 << 10}, {"just over", 64<<10 + 1, 1 << 10},
		{"one write over", 100 << 10, 100 << 10}, {"over the credit", 300 << 10, 300 << 10},
		{"large in pieces", len(big), 5000}, {"large at once", len(big), len(big)},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := one(t, func(w *plugin.Response, r *plugin.Request) error {
				w.Header().Set("X-Test", "yes")
				w.WriteHeader(202)
				for rest := big[:c.size]; len(rest) > 0; {
					n, err := w.Write(rest[:min(c.piece, len(rest))])
					if err != nil {
						return err
					}
					rest = rest[n:]
				}
				return nil
			})
			a := h.Do("GET", "/", nil)
			if a.Status != 202 || a.Err != nil || a.Header.Get("x-test") != "yes" || !bytes.Equal(a.Body, big[:c.size]) {
				t.Errorf("%d %v %v, %d bytes", a.Status, a.Err, a.Header, len(a.Body))
			}
		})
	}
}

func TestNoBody(t *testing.T) {
	h := routes{
		"GET /": func(w *plugin.Response, r *plugin.Request) error {
			w.Header().Set("x", "y")
			w.WriteString(strings.Repeat("a", 100<<10))
			return w.Flush()
		},
		"GET /204": func(w *plugin.Response, r *plugin.Request) error {
			w.WriteString("dropped")
			w.WriteHeader(204)
			return nil
		},
		"GET /304":  func(w *plugin.Response, r *plugin.Request) error { return w.JSON(304, "dropped") },
		"GET /fail": func(w *plugin.Response, r *plugin.Request) error { return plugin.Errorf(404, "gone") },
	}.host(t)
	want(t, h.Do("HEAD", "/", nil), 200, "")
	want(t, h.Do("GET", "/204", nil), 204, "")
	want(t, h.Do("GET", "/304", nil), 304, "")
	want(t, h.Do("HEAD", "/fail", nil), 404, "")
}

// Flush brings out what was written while the handler goes on.
func TestFlush(t *testing.T) {
	next := make(chan string)
	h := one(t, func(w *plugin.Response, r *plugin.Request) error {
		if err := w.Flush(); err != nil {
			return err
		}
		for s := range next {
			w.WriteString(s)
			if err := w.Flush(); err != nil {
				return err
			}
		}
		_, err := w.WriteString("end")
		return err
	})
	s := h.Stream("GET", "/", nil)
	for _, text := range []string{"a", "bc"} {
		next <- text
		if b, err := s.Next(); string(b) != text || err != nil {
			t.Fatal(string(b), err)
		}
	}
	close(next)
	if b, err := s.Next(); string(b) != "end" || err != nil {
		t.Fatal(string(b), err)
	}
	if _, err := s.Next(); err != io.EOF {
		t.Fatal(err)
	}
}

// A client that does not read holds up its own handler, and leaving ends it.
func TestSlowClientLeaves(t *testing.T) {
	result := make(chan error, 1)
	var written int
	h := one(t, func(w *plugin.Response, r *plugin.Request) error {
		piece := make([]byte, 32<<10)
		for {
			if _, err := w.Write(piece); err != nil {
				result <- err
				return err
			}
			written += len(piece)
		}
	})
	s := h.Stream("GET", "/", nil)
	select {
	case err := <-result:
		t.Fatal(err)
	case <-time.After(50 * time.Millisecond):
	}
	s.Cancel()
	if err := <-result; !errors.Is(err, plugin.ErrCancelled) {
		t.Error(err)
	}
	if written > 256<<10+64<<10 {
		t.Error("written without credit:", written)
	}
}

func TestErrors(t *testing.T) {
	h := routes{
		"GET /own": func(w *plugin.Response, r *plugin.Request) error {
			w.Header().Set("x-dropped", "1")
			w.WriteString("dropped")
			return &plugin.Error{Status: 429, Detail: "Slow <down>.", RetryAfter: 1500 * time.Millisecond, Err: errors.New("quota of tenant 7")}
		},
		"GET /plain":  func(w *plugin.Response, r *plugin.Request) error { return errors.New("secret path /etc") },
		"GET /status": func(w *plugin.Response, r *plugin.Request) error { return &plugin.Error{Status: 7, Detail: "x"} },
		"GET /quiet":  func(w *plugin.Response, r *plugin.Request) error { return plugin.Errorf(404, "no %s", "such") },
		"GET /json":   func(w *plugin.Response, r *plugin.Request) error { return w.JSON(200, make(chan int)) },
		"GET /header": func(w *plugin.Response, r *plugin.Request) error {
			w.Header().Set("x", strings.Repeat("a", 70<<10))
			return nil
		},
	}.host(t)
	a := h.Do("GET", "/own", nil)
	want(t, a, 429, `{"detail":"Slow <down>."}`)
	if a.Header.Get("retry-after") != "2" || a.Header.Has("x-dropped") || a.Header.Get("content-type") != "application/json" {
		t.Error(a.Header)
	}
	const internal = `{"detail":"Internal Server Error"}`
	want(t, h.Do("GET", "/plain", nil), 500, internal)
	want(t, h.Do("GET", "/status", nil), 500, internal)
	want(t, h.Do("GET", "/quiet", nil), 404, `{"detail":"no such"}`)
	want(t, h.Do("GET", "/json", nil), 500, internal)
	want(t, h.Do("GET", "/header", nil), 502, `{"detail":"The plugin gave up."}`)
	logs := h.Logs()
	for i, line := range []string{"WARN answered 429: quota of tenant 7", "ERROR answered 500: secret path /etc", "ERROR answered 500: x"} {
		if len(logs) <= i || logs[i] != line {
			t.Errorf("log line %d is not %q: %q", i, line, logs)
		}
	}
	if all := strings.Join(logs, "\n"); strings.Contains(all, "no such") {
		t.Error("an answer without a cause was logged:", all)
	}
}

// In one worker, a handler that waits holds up no other.
func TestManyAtOnce(t *testing.T) {
	const n = 500
	gate := make(chan struct{})
	h := one(t, func(w *plugin.Response, r *plugin.Request) error { <-gate; _, err := w.WriteString("x"); return err })
	var streams []*plugintest.Stream
	for range n {
		streams = append(streams, h.Start("GET", "/", nil))
	}
	close(gate)
	for _, s := range streams {
		if s.Head(); s.Status != 200 {
			t.Fatal(s.Status)
		}
	}
}
