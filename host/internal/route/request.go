package route

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/server"
	"github.com/patchbay-run/patchbay/host/internal/telemetry"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

func contextWithSwaps(ctx context.Context, n int) context.Context {
	return context.WithValue(ctx, swapsKey{}, n)
}

// harmless says whether a request header reaches every plugin. Whatever tells who the client is, or comes from a
// proxy, needs a grant.
func harmless(name string) bool {
	switch name {
	case "Accept", "Accept-Language", "Accept-Encoding", "Cache-Control", "Content-Type", "Content-Encoding",
		"If-Match", "If-Modified-Since", "If-None-Match", "If-Unmodified-Since", "Last-Event-Id", "Origin", "Pragma", "Range",
		"Traceparent", "Tracestate", "User-Agent", "X-Request-Id", "X-Stream-Events":
		return true
	}
	return false
}

// fields describes a request to the guest; sdk/ABI.md, section 7.
func (e *endpoint) fields(r *http.Request) ([]abi.Field, error) {
	fields := make([]abi.Field, 0, 8+len(e.params)+len(r.Header))
	fields = append(fields,
		abi.Field{Name: ":method", Value: r.Method},
		abi.Field{Name: ":path", Value: r.URL.EscapedPath()},
		abi.Field{Name: ":query", Value: r.URL.RawQuery},
		abi.Field{Name: ":host", Value: r.Host},
		abi.Field{Name: ":client", Value: server.ClientAddr(r).String()},
		abi.Field{Name: ":id", Value: telemetry.RequestID(r.Context())},
	)
	for _, name := range e.params {
		fields = append(fields, abi.Field{Name: ":param." + name, Value: r.PathValue(name)})
	}
	for name, values := range r.Header {
		if !harmless(name) && !e.headers[name] {
			continue
		}
		lower := strings.ToLower(name)
		for _, v := range values {
			fields = append(fields, abi.Field{Name: lower, Value: v})
		}
	}
	if len(fields) > abi.MaxFields || abi.BlockSize(fields) > abi.MaxBlock {
		return nil, errHeadTooLarge
	}
	return fields, nil
}

// body is a request's body for the engine. The server in front of it bounds it and its waits.
type body struct {
	request *http.Request
	ctl     *http.ResponseController
	reading atomic.Bool
}

func (b *body) Read(p []byte) (int, error) {
	b.reading.Store(true)
	n, err := b.request.Body.Read(p)
	b.reading.Store(false)
	var over *http.MaxBytesError
	if errors.As(err, &over) {
		err = &wasm.LimitError{Limit: over.Limit}
	}
	return n, err
}

// Duplex lets the guest read on while it answers.
func (b *body) Duplex() { _ = b.ctl.EnableFullDuplex() }

// Close ends a Read that waits for the client. The connection cannot be used again then.
func (b *body) Close() error {
	if b.reading.Load() {
		_ = b.ctl.SetReadDeadline(time.Now())
	}
	return nil
}
