package route

import (
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// sink writes a guest's answer to the client.
type sink struct {
	w        http.ResponseWriter
	endpoint *endpoint
	head     bool      // the request is a HEAD
	length   [1]string // of the answer, as a header has it
}

// Head sends status and headers, but for those that are the host's.
func (s *sink) Head(status int, fields []abi.Field, length int64) error {
	h := s.w.Header()
	for _, f := range fields {
		switch {
		case f.Name == "content-type":
			h.Set(f.Name, f.Value) // one: of several, browsers take the last
		case s.endpoint.mayAnswer(f.Name):
			h.Add(f.Name, f.Value)
		}
	}
	bodyless := status == http.StatusNoContent || status == http.StatusNotModified
	kind := h.Get("Content-Type")
	if kind == "" && length != 0 && !bodyless {
		h.Set("Content-Type", "application/octet-stream")
	}
	// What a plugin serves as a page must not act in the name of this origin.
	h["X-Content-Type-Options"] = s.endpoint.nosniff
	if isActive(kind) {
		h.Set("Content-Security-Policy", "sandbox")
	}
	// A guest may leave the body of an answer to HEAD out; that says nothing of its length.
	if length >= 0 && !bodyless && !(s.head && length == 0) {
		s.length[0] = strconv.FormatInt(length, 10)
		h["Content-Length"] = s.length[:]
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
func (s *sink) Flush() error { return http.NewResponseController(s.w).Flush() }

// mayAnswer says whether a guest may set a header of its answer.
func (e *endpoint) mayAnswer(name string) bool {
	switch name {
	case "connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length", "date", "server",
		"proxy-authenticate", "proxy-connection", "x-request-id", "x-content-type-options", "alt-svc", "strict-transport-security":
		return false
	case "nel", "report-to", // what a browser keeps for the whole origin
		"x-accel-redirect", "x-sendfile": // what a proxy in front would take for an order
		return false
	case "set-cookie", "clear-site-data", "www-authenticate", "service-worker-allowed":
		return e.headers[http.CanonicalHeaderKey(name)]
	}
	return !strings.HasPrefix(name, "access-control-")
}

// isActive says whether a browser might run what is served as this type. What cannot be read as one type is, since browsers
// read it in their own ways: of "text/plain, text/html" they take the last.
func isActive(kind string) bool {
	switch kind {
	case "", "application/json", "text/event-stream", "text/plain; charset=utf-8": // need no looking into
		return false
	}
	kind, _, err := mime.ParseMediaType(kind)
	switch kind {
	case "text/html", "text/xml", "text/xsl", "application/xml":
		return true
	}
	return err != nil || strings.HasSuffix(kind, "+xml") || strings.HasPrefix(kind, "multipart/")
}
