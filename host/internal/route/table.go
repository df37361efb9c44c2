// Package route answers the public listener: it finds who answers a request, has a plugin's worker answer it, and turns
// what goes wrong into the one table of statuses.
package route

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/plugin"
	"github.com/patchbay-run/patchbay/host/internal/telemetry"
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
// of net/http's ServeMux. Two routes that overlap without one being narrower are an error; all of them come back at once.
func NewTable(h *Handler, host map[string]http.Handler, serving []*plugin.Generation, missing []Unloaded) (*Table, error) {
	t := &Table{mux: http.NewServeMux()}
	var problems []error
	add := func(who, pattern string, handler http.Handler) {
		if err := t.handle(pattern, handler); err != nil {
			problems = append(problems, fmt.Errorf("%s: route %s: %w", who, pattern, err))
		}
	}
	for _, pattern := range slices.Sorted(maps.Keys(host)) {
		add("the server", pattern, named(pattern, host[pattern]))
	}
	for _, g := range serving {
		for i, r := range g.Manifest.Routes {
			if slices.Contains(g.Config.Routes, r.String()) {
				add(fmt.Sprintf("plugin %q", g.Config.Name), pattern(r.String()), newEndpoint(h, g, i))
			}
		}
	}
	for _, u := range missing {
		for _, route := range u.Config.Routes {
			add(fmt.Sprintf("plugin %q", u.Config.Name), pattern(route), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				telemetry.SetRoute(r.Context(), route)
				telemetry.SetPlugin(r.Context(), u.Config.Name, "")
				h.fail(w, r, u.Config.Name, errNotLoaded)
			}))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("build the route table: %w", err)
	}
	return t, nil
}

// named has what h answers counted under its own route. One that is a probe says so itself.
func named(pattern string, h http.Handler) http.Handler {
	route := strings.TrimSuffix(pattern, "{$}")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		telemetry.SetRoute(r.Context(), route)
		h.ServeHTTP(w, r)
	})
}

// pattern is a route as ServeMux writes it, for which a "/" at the end means all below.
func pattern(route string) string {
	if strings.HasSuffix(route, " /") {
		return route + "{$}"
	}
	return route
}

// entry tells what was put into the table from what ServeMux answers by itself.
type entry struct {
	http.Handler
	fixed bool // its pattern has no parameters
}

func (t *Table) handle(pattern string, handler http.Handler) (err error) {
	defer func() {
		if v := recover(); v != nil { // ServeMux has no other way to say it
			err = errors.New(registered().ReplaceAllString(fmt.Sprint(v), ""))
		}
	}()
	t.mux.Handle(pattern, entry{handler, len(params(pattern)) == 0})
	return nil
}

// registered matches the places in our own source that ServeMux names.
func registered() *regexp.Regexp { return regexp.MustCompile(` \(registered at [^)]*\)`) }

// ServeHTTP answers by the table, with 404 and 405 in the API's own shape. A path that is not clean is nobody's: ServeMux would
// redirect it.
func (t *Table) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	handler, pattern := t.mux.Handler(r)
	if e, ok := handler.(entry); ok {
		if !e.fixed {
			t.mux.ServeHTTP(w, r) // reads the parameters
			return
		}
		r.Pattern = pattern
		e.ServeHTTP(w, r)
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
