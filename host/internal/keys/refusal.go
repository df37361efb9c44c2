package keys

import "net/http"

// reason is why a request is refused.
type reason int

const (
	good reason = iota
	unready
	missing
	foreign
	malformed
	misplaced
	unknown
	expired
	revoked
	outOfScope
	several
	leaked
	reasons // how many there are
)

const howTo = "send it as Authorization: Bearer pb_… or as X-API-Key: pb_…"

// refusals is the table of answers. The code is RFC 6750's, section 3.1; a request that brought no credentials gets none.
var refusals = [...]struct {
	name   string // in metrics; "" is not counted
	status int
	code   string
	detail string
}{
	unready:    {"unready", http.StatusServiceUnavailable, "", "API keys cannot be checked yet: try again"},
	missing:    {"missing", http.StatusUnauthorized, "", "This needs an API key: " + howTo},
	foreign:    {"foreign", http.StatusUnauthorized, "invalid_token", "This is no API key of this server, which begins with pb_: " + howTo},
	malformed:  {"malformed", http.StatusUnauthorized, "invalid_token", "The API key is mistyped or cut off: its checksum is wrong"},
	misplaced:  {"misplaced", http.StatusUnauthorized, "invalid_token", "The API key is in the wrong place: " + howTo},
	unknown:    {"unknown", http.StatusUnauthorized, "invalid_token", "The API key is not known here"},
	expired:    {"expired", http.StatusUnauthorized, "invalid_token", "The API key has expired"},
	revoked:    {"revoked", http.StatusUnauthorized, "invalid_token", "The API key has been revoked"},
	outOfScope: {"scope", http.StatusForbidden, "insufficient_scope", "The API key is not for this route"},
	several:    {"several", http.StatusBadRequest, "invalid_request", "Two different API keys came with one request: send one"},
	leaked: {"url", http.StatusBadRequest, "invalid_request",
		"An API key stands in the URL, which is logged on the way: replace the key, and " + howTo},
}

// refuse answers without reading the body, which a stranger could make large or slow.
func (g *Gate) refuse(w http.ResponseWriter, r *http.Request, why reason) {
	g.options.Refused(r.Context())
	g.counts[why].Inc()
	answer := &refusals[why]
	h := w.Header()
	switch {
	case answer.status == http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	case answer.code == "":
		h.Set("WWW-Authenticate", `Bearer realm="patchbay"`)
	default:
		h.Set("WWW-Authenticate", `Bearer realm="patchbay", error="`+answer.code+`"`)
	}
	h.Set("Cache-Control", "no-store")
	if r.ContentLength != 0 && r.ProtoMajor == 1 {
		h.Set("Connection", "close")
	}
	g.options.Error(w, r, answer.status, answer.detail)
}
