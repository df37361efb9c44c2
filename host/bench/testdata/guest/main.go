// Command guest is what the benchmark asks over HTTP: nothing, and a chat that is handed to an upstream.
package main

import (
	"fmt"
	"io"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

func main() {}

func init() { plugin.Serve(setup) }

func setup(p *plugin.Plugin) error {
	p.Handle("GET /noop", func(*plugin.Response, *plugin.Request) error { return nil })
	p.Handle("GET /work", work)
	p.Handle("POST /chat", chat)
	return nil
}

// work computes for some milliseconds.
func work(w *plugin.Response, _ *plugin.Request) error {
	sum := uint32(1)
	for i := range uint32(2_000_000) {
		sum = sum*1664525 + i
	}
	_, err := fmt.Fprintf(w, "%08x\n", sum)
	return err
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
