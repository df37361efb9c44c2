package admin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/patchbay-run/patchbay/host/internal/server"
)

// row is one route. A handler of nil leaves it out.
type row struct {
	path    string // of a ServeMux pattern
	about   string
	work    bool // more than a document: HEAD, which would do the work and throw it away, is refused
	handler http.Handler
}

// entry is a route as GET / lists it.
type entry struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	About  string `json:"about"`
}

func (a *Admin) rows(o Options) []row {
	return []row{
		{"/{$}", "this list", false, http.HandlerFunc(a.list)},
		{"/api/plugins", "every plugin: version, digest, routes, state, workers, last error", false, http.HandlerFunc(a.plugins)},
		{"/api/plugins/{name}", "one plugin", false, http.HandlerFunc(a.plugin)},
		{"/api/upstreams", "upstreams: connection pool, breaker, retries, and each endpoint's health and load", false, http.HandlerFunc(a.upstreams)},
		{"/api/capacity", "how many users can be served, and what bounds it", false, http.HandlerFunc(a.capacity)},
		{"/api/config", "the configuration in force, secrets as ***", false, http.HandlerFunc(a.config)},
		{"/api/events", "what happened of late, newest first: ?after=SEQ only what came since, ?limit=N at most so many", false, recent(a, o.Events)},
		{"/api/live", "websocket feed of every topic", true, o.Live},
		{"/livez", "200 while the process answers", false, http.HandlerFunc(a.livez)},
		{"/readyz", "200 or 503; with ?verbose as JSON with the reasons", false, http.HandlerFunc(a.readyz)},
		{"/metrics", "Prometheus metrics", false, o.Metrics},
		{"/debug/pprof/{$}", "the profiles that can be taken", false, http.HandlerFunc(a.profiles)},
		{"/debug/pprof/{profile}", "one profile, e.g. heap, or profile?seconds=10 for CPU time", true, http.HandlerFunc(a.profile)},
	}
}

// build makes the mux and the list of what it serves.
func (a *Admin) build(o Options) {
	a.mux = http.NewServeMux()
	a.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		server.WriteDetail(w, http.StatusNotFound, "Not Found")
	})
	for _, row := range a.rows(o) {
		if row.handler == nil {
			continue
		}
		methods := []string{http.MethodGet, http.MethodHead}
		if row.work {
			methods = methods[:1]
		}
		// Methods are not part of the mux's pattern: its own 405 would be plain text.
		a.mux.Handle(row.path, only(methods, row.handler))
		a.index = append(a.index, entry{http.MethodGet, strings.TrimSuffix(row.path, "{$}"), row.about})
	}
}

// only lets some methods through.
func only(methods []string, next http.Handler) http.Handler {
	allow := strings.Join(methods, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(methods, r.Method) {
			w.Header().Set("Allow", allow)
			server.WriteDetail(w, http.StatusMethodNotAllowed, "Method Not Allowed")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (a *Admin) list(w http.ResponseWriter, r *http.Request) {
	a.answer(w, r, http.StatusOK, map[string]any{"message": "The admin listener of Patchbay", "routes": a.index})
}

func (a *Admin) plugins(w http.ResponseWriter, r *http.Request) {
	all := slices.Clone(a.view.Plugins()) // the view may keep the list
	for i := range all {
		all[i] = all[i].Listed()
	}
	a.answer(w, r, http.StatusOK, map[string]any{"plugins": list(all)})
}

func (a *Admin) plugin(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	all := a.view.Plugins()
	i := slices.IndexFunc(all, func(p Plugin) bool { return p.Name == name })
	if i < 0 {
		server.WriteDetail(w, http.StatusNotFound, fmt.Sprintf("No plugin is called %q; GET /api/plugins lists them", name))
		return
	}
	a.answer(w, r, http.StatusOK, all[i].listed())
}

func (a *Admin) upstreams(w http.ResponseWriter, r *http.Request) {
	a.answer(w, r, http.StatusOK, map[string]any{"upstreams": list(a.view.Upstreams())})
}

func (a *Admin) capacity(w http.ResponseWriter, r *http.Request) {
	c := a.view.Capacity()
	a.answer(w, r, http.StatusOK, map[string]any{"estimated_capacity": c, "bounds": list(c.Bounds)})
}

func (a *Admin) config(w http.ResponseWriter, r *http.Request) {
	a.answer(w, r, http.StatusOK, a.view.Config())
}

func (a *Admin) livez(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") }

func (a *Admin) readyz(w http.ResponseWriter, r *http.Request) {
	ready := a.view.Ready()
	status, line := http.StatusOK, "ok"
	if !ready.Ready {
		status, line = http.StatusServiceUnavailable, "not ready"
	}
	if !r.URL.Query().Has("verbose") {
		text(w, status, line)
		return
	}
	ready.Reasons = list(ready.Reasons)
	a.answer(w, r, status, ready)
}
