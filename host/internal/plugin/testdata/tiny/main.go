// Command tiny is the least plugin there is.
package main

import "github.com/patchbay-run/patchbay/sdk/go/plugin"

func main() {}

func init() {
	plugin.Serve(func(p *plugin.Plugin) error {
		p.Handle("GET /tiny", func(w *plugin.Response, _ *plugin.Request) error { _, err := w.WriteString("tiny"); return err })
		return nil
	})
}
