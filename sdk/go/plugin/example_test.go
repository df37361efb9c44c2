package plugin_test

import (
	"errors"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// A plugin: in a package main this is called from an init function, beside an empty main.
func ExampleServe() {
	plugin.Serve(func(p *plugin.Plugin) error {
		cfg := struct {
			Greeting string `json:"greeting"`
		}{Greeting: "Hello"}
		if err := p.Config(&cfg); err != nil {
			return err
		}
		p.Handle("GET /hello/{name}", func(w *plugin.Response, r *plugin.Request) error {
			return w.JSON(200, map[string]string{"message": cfg.Greeting + ", " + r.PathValue("name")})
		})
		return nil
	})
}

// A handler that asks another service and passes its errors on.
func ExampleFetch() {
	_ = func(w *plugin.Response, r *plugin.Request) error {
		reply, err := plugin.Fetch(r.Context(), &plugin.Call{
			Method:  "POST",
			URL:     "https://api.example.com/search",
			Header:  plugin.Header{{Name: "content-type", Value: "application/json"}},
			Body:    []byte(`{"q": "patchbay"}`),
			Secret:  "search",
			Timeout: 10 * time.Second,
		})
		if errors.Is(err, plugin.ErrTimeout) {
			return &plugin.Error{Status: 504, Detail: "The search took too long.", Err: err}
		}
		if err != nil {
			return err
		}
		if reply.Status != 200 {
			return plugin.UpstreamError(reply)
		}
		var found struct {
			Results []string `json:"results"`
		}
		if err := reply.JSON(&found, 1<<20); err != nil {
			return err
		}
		return w.JSON(200, found)
	}
}

// A handler that streams a model's answer: the host moves the bytes, the handler sleeps until the end.
func ExampleResponse_Pipe() {
	_ = func(w *plugin.Response, r *plugin.Request) error {
		reply, err := plugin.Fetch(r.Context(), &plugin.Call{
			Method: "POST", URL: "upstream://gpustack/v1/chat/completions", Stream: r.Body, Window: plugin.ForPipe,
		})
		if err != nil {
			return err
		}
		if reply.Status != 200 {
			return plugin.UpstreamError(reply)
		}
		w.Header().Set("Content-Type", "text/event-stream")
		return w.Pipe(reply, plugin.PipeOptions{SSE: true, Idle: time.Minute})
	}
}

// Any error can be returned. This one tells the client when to come back, and the log why.
func ExampleError() {
	_ = func(w *plugin.Response, r *plugin.Request) error {
		return &plugin.Error{Status: 503, Detail: "Come back soon.", RetryAfter: time.Minute, Err: errors.New("cache is cold")}
	}
}
