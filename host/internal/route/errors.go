package route

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/patchbay-run/patchbay/host/internal/keys"
	"github.com/patchbay-run/patchbay/host/internal/telemetry"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

var (
	errNotLoaded    = errors.New("the plugin is not loaded")
	errHeadTooLarge = errors.New("path, query and headers are over 64 KiB together")
	errLeft         = errors.New("the client left within its request")
	errBadBody      = errors.New("the request's body cannot be read")
)

// failure is what a client is told, and in a word the plugin's span. What is logged is the error itself.
type failure struct {
	kind       string // one of few
	status     int
	detail     string
	retryAfter int // seconds; 0 is none
}

// classify is the table of what goes wrong on the host's side of a plugin.
func classify(err error, name, id string) failure {
	var big *wasm.LimitError
	var trap *wasm.TrapError
	var answer *wasm.AnswerError
	var open *wasm.OpenError
	var headers *wasm.HeadersError
	var memory *wasm.MemoryError
	var cpu *wasm.CPUError
	var stack *wasm.StackError
	switch {
	case errors.As(err, &big):
		return failure{kind: "request", status: http.StatusRequestEntityTooLarge, detail: fmt.Sprintf("Request body over the limit of %d bytes", big.Limit)}
	case errors.Is(err, errHeadTooLarge):
		return failure{kind: "request", status: http.StatusRequestHeaderFieldsTooLarge, detail: "Path, query and headers over the limit of 65536 bytes"}
	case errors.Is(err, errBadBody), errors.Is(err, errLeft):
		return failure{kind: "request", status: http.StatusBadRequest, detail: "Request body could not be read"}
	case errors.Is(err, keys.ErrRevoked): // while the request was under way, as the next one
		return failure{kind: "key", status: http.StatusUnauthorized, detail: "The API key has been revoked"}
	case errors.Is(err, keys.ErrExpired):
		return failure{kind: "key", status: http.StatusUnauthorized, detail: "The API key has expired"}
	case errors.Is(err, wasm.ErrFull):
		return failure{"full", http.StatusServiceUnavailable, fmt.Sprintf("Plugin %q has as many requests as it may: try again", name), 1}
	case errors.As(err, &open):
		return failure{"unavailable", http.StatusServiceUnavailable, fmt.Sprintf("Plugin %q fails on every request: try again later", name), int(math.Ceil(open.RetryAfter.Seconds()))}
	case errors.Is(err, errNotLoaded):
		return failure{"unavailable", http.StatusServiceUnavailable, fmt.Sprintf("Plugin %q is not loaded", name), 10}
	case errors.Is(err, wasm.ErrNoWorker), errors.Is(err, wasm.ErrDraining), errors.Is(err, wasm.ErrStopped):
		return failure{"unavailable", http.StatusServiceUnavailable, fmt.Sprintf("Plugin %q is restarting: try again", name), 1}
	case errors.Is(err, wasm.ErrTimeout):
		return failure{kind: "timeout", status: http.StatusGatewayTimeout, detail: fmt.Sprintf("Plugin %q did not answer in time", name)}
	case errors.As(err, &memory):
		return failure{kind: "memory", status: http.StatusBadGateway, detail: fmt.Sprintf("Plugin %q was over its memory limit (id %s)", name, id)}
	case errors.As(err, &cpu):
		return failure{kind: "cpu", status: http.StatusBadGateway, detail: fmt.Sprintf("Plugin %q was over its CPU limit (id %s)", name, id)}
	case errors.As(err, &stack):
		return failure{kind: "stack", status: http.StatusBadGateway, detail: fmt.Sprintf("Plugin %q was over its stack limit (id %s)", name, id)}
	case errors.As(err, &trap):
		return failure{kind: "trap", status: http.StatusBadGateway, detail: fmt.Sprintf("Plugin %q failed (id %s)", name, id)}
	case errors.As(err, &answer):
		return failure{kind: "answer too large", status: http.StatusBadGateway, detail: fmt.Sprintf("Plugin %q gave an answer over its limit (id %s)", name, id)}
	case errors.As(err, &headers):
		return failure{kind: "answer too large", status: http.StatusBadGateway, detail: fmt.Sprintf("Plugin %q gave headers over its limit (id %s)", name, id)}
	}
	kind := "no answer"
	if errors.Is(err, wasm.ErrAborted) {
		kind = "aborted"
	}
	return failure{kind: kind, status: http.StatusBadGateway, detail: fmt.Sprintf("Plugin %q gave no answer (id %s)", name, id)}
}

// fail answers a request that has no answer yet.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, name string, err error) {
	if errors.Is(err, errLeft) { // the client sent half of a request: there is nobody to answer
		panic(http.ErrAbortHandler)
	}
	f := classify(err, name, telemetry.RequestID(r.Context()))
	if f.status >= http.StatusInternalServerError {
		h.report(r, name, err)
	}
	if f.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(f.retryAfter))
	}
	if f.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="patchbay", error="invalid_token"`)
	}
	Error(w, r, f.status, f.detail)
}

func (h *Handler) report(r *http.Request, name string, err error) {
	level := slog.LevelError
	if errors.Is(err, wasm.ErrWithdrawn) { // nothing is broken
		level = slog.LevelInfo
	}
	h.log.Log(r.Context(), level, "a request failed", "plugin", name, "request", telemetry.RequestID(r.Context()), "route", r.Pattern, "error", err)
}

// Error answers in the API's shape, {"detail": string}; below /v1, where OpenAI's clients look, in theirs. It has the
// signature of server.Options.Error.
func Error(w http.ResponseWriter, r *http.Request, status int, detail string) {
	var b []byte
	if strings.HasPrefix(r.URL.Path, "/v1/") || r.URL.Path == "/v1" {
		var e struct {
			Error struct {
				Message string `json:"message"`
				Type    string `json:"type"`
				Code    int    `json:"code"`
			} `json:"error"`
		}
		e.Error.Message, e.Error.Type, e.Error.Code = detail, "invalid_request_error", status
		if status >= http.StatusInternalServerError {
			e.Error.Type = "api_error"
		}
		b, _ = json.Marshal(e)
	} else {
		b, _ = json.Marshal(map[string]string{"detail": detail})
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}
