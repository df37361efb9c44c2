// Command go is the conformance guest of the Go SDK. ../../README.md says what each route does.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

func main() {}

func init() { plugin.Serve(setup) } //nolint:gochecknoinits // a reactor has no main that runs

// counters are what the guest has seen of its requests.
type counters struct{ seen, cancelled, piped int }

func setup(p *plugin.Plugin) error {
	var config json.RawMessage
	if err := p.Config(&config); err != nil {
		return err
	}
	c := &counters{}
	for route, h := range map[string]plugin.Handler{
		"POST /echo":   echo,
		"POST /count":  count,
		"GET /status":  status,
		"GET /headers": headers,
		"GET /stream":  stream,
		"GET /big":     big,
		"POST /early":  func(w *plugin.Response, _ *plugin.Request) error { return write(w, "early") },
		"GET /fetch":   fetch,
		"GET /abandon": abandon,
		"POST /relay":  relay,
		"GET /hold":    hold,
		"GET /pipe":    c.pipe(plugin.PipeOptions{}),
		"GET /sse":     c.pipe(plugin.PipeOptions{SSE: true}),
		"GET /sleep":   sleep,
		"GET /hang":    func(_ *plugin.Response, r *plugin.Request) error { <-r.Context().Done(); return r.Context().Err() },
		"GET /counters": func(w *plugin.Response, _ *plugin.Request) error {
			return write(w, fmt.Sprint(c.seen, c.cancelled, c.piped))
		},
		"GET /log":     logged,
		"GET /publish": publish,
		"GET /config":  func(w *plugin.Response, _ *plugin.Request) error { return write(w, string(config)) },
	} {
		p.Handle(route, c.counted(h))
	}
	return nil
}

// counted counts requests as they come, and those that were cancelled.
func (c *counters) counted(h plugin.Handler) plugin.Handler {
	return func(w *plugin.Response, r *plugin.Request) error {
		c.seen++
		err := h(w, r)
		if r.Context().Err() != nil || errors.Is(err, plugin.ErrCancelled) {
			c.cancelled++
		}
		return err
	}
}

func write(w *plugin.Response, text string) error {
	_, err := w.WriteString(text)
	return err
}

func echo(w *plugin.Response, r *plugin.Request) error {
	if err := w.Flush(); err != nil {
		return err
	}
	return forward(w, r.Body)
}

func count(w *plugin.Response, r *plugin.Request) error {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		return err
	}
	return write(w, strconv.FormatInt(n, 10))
}

func number(r *plugin.Request, name string) int {
	n, _ := strconv.Atoi(r.Query().Get(name))
	return n
}

func status(w *plugin.Response, r *plugin.Request) error {
	w.Header().Add("x-twice", "one")
	w.Header().Add("x-twice", "two")
	w.WriteHeader(number(r, "code"))
	return nil
}

func headers(w *plugin.Response, r *plugin.Request) error {
	n := 0
	for name, value := range r.Header.All() {
		if strings.HasPrefix(name, "x-") {
			w.Header().Add(name, value)
			n += len(value)
		}
	}
	return write(w, strconv.Itoa(n))
}

func stream(w *plugin.Response, r *plugin.Request) error {
	for i := range number(r, "n") {
		if err := write(w, fmt.Sprintf("piece %d\n", i)); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func big(w *plugin.Response, r *plugin.Request) error {
	letters := strings.Repeat("abcdefghijklmnopqrstuvwxyz", 630)
	for n := number(r, "n"); n > 0; n -= len(letters) {
		if err := write(w, letters[:min(n, len(letters))]); err != nil {
			return err
		}
	}
	return nil
}

// ask makes a fetch; when it fails, the answer is 502 with the code.
func ask(w *plugin.Response, r *plugin.Request, c *plugin.Call) (*plugin.Reply, error) {
	reply, err := plugin.Fetch(r.Context(), c)
	var failed *plugin.FetchError
	if errors.As(err, &failed) && r.Context().Err() == nil {
		w.WriteHeader(502)
		return nil, write(w, strconv.Itoa(int(failed.Code)))
	}
	return reply, err
}

func call(r *plugin.Request) *plugin.Call {
	return &plugin.Call{URL: "upstream://up" + r.Query().Get("path")}
}

// pass sends a reply on as its bytes come.
func pass(w *plugin.Response, reply *plugin.Reply) error {
	for name, value := range reply.Header.All() {
		w.Header().Add(name, value)
	}
	w.WriteHeader(reply.Status)
	return forward(w, reply.Body)
}

func forward(w *plugin.Response, body io.Reader) error {
	buffer := make([]byte, 16<<10)
	for {
		n, err := body.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return err
			}
			if err := w.Flush(); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func fetch(w *plugin.Response, r *plugin.Request) error {
	reply, err := ask(w, r, call(r))
	if reply == nil {
		return err
	}
	return pass(w, reply)
}

// abandon gives a fetch up that was submitted, and passes the answer of a second one on.
func abandon(w *plugin.Response, r *plugin.Request) error {
	ctx, cancel := context.WithCancel(r.Context())
	go cancel() // its turn comes when the fetch waits
	if reply, err := plugin.Fetch(ctx, call(r)); err == nil {
		reply.Body.Close()
	}
	return fetch(w, r)
}

func relay(w *plugin.Response, r *plugin.Request) error {
	reply, err := ask(w, r, &plugin.Call{Method: "POST", URL: "upstream://up/relay", Stream: r.Body})
	if reply == nil {
		return err
	}
	return pass(w, reply)
}

// hold fetches and reads nothing of the reply's body.
func hold(w *plugin.Response, r *plugin.Request) error {
	if reply, err := ask(w, r, call(r)); reply == nil {
		return err
	}
	<-r.Context().Done()
	return r.Context().Err()
}

func (c *counters) pipe(o plugin.PipeOptions) plugin.Handler {
	return func(w *plugin.Response, r *plugin.Request) error {
		asked := call(r)
		asked.Window = plugin.ForPipe
		reply, err := ask(w, r, asked)
		if reply == nil {
			return err
		}
		for name, value := range reply.Header.All() {
			w.Header().Add(name, value)
		}
		w.WriteHeader(reply.Status)
		err = w.Pipe(reply, o)
		var failed *plugin.PipeError
		switch {
		case err == nil:
			c.piped++
		case errors.As(err, &failed) && !failed.Sent:
			w.WriteHeader(502)
			return write(w, strconv.Itoa(int(failed.Code)))
		}
		return err
	}
}

func sleep(w *plugin.Response, r *plugin.Request) error {
	timer := time.NewTimer(time.Duration(number(r, "ms")) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return write(w, "slept")
	case <-r.Context().Done():
		return r.Context().Err()
	}
}

func logged(w *plugin.Response, r *plugin.Request) error {
	r.Log().Info(r.RawQuery)
	return write(w, "logged")
}

func publish(w *plugin.Response, r *plugin.Request) error {
	err := plugin.Publish(r.Context(), r.Query().Get("topic"), map[string]int{"n": 1})
	var refused *plugin.FetchError
	switch {
	case errors.As(err, &refused):
		w.WriteHeader(502)
		return write(w, strconv.Itoa(int(refused.Code)))
	case err != nil:
		return err
	}
	return write(w, "published")
}
