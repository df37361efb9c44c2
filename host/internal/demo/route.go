package demo

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
)

// route is one row of the table: what is answered, in whose error shape, and by what.
type route struct {
	method, path string
	dialect      dialect
	count        *atomic.Int64 // counts this kind of request; nil counts none
	handle       func(*exchange) error
}

// table lists what the demo answers. A new path is a new row.
func (s *Server) table() []route {
	return []route{
		{"POST", "/search", tavilyError, &s.stats.searches, s.tavily},
		{"GET", "/search", searxngError, &s.stats.searches, s.searxng},
		{"GET", "/v1/models", gpustackError, nil, s.listModels},
		{"GET", "/v1-openai/models", gpustackError, nil, s.listOpenAIModels},
		{"POST", "/v1/chat/completions", gpustackError, &s.stats.chats, s.chat},
		{"POST", "/v1-openai/chat/completions", gpustackError, &s.stats.chats, s.chat},
	}
}

// dialect shapes an error as one of the services does.
type dialect func(status int, message string) any

// tavilyError is Tavily's shape.
func tavilyError(_ int, message string) any {
	return map[string]any{"detail": map[string]any{"error": message}}
}

// searxngError is SearXNG's shape when JSON was asked for.
func searxngError(_ int, message string) any {
	return map[string]any{"error": message}
}

// gpustackError is the shape of GPUStack's inference paths: OpenAI's envelope with the status as a number.
func gpustackError(status int, message string) any {
	kind := strings.ReplaceAll(http.StatusText(status), " ", "") // as in NotFound
	if kind == "" {
		kind = "Error"
	}
	return map[string]any{"error": map[string]any{"message": message, "code": status, "type": kind}}
}

// ServeHTTP answers one request. When the client has left, or ctx of Serve has ended, it ends the way an http.Handler
// aborts a connection: by a panic with http.ErrAbortHandler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(Header, "1")
	x := &exchange{w: w, r: r, begun: s.opts.Now(), cut: -1}
	if s.probe(x) {
		return
	}
	s.stats.requests.Add(1)
	defer s.stats.inFlight.Add(-1)
	running := s.stats.inFlight.Add(1)

	err := s.answer(x, running)
	var f *fault
	if errors.As(err, &f) {
		err = x.reply(f.status, x.dialect(f.status, "demo: "+f.message))
	}
	if err == nil {
		return
	}
	if errors.Is(err, errGone) { // otherwise a stream was cut on purpose
		s.stats.cancelled.Add(1)
	}
	panic(http.ErrAbortHandler)
}

// answer does what every protocol path has in common, then calls the path's handler.
func (s *Server) answer(x *exchange, running int64) error {
	rt, err := s.match(x)
	x.dialect = rt.dialect
	if err != nil {
		return err
	}
	if rt.count != nil {
		rt.count.Add(1)
	}
	if err := x.readBody(s.opts.MaxBody); err != nil {
		return err
	}
	if running > int64(s.opts.MaxInFlight) {
		return faultf(http.StatusServiceUnavailable, "more than %d requests at once", s.opts.MaxInFlight)
	}
	delay, refused := x.wish(s.opts.Delay)
	if err := x.wait(delay); err != nil {
		return err
	}
	if refused != nil {
		return refused
	}
	if s.unlucky() {
		return faultf(http.StatusInternalServerError, "this request was chosen to fail; the error rate is %v", s.opts.ErrorRate)
	}
	return rt.handle(x)
}

// match finds the row for a request. With an error it still returns the dialect to say it in.
func (s *Server) match(x *exchange) (route, error) {
	method, path := x.r.Method, x.r.URL.Path
	if method == http.MethodHead {
		method = http.MethodGet // net/http leaves the body out
	}
	rows := s.routes[path]
	for _, row := range rows {
		if row.method == method {
			return row, nil
		}
	}
	unmatched := route{dialect: tavilyError}
	if strings.HasPrefix(path, "/v1") {
		unmatched.dialect = gpustackError
	}
	if len(rows) == 0 {
		return unmatched, faultf(http.StatusNotFound, "there is no path %s", path)
	}
	allowed := make([]string, len(rows))
	for i, row := range rows {
		allowed[i] = row.method
	}
	x.w.Header().Set("Allow", strings.Join(allowed, ", "))
	return unmatched, faultf(http.StatusMethodNotAllowed, "%s does not take %s", path, x.r.Method)
}

// probe answers the paths that neither wait nor count nor fail, and says whether this was one.
func (s *Server) probe(x *exchange) bool {
	text := ""
	switch x.r.URL.Path {
	case "/healthz", "/readyz":
		text = "ok"
	case "/":
		text = "This is Patchbay's demo upstream: POST /search, GET /search, GET /v1/models, POST /v1/chat/completions.\n"
	default:
		return false
	}
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		x.w.Header().Set("Allow", "GET, HEAD")
		_ = x.reply(http.StatusMethodNotAllowed, tavilyError(http.StatusMethodNotAllowed, "demo: only GET"))
		return true
	}
	_ = x.send(http.StatusOK, "text/plain; charset=utf-8", []byte(text)) // a prober that left needs no answer
	return true
}
