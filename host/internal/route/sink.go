package route

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// sink writes a guest's answer to the client.
type sink struct {
	w        http.ResponseWriter
	ctl      *http.ResponseController
	endpoint *endpoint
}

// Head sends status and headers, but for those that are the host's.
func (s *sink) Head(status int, fields []abi.Field, length int64) error {
	h := s.w.Header()
	for _, f := range fields {
		if !s.endpoint.mayAnswer(f.Name) {
			continue
		}
		h.Add(f.Name, f.Value)
	}
	kind := h.Get("Content-Type")
	if kind == "" && length != 0 {
		kind = "application/octet-stream"
		h.Set("Content-Type", kind)
	}
	// What a plugin serves as a page must not act in the name of this origin.
	h.Set("X-Content-Type-Options", "nosniff")
	if isActive(kind) {
		h.Set("Content-Security-Policy", "sandbox")
	}
	if length >= 0 && status != http.StatusNoContent && status != http.StatusNotModified {
		h.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	s.w.WriteHeader(status)
	return nil
}

// Write implements wasm.Sink.
func (s *sink) Write(p []byte) error {
	_, err := s.w.Write(p)
	if err == http.ErrBodyNotAllowed { // to HEAD, or a 204: the guest need not know
		return nil
	}
	return err
}

// Flush implements wasm.Sink.
func (s *sink) Flush() error { return s.ctl.Flush() }

// mayAnswer says whether a guest may set a header of its answer.
func (e *endpoint) mayAnswer(name string) bool {
	switch name {
	case "connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length", "date", "server",
		"proxy-authenticate", "proxy-connection", "x-request-id", "x-content-type-options", "alt-svc", "strict-transport-security":
		return false
	case "set-cookie", "clear-site-data", "www-authenticate", "service-worker-allowed":
		return e.headers[http.CanonicalHeaderKey(name)]
	}
	return !strings.HasPrefix(name, "access-control-")
}

// isActive says whether a browser would run what is served as this type.
func isActive(kind string) bool {
	kind, _, _ = strings.Cut(strings.ToLower(kind), ";")
	switch strings.TrimSpace(kind) {
	case "text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml":
		return true
	}
	return strings.HasSuffix(strings.TrimSpace(kind), "+xml")
}
