package route

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/patchbay-run/patchbay/host/internal/plugin"
	"github.com/patchbay-run/patchbay/host/internal/telemetry"
	"github.com/patchbay-run/patchbay/host/internal/trace"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// maxSwaps is how often one request may find that its generation was replaced under it.
const maxSwaps = 8

// Handler answers by the table that is in force.
type Handler struct {
	log   *slog.Logger
	table atomic.Pointer[Table]
}

// NewHandler makes a handler that answers 404 until the first Swap.
func NewHandler(log *slog.Logger) *Handler {
	h := &Handler{log: log}
	h.table.Store(&Table{mux: http.NewServeMux()})
	return h
}

// Swap puts a table in force for all requests from now on.
func (h *Handler) Swap(t *Table) { h.table.Store(t) }

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.table.Load().ServeHTTP(w, r)
}

// endpoint is one route of one generation.
type endpoint struct {
	handler    *Handler
	generation *plugin.Generation
	index      int
	pattern    string
	params     []string
	streams    bool
	headers    map[string]bool   // granted beyond the harmless ones, as net/http spells them
	passed     map[string]string // request headers that the plugin sees: as net/http spells them, and as guests do
	nosniff    []string          // the value of a header of all answers, which nobody changes in place
}

func newEndpoint(h *Handler, g *plugin.Generation, index int) *endpoint {
	route := g.Manifest.Routes[index]
	e := &endpoint{
		handler: h, generation: g, index: index, pattern: route.String(),
		params: params(route.Path), streams: route.Streams, headers: map[string]bool{}, passed: map[string]string{}, nosniff: []string{"nosniff"},
	}
	for _, name := range g.Config.Grant.Headers {
		e.headers[http.CanonicalHeaderKey(name)] = true
		e.passed[http.CanonicalHeaderKey(name)] = strings.ToLower(name)
	}
	for _, name := range harmless() {
		e.passed[name] = strings.ToLower(name)
	}
	return e
}

type swapsKey struct{}

// turn is one request and its answer, as the engine sees them. It is one allocation.
type turn struct {
	request wasm.Request
	body    body
	sink    sink
}

// ServeHTTP has the plugin answer.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	telemetry.SetRoute(r.Context(), e.pattern)
	g := e.generation
	telemetry.SetPlugin(r.Context(), g.Config.Name, g.Manifest.Version)
	ctx, span := trace.Plugin(r.Context(), g.Config.Name, g.Manifest.Version, g.Config.Isolation)
	fields, err := e.fields(ctx, r)
	if err != nil {
		endSpan(span, err)
		e.handler.fail(w, r, e.generation.Config.Name, err)
		return
	}
	t := &turn{request: wasm.Request{
		ID:          telemetry.RequestID(r.Context()),
		Route:       e.index,
		Fields:      fields,
		Timeout:     e.generation.Config.Limits.Timeout,
		Valid:       telemetry.Valid(r.Context()),
		Streams:     e.streams,
		ErrorEvents: r.Header.Get("X-Stream-Events") == "1",
	}, sink: sink{w: w, endpoint: e, head: r.Method == http.MethodHead}}
	if r.Body != nil && r.ContentLength != 0 {
		t.body.request, t.body.ctl = r, *http.NewResponseController(w)
		t.request.Body = &t.body
	}
	err = g.Serve(ctx, &t.request, &t.sink)
	endSpan(span, err)
	switch {
	case err == nil:
	case errors.Is(err, wasm.ErrDraining):
		e.again(w, r)
	case errors.Is(err, wasm.ErrGone), r.Context().Err() != nil:
		// Nobody reads an answer any more, and half of one must not look whole.
		panic(http.ErrAbortHandler)
	case errors.Is(err, wasm.ErrAborted):
		e.handler.report(r, e.generation.Config.Name, err)
		panic(http.ErrAbortHandler)
	default:
		e.handler.fail(w, r, e.generation.Config.Name, err)
	}
}

// again hands a request to the generation that replaced this one.
func (e *endpoint) again(w http.ResponseWriter, r *http.Request) {
	swaps, _ := r.Context().Value(swapsKey{}).(int)
	if swaps == maxSwaps {
		e.handler.fail(w, r, e.generation.Config.Name, wasm.ErrDraining)
		return
	}
	e.handler.ServeHTTP(w, r.WithContext(contextWithSwaps(r.Context(), swaps+1)))
}
