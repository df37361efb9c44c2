// Package route answers the public listener: it finds who answers a request, has a plugin's worker answer it, and turns
// what goes wrong into the one table of statuses.
package route

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/plugin"
)

// Table says who answers what. It is built whole, never changed, and swapped whole.
type Table struct {
	mux *http.ServeMux
}

// Unloaded is a plugin that could not be loaded. Its routes answer 503.
type Unloaded struct {
	Config config.Plugin
}

// NewTable builds a table of the host's own routes, of plugins that serve and of those that do not. The keys of host are patterns
// of net/http's ServeMux. Two routes that overlap without one being narrower are an error.
func NewTable(h *Handler, host map[string]http.Handler, serving []*plugin.Generation, missing []Unloaded) (t *Table, err error) {
	defer func() {
		if v := recover(); v != nil { // ServeMux has no other way to say it
			t, err = nil, fmt.Errorf("build the route table: %v", v)
		}
	}()
	t = &Table{mux: http.NewServeMux()}
	for pattern, handler := range host {
		t.mux.Handle(pattern, handler)
	}
	for _, g := range serving {
		for i, r := range g.Manifest.Routes {
			if slices.Contains(g.Config.Routes, r.String()) {
				t.mux.Handle(r.String(), newEndpoint(h, g, i))
			}
		}
	}
	for _, u := range missing {
		for _, pattern := range u.Config.Routes {
			name := u.Config.Name
			t.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
				h.fail(w, r, name, errNotLoaded)
			})
		}
	}
	return t, nil
}

// ServeHTTP answers by the table, with 404 and 405 in the API's own shape.
func (t *Table) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	handler, pattern := t.mux.Handler(r)
	if pattern != "" {
		t.mux.ServeHTTP(w, r)
		return
	}
	// ServeMux knows best which of the two it is, and which methods there are.
	var probe refusal
	handler.ServeHTTP(&probe, r)
	if probe.status != http.StatusMethodNotAllowed {
		Error(w, r, http.StatusNotFound, "Not Found")
		return
	}
	w.Header()["Allow"] = probe.header["Allow"]
	Error(w, r, http.StatusMethodNotAllowed, "Method Not Allowed")
}

// refusal is a writer that only remembers how ServeMux refused.
type refusal struct {
	header http.Header
	status int
}

func (p *refusal) Header() http.Header {
	if p.header == nil {
		p.header = http.Header{}
	}
	return p.header
}
func (p *refusal) Write(b []byte) (int, error) { return len(b), nil }
func (p *refusal) WriteHeader(status int)      { p.status = status }

// params are the names of a pattern's path parameters.
func params(pattern string) (names []string) {
	for segment := range strings.SplitSeq(pattern, "/") {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			names = append(names, strings.TrimSuffix(strings.TrimSuffix(name, "}"), "..."))
		}
	}
	return names
}
