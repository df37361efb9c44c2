// Command mirror is a guest that answers with all that it sees of a request.
package main

import (
	"fmt"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

func main() {}

func init() { plugin.Serve(setup) }

func setup(p *plugin.Plugin) error {
	p.Handle("POST /mirror", mirror)
	p.Handle("POST /v1/mirror/{name}", mirror)
	return nil
}

func mirror(w *plugin.Response, r *plugin.Request) error {
	return w.JSON(200, map[string]string{"seen": fmt.Sprint(r.Method, " ", r.Path, " ", r.RawQuery, " ", r.Header)})
}
