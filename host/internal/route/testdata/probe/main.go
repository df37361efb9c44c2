// Command probe is the guest of the router's tests: it tells what reached it, and answers as it is asked to.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

func main() {}

func init() { plugin.Serve(setup) }

func setup(p *plugin.Plugin) error {
	var config struct {
		Word string `json:"word"`
	}
	if err := p.Config(&config); err != nil {
		return err
	}
	for route, h := range map[string]plugin.Handler{
		"GET /request":                 request,
		"GET /items/{id}/parts/{part}": request,
		"DELETE /items/{id}":           request,
		"GET /files/{rest...}":         request,
		"POST /":                       request,
		"GET /v1/models":               request,
		"GET /overlap/{a}/x":           request,
		"GET /overlap/x/{b}":           request,
		"GET /api/health":              request,
		"GET /answer":                  answer,
		"GET /word":                    func(w *plugin.Response, _ *plugin.Request) error { _, err := w.WriteString(config.Word); return err },
		"POST /count":                  count,
		"POST /echo":                   echo,
		"POST /early":                  func(w *plugin.Response, _ *plugin.Request) error { _, err := w.WriteString("early"); return err },
		"GET /half":                    half,
		"GET /big":                     big,
		"GET /hang":                    hang,
		"GET /v1/hang":                 hang,
		"GET /exit":                    func(*plugin.Response, *plugin.Request) error { os.Exit(3); return nil },
		"GET /loop":                    loop,
		"GET /memory":                  memory,
	} {
		p.Handle(route, h)
	}
	return nil
}

// request answers with what there is to know of the request.
func request(w *plugin.Response, r *plugin.Request) error {
	params, headers := map[string]string{}, map[string][]string{}
	for name, value := range r.PathValues() {
		params[name] = value
	}
	for _, f := range r.Header {
		headers[f.Name] = append(headers[f.Name], f.Value)
	}
	return w.JSON(200, map[string]any{
		"method": r.Method, "path": r.Path, "query": r.RawQuery, "host": r.Host, "client": r.Client, "id": r.ID,
		"params": params, "headers": headers,
	})
}

// answer has the status, headers ("h=name:value") and body of the query. With flush it streams.
func answer(w *plugin.Response, r *plugin.Request) error {
	q := r.Query()
	for _, h := range q["h"] {
		name, value, _ := strings.Cut(h, ":")
		w.Header().Add(name, value)
	}
	if status, err := strconv.Atoi(q.Get("status")); err == nil {
		w.WriteHeader(status)
	}
	if _, err := w.WriteString(q.Get("body")); err != nil || q.Get("flush") == "" {
		return err
	}
	return w.Flush()
}

func count(w *plugin.Response, r *plugin.Request) error {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(w, n)
	return err
}

func echo(w *plugin.Response, r *plugin.Request) error {
	_, err := io.Copy(w, r.Body)
	return err
}

// half fails when its first bytes are out, as they must be: it has written more than fits between it and the client.
func half(w *plugin.Response, _ *plugin.Request) error {
	if _, err := io.WriteString(w, strings.Repeat("first", 100<<10)); err != nil {
		return err
	}
	return errors.New("on purpose")
}

func big(w *plugin.Response, _ *plugin.Request) error {
	piece := strings.Repeat("x", 16<<10)
	for range 128 {
		if _, err := w.WriteString(piece); err != nil {
			return err
		}
	}
	return nil
}

func hang(_ *plugin.Response, r *plugin.Request) error {
	<-r.Context().Done()
	return context.Cause(r.Context())
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

// memory takes all that it can get.
func memory(*plugin.Response, *plugin.Request) error {
	var keep [][]byte
	for {
		keep = append(keep, make([]byte, 1<<20))
	}
}
