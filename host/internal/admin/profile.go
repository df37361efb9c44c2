package admin

import (
	"net/http"
	"net/http/pprof" // its init registers on http.DefaultServeMux too, which nothing in the host serves
	runtimepprof "runtime/pprof"
	"strconv"

	"github.com/patchbay-run/patchbay/host/internal/server"
)

// maxProfile bounds how long one profile may be taken, in seconds.
const maxProfile = 300

func (a *Admin) profiles(w http.ResponseWriter, r *http.Request) { pprof.Index(w, r) }

// profile takes one. What fails while it is taken, such as a CPU profile beside another, keeps
// pprof's own plain text, which go tool pprof prints.
func (a *Admin) profile(w http.ResponseWriter, r *http.Request) {
	if text := r.URL.Query().Get("seconds"); text != "" {
		// Trace takes fractions; whatever is no number fails the comparison.
		if s, err := strconv.ParseFloat(text, 64); err != nil || !(s > 0 && s <= maxProfile) {
			server.WriteDetail(w, http.StatusBadRequest, "seconds must be a number above 0 and up to "+strconv.Itoa(maxProfile))
			return
		}
	}
	switch name := r.PathValue("profile"); name {
	case "cmdline":
		pprof.Cmdline(w, r)
	case "profile":
		pprof.Profile(w, r)
	case "symbol":
		pprof.Symbol(w, r)
	case "trace":
		pprof.Trace(w, r)
	default:
		if runtimepprof.Lookup(name) == nil {
			server.WriteDetail(w, http.StatusNotFound, "No such profile; GET /debug/pprof/ lists them")
			return
		}
		pprof.Handler(name).ServeHTTP(w, r)
	}
}
