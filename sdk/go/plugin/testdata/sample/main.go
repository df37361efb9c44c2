// Command sample is a plugin that touches every part of the SDK, so that a test can see it compile.
package main

import (
	"net/http"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
	"github.com/patchbay-run/patchbay/sdk/go/plugin/nethttp"
)

func main() {}

func init() { plugin.Serve(setup) }

func setup(p *plugin.Plugin) error {
	var cfg struct{ Endpoint string }
	if err := p.Config(&cfg); err != nil {
		return err
	}
	p.Handle("GET /hello/{name}", func(w *plugin.Response, r *plugin.Request) error {
		return w.JSON(200, map[string]string{"hello": r.PathValue("name")})
	})
	p.Handle("POST /chat", func(w *plugin.Response, r *plugin.Request) error {
		reply, err := plugin.Fetch(r.Context(), &plugin.Call{Method: "POST", URL: cfg.Endpoint, Stream: r.Body, Window: plugin.ForPipe})
		if err != nil {
			return err
		}
		if reply.Status != 200 {
			return plugin.UpstreamError(reply)
		}
		return w.Pipe(reply, plugin.PipeOptions{SSE: true, Idle: time.Minute})
	})
	p.Handle("GET /std", nethttp.Handler(http.NotFoundHandler()))
	return nil
}
