// Command kitchen is the guest of the engine's tests: one route for each thing that a guest can do.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	random "math/rand/v2"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

func main() {}

func init() { plugin.Serve(setup) }

type config struct {
	Refuse string `json:"refuse"`
	Word   string `json:"word"`

	GCPercent   int   `json:"gc_percent"`
	MemoryLimit int64 `json:"memory_limit"`
}

// began is in the image that copies begin from.
var began = time.Now()

func setup(p *plugin.Plugin) error {
	var c config
	if err := p.Config(&c); err != nil {
		return err
	}
	if c.Refuse != "" {
		return errors.New(c.Refuse)
	}
	if c.GCPercent != 0 {
		debug.SetGCPercent(c.GCPercent)
	}
	if c.MemoryLimit != 0 {
		debug.SetMemoryLimit(c.MemoryLimit)
	}
	seen := 0
	for route, h := range map[string]plugin.Handler{
		"GET /noop":   func(*plugin.Response, *plugin.Request) error { return nil },
		"POST /echo":  echo,
		"GET /word":   func(w *plugin.Response, _ *plugin.Request) error { _, err := w.WriteString(c.Word); return err },
		"GET /count":  func(w *plugin.Response, _ *plugin.Request) error { seen++; _, err := fmt.Fprint(w, seen); return err },
		"GET /fetch":  fetch,
		"GET /many":   many,
		"GET /leave":  leave,
		"GET /pipe":   pipe,
		"GET /sleep":  sleep,
		"GET /stream": stream,
		"GET /big":    big,
		"GET /heap":   heap,
		"GET /exit":   func(*plugin.Response, *plugin.Request) error { os.Exit(3); return nil },
		"GET /panic":  func(*plugin.Response, *plugin.Request) error { panic("on purpose") },
		"GET /memory": memory,
		"GET /hang": func(_ *plugin.Response, r *plugin.Request) error {
			<-r.Context().Done()
			return context.Cause(r.Context())
		},
		"GET /headers": headers,
		"GET /log":     log,
		"POST /say":    say,
		"POST /count":  count,
		"GET /loop":    loop,
		"GET /keep":    keep(),
		"GET /dice": func(w *plugin.Response, _ *plugin.Request) error {
			_, err := fmt.Fprint(w, random.Uint64())
			return err
		},
		"GET /clock": func(w *plugin.Response, _ *plugin.Request) error {
			_, err := fmt.Fprint(w, time.Now().UnixNano(), int64(time.Since(began)))
			return err
		},
		"GET /random": func(w *plugin.Response, _ *plugin.Request) error { _, err := w.WriteString(rand.Text()); return err },
	} {
		p.Handle(route, h)
	}
	return nil
}

func echo(w *plugin.Response, r *plugin.Request) error {
	w.Header().Set("content-type", "text/plain")
	_, err := io.Copy(w, r.Body)
	return err
}

// count reads the body and says how long it was.
func count(w *plugin.Response, r *plugin.Request) error {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(w, n)
	return err
}

func fetch(w *plugin.Response, r *plugin.Request) error {
	reply, err := plugin.Fetch(r.Context(), called(r))
	if err != nil {
		return err
	}
	w.WriteHeader(reply.Status)
	_, err = io.Copy(w, reply.Body)
	return err
}

// called is what the query says. It parses no query, which would cost as much as all the rest, and it is a function of its own so that a
// handler that waits has little on its stack.
//
//go:noinline
func called(r *plugin.Request) *plugin.Call {
	query, idempotent := strings.CutSuffix(r.RawQuery, "&idempotent=1")
	path, _ := strings.CutPrefix(query, "path=")
	return &plugin.Call{Method: "GET", URL: "http://up" + path, Idempotent: idempotent}
}

func pipe(w *plugin.Response, r *plugin.Request) error {
	reply, err := plugin.Fetch(r.Context(), &plugin.Call{Method: "GET", URL: "http://up" + r.Query().Get("path"), Window: plugin.ForPipe})
	if err != nil {
		return err
	}
	w.Header().Set("content-type", "text/event-stream")
	w.WriteHeader(200)
	err = w.Pipe(reply, plugin.PipeOptions{SSE: r.Query().Get("sse") == "1"})
	var failed *plugin.PipeError
	if errors.As(err, &failed) && !failed.Sent {
		return &plugin.Error{Status: 502, Detail: failed.Text}
	}
	return err
}

func sleep(w *plugin.Response, r *plugin.Request) error {
	d, err := time.ParseDuration(r.Query().Get("for"))
	if err != nil {
		return err
	}
	select {
	case <-time.After(d):
	case <-r.Context().Done():
		return context.Cause(r.Context())
	}
	_, err = w.WriteString("slept")
	return err
}

// stream writes pieces, flushed, until it has written the number asked for or the client is gone.
func stream(w *plugin.Response, r *plugin.Request) error {
	var n int
	fmt.Sscan(r.Query().Get("n"), &n)
	for i := range n {
		if _, err := fmt.Fprintf(w, "piece %d\n", i); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

func big(w *plugin.Response, r *plugin.Request) error {
	var n int
	fmt.Sscan(r.Query().Get("n"), &n)
	piece := strings.Repeat("0123456789abcdef", 1024)
	for ; n > 0; n -= len(piece) {
		if _, err := io.WriteString(w, piece[:min(n, len(piece))]); err != nil {
			return err
		}
	}
	return nil
}

func memory(*plugin.Response, *plugin.Request) error {
	var keep [][]byte
	for {
		keep = append(keep, make([]byte, 1<<20))
	}
}

// keep holds on to as many MiB more as it is asked for, and then waits if it is told for how long.
func keep() plugin.Handler {
	var kept [][]byte
	return func(w *plugin.Response, r *plugin.Request) error {
		var n int
		fmt.Sscan(r.Query().Get("mib"), &n)
		kept = append(kept, make([]byte, n<<20))
		if r.Query().Has("for") {
			return sleep(w, r)
		}
		_, err := fmt.Fprint(w, len(kept))
		return err
	}
}

// loop computes without end.
func loop(w *plugin.Response, _ *plugin.Request) error {
	n := 0
	for i := 0; i >= 0; i++ {
		n += i * n
	}
	_, err := fmt.Fprint(w, n)
	return err
}

// headers answers with one header of n bytes.
func headers(w *plugin.Response, r *plugin.Request) error {
	var n int
	fmt.Sscan(r.Query().Get("n"), &n)
	w.Header().Set("x", strings.Repeat("v", n))
	return nil
}

// log writes n lines.
func log(_ *plugin.Response, r *plugin.Request) error {
	var n int
	fmt.Sscan(r.Query().Get("n"), &n)
	for i := range n {
		fmt.Println("line", i)
	}
	return nil
}

// say puts its body into the log in all the ways there are.
func say(_ *plugin.Response, r *plugin.Request) error {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.Log().With("n", 2).With("n", 3).WithGroup("own").Info(string(b), "said", string(b), "worker", "forged", "half", 0.5)
	if _, err := os.Stdout.Write(append(b, '\n')); err != nil {
		return err
	}
	_, err = os.Stderr.Write(append(b, '\n'))
	return err
}

// many fetches n times, one after the other.
func many(w *plugin.Response, r *plugin.Request) error {
	var n int
	fmt.Sscan(r.Query().Get("n"), &n)
	for range n {
		reply, err := plugin.Fetch(r.Context(), &plugin.Call{Method: "GET", URL: "http://up/"})
		if err != nil {
			return err
		}
		if _, err := io.Copy(w, reply.Body); err != nil {
			return err
		}
	}
	return nil
}

// leave fetches and reads nothing of the answer.
func leave(_ *plugin.Response, r *plugin.Request) error {
	_, err := plugin.Fetch(r.Context(), &plugin.Call{Method: "GET", URL: "http://up/"})
	return err
}

// heap says when the guest's heap is collected.
func heap(w *plugin.Response, _ *plugin.Request) error {
	percent := debug.SetGCPercent(100)
	debug.SetGCPercent(percent)
	_, err := fmt.Fprint(w, percent, debug.SetMemoryLimit(-1))
	return err
}
