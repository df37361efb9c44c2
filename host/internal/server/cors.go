package server

import (
	"net/http"
	"strings"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

const (
	// corsMaxAge is how long a browser may remember a preflight, in seconds.
	corsMaxAge = "600"
	// corsMethods are what any route may be asked with; the route itself says which it knows.
	corsMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
	// corsExposed are the headers that a page may read besides the harmless ones.
	corsExposed = "Retry-After, X-Request-Id"
	// maxCORSHeaders bounds what is said back of a preflight's list, in bytes.
	maxCORSHeaders = 1024
)

// CORS lets pages of the listed origins, or of all with "*", read the answers of next. It is
// always without credentials. Preflights end here, with 204; one from an origin that is not listed
// gets no permission, which the browser reports to the page.
func CORS(c config.CORS) func(next http.Handler) http.Handler {
	everyone := false
	listed := make(map[string]bool, len(c.Origins))
	for _, o := range c.Origins {
		everyone = everyone || o == "*"
		listed[strings.ToLower(o)] = true
	}
	star, exposed := []string{"*"}, []string{corsExposed} // of all answers; nobody changes a value in place
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			origin := r.Header.Get("Origin")
			allowed := everyone || (origin != "" && listed[strings.ToLower(origin)])
			if everyone {
				h["Access-Control-Allow-Origin"] = star
			} else {
				// Also without an Origin: a cache must not give this answer to a page.
				h.Add("Vary", "Origin")
				if allowed {
					h.Set("Access-Control-Allow-Origin", origin)
				}
			}
			if r.Method != http.MethodOptions || origin == "" || r.Header.Get("Access-Control-Request-Method") == "" {
				if allowed {
					h["Access-Control-Expose-Headers"] = exposed
				}
				next.ServeHTTP(w, r)
				return
			}
			h.Add("Vary", "Access-Control-Request-Headers")
			if allowed {
				h.Set("Access-Control-Allow-Methods", corsMethods)
				if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" && len(asked) <= maxCORSHeaders {
					// "*" would leave out Authorization.
					h.Set("Access-Control-Allow-Headers", asked)
				}
				h.Set("Access-Control-Max-Age", corsMaxAge)
			}
			w.WriteHeader(http.StatusNoContent)
		})
	}
}
