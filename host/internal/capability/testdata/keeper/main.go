// Command keeper is a guest that keeps values.
package main

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

func main() {}

func init() { plugin.Serve(setup) }

func setup(p *plugin.Plugin) error {
	p.Handle("GET /once", once)
	p.Handle("GET /put", put)
	p.Handle("GET /hoard", hoard)
	p.Handle("GET /answer", answer)
	p.Handle("GET /direct", direct)
	return nil
}

// once answers with what Fetch gave, n times as often.
func once(w *plugin.Response, r *plugin.Request) error {
	q := r.Query()
	c := plugin.Cache{TTL: duration(q, "ttl", time.Hour), Stale: duration(q, "stale", 0), Failed: duration(q, "failed", 0), Lead: duration(q, "lead", 0), NoCache: q.Has("fresh")}
	trap, n := q.Has("trap"), q.Get("n")
	got, err := c.Once(r.Context(), q.Get("key"), func(ctx context.Context, _ *plugin.Keep) ([]byte, error) {
		reply, err := plugin.Fetch(ctx, &plugin.Call{URL: "upstream://it/"})
		if err != nil {
			return nil, err
		}
		if trap {
			os.Exit(1)
		}
		b, err := reply.Bytes(1 << 20)
		if times, _ := strconv.Atoi(n); times > 0 {
			b = bytes.Repeat(b, times)
		}
		return b, err
	})
	if err != nil {
		return err
	}
	w.Header().Set("x-cache", got.State.String())
	w.Header().Set("age", strconv.FormatInt(got.Age.Milliseconds(), 10))
	_, err = w.Write(got.Value)
	return err
}

// answers is what the host has answered in the place of answer.
var answers int

// answer answers with the value behind a text, in the status asked for.
func answer(w *plugin.Response, r *plugin.Request) error {
	q := r.Query()
	c := plugin.Cache{TTL: duration(q, "ttl", time.Hour), Stale: duration(q, "stale", 0), NoCache: q.Has("fresh")}
	if status, _ := strconv.Atoi(q.Get("status")); status > 0 {
		w.WriteHeader(status)
	}
	w.Header().Set("content-type", "text/plain")
	if _, err := w.WriteString(q.Get("q") + ": "); err != nil {
		return err
	}
	if q.Has("flush") {
		if err := w.Flush(); err != nil {
			return err
		}
	}
	err := c.Answer(w, q.Get("key"), func(ctx context.Context, keep *plugin.Keep) ([]byte, error) {
		reply, err := plugin.Fetch(ctx, &plugin.Call{URL: "upstream://it/"})
		if err != nil {
			return nil, err
		}
		keep.Header.Set("X-Kept", "with it")
		keep.Header.Set("age", q.Get("age"))
		b, err := reply.Bytes(1 << 20)
		if times, _ := strconv.Atoi(q.Get("n")); times > 0 {
			b = bytes.Repeat(b, times)
		}
		return b, err
	})
	if _, over := w.Write(nil); over != nil {
		answers++
	}
	return err
}

// direct answers with how many answers the host gave.
func direct(w *plugin.Response, _ *plugin.Request) error {
	_, err := w.WriteString(strconv.Itoa(answers))
	return err
}

// put answers with the error that comes of a value of n bytes.
func put(w *plugin.Response, r *plugin.Request) error {
	n, _ := strconv.Atoi(r.Query().Get("n"))
	c := plugin.Cache{TTL: time.Hour}
	err := c.Put(r.Context(), r.Query().Get("key"), make([]byte, n))
	got, ok, getting := c.Get(r.Context(), r.Query().Get("key"))
	if err := errors.Join(err, getting); err != nil {
		_, err = w.WriteString(err.Error())
		return err
	}
	_, err = w.WriteString(strconv.FormatBool(ok) + " " + strconv.Itoa(len(got)))
	return err
}

// hoard asks for a value of so many bytes n times at once, and answers with how many it got, and how many were refused.
func hoard(w *plugin.Response, r *plugin.Request) error {
	n, _ := strconv.Atoi(r.Query().Get("n"))
	size, _ := strconv.Atoi(r.Query().Get("size"))
	c := plugin.Cache{TTL: time.Hour}
	if err := c.Put(r.Context(), "hoard", make([]byte, size)); err != nil {
		return err
	}
	got, refused := 0, 0
	var all sync.WaitGroup
	for range n {
		all.Add(1)
		go func() {
			defer all.Done()
			switch b, ok, err := c.Get(r.Context(), "hoard"); {
			case ok && len(b) == size:
				got++ // goroutines of a guest take turns
			case errors.Is(err, plugin.ErrLimit):
				refused++
			}
		}()
	}
	all.Wait()
	_, err := w.WriteString(strconv.Itoa(got) + " " + strconv.Itoa(refused))
	return err
}

func duration(q url.Values, name string, otherwise time.Duration) time.Duration {
	if d, err := time.ParseDuration(q.Get(name)); err == nil {
		return d
	}
	return otherwise
}
