// Command guest is what the benchmark asks over HTTP: nothing, and a chat that is handed to an upstream.
package main

import (
	"io"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

func main() {}

func init() { plugin.Serve(setup) }

func setup(p *plugin.Plugin) error {
	p.Handle("GET /noop", func(*plugin.Response, *plugin.Request) error { return nil })
	p.Handle("POST /chat", chat)
	return nil
}

func chat(w *plugin.Response, r *plugin.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	call := plugin.Call{Method: "POST", URL: "upstream://mock/v1/chat/completions", Body: body, Header: plugin.Header{}}
	call.Header.Set("content-type", "application/json")
	reply, err := plugin.Fetch(r.Context(), &call)
	if err != nil {
		return err
	}
	w.Header().Set("content-type", reply.Header.Get("content-type"))
	w.WriteHeader(reply.Status)
	_, err = io.Copy(w, reply.Body)
	return err
}
