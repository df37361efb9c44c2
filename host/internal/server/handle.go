package server

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"runtime/debug"
)

// clientKey is what knows the client of a request: the *plainConn of an HTTP/1 connection, or the netip.Addr that proxies told.
type clientKey struct{}

// handle is what every request goes through first.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	s.handlers.enter()
	defer s.handlers.leave()
	conn, _ := r.Context().Value(clientKey{}).(*plainConn)
	if conn != nil {
		conn.answering.Store(true)
	}
	original := r
	if len(s.proxies) > 0 {
		r = r.WithContext(context.WithValue(r.Context(), clientKey{}, s.proxies.client(r)))
	}
	x := newExchange(w, r, conn, s.config, &s.last)
	if r.Body != nil && r.Body != http.NoBody {
		if r == original { // net/http keeps it, and is to find its own body there
			r = r.WithContext(r.Context())
		}
		r.Body = &x.body
	}
	returned := false
	defer func() { x.finish(returned) }()
	s.guard(x, r)
	returned = true
}

// guard refuses what must not reach the handler and answers for it when it panics.
func (s *Server) guard(x *exchange, r *http.Request) {
	if r.Method == "PRI" {
		x.Header().Set("Connection", "close")
		s.fail(x, r, http.StatusHTTPVersionNotSupported, "HTTP/2 is served over TLS only")
		return
	}
	if limit := int(s.config.MaxHeader); limit > 0 && headerSize(r) > limit+headerSlop {
		x.Header().Set("Connection", "close")
		s.fail(x, r, http.StatusRequestHeaderFieldsTooLarge, http.StatusText(http.StatusRequestHeaderFieldsTooLarge))
		return
	}
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if v == http.ErrAbortHandler {
			panic(v)
		}
		s.log.ErrorContext(r.Context(), "panic in a handler", "id", x.Header().Get("X-Request-Id"),
			"method", r.Method, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		if x.began() {
			// Half an answer must not look like a whole one.
			panic(http.ErrAbortHandler)
		}
		h := x.Header()
		for _, name := range []string{"Content-Length", "Content-Encoding", "Content-Type", "Cache-Control", "Etag", "Last-Modified", "Location"} {
			h.Del(name)
		}
		s.fail(x, r, http.StatusInternalServerError, http.StatusText(http.StatusInternalServerError))
	}()
	s.next.ServeHTTP(x, r)
}

// headerSlop is what net/http itself allows above the limit, so that all protocols agree.
const headerSlop = 4096

// headerSize is about what the head took on the wire.
func headerSize(r *http.Request) int {
	n := len(r.Method) + len(r.RequestURI) + len(r.Host) + len("  HTTP/1.1\r\nHost: \r\n\r\n")
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(v) + len(": \r\n")
		}
	}
	return n
}

// ClientAddr returns who sent r: the nearest address that is no trusted proxy, as told by
// X-Forwarded-For when the connection itself comes from a trusted one, else the connection's. It is
// the zero Addr for a request that no Server took and whose RemoteAddr is no address.
func ClientAddr(r *http.Request) netip.Addr {
	switch c := r.Context().Value(clientKey{}).(type) {
	case netip.Addr:
		return c
	case *plainConn:
		return c.client
	}
	return parseHop(r.RemoteAddr)
}
