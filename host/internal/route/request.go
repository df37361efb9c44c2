package route

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/server"
	"github.com/patchbay-run/patchbay/host/internal/telemetry"
	"github.com/patchbay-run/patchbay/host/internal/trace"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

func contextWithSwaps(ctx context.Context, n int) context.Context {
	return context.WithValue(ctx, swapsKey{}, n)
}

// harmless are the request headers that reach every plugin. Whatever tells who the client is, or comes from a
// proxy, needs a grant.
func harmless() []string {
	return []string{
		"Accept", "Accept-Language", "Accept-Encoding", "Cache-Control", "Content-Type", "Content-Encoding", "Content-Length",
		"If-Match", "If-Modified-Since", "If-None-Match", "If-Unmodified-Since", "Last-Event-Id", "Origin", "Pragma", "Range",
		"Traceparent", "Tracestate", "User-Agent", "X-Request-Id", "X-Stream-Events",
	}
}

// fields describes a request to the guest; sdk/ABI.md, section 7.
func (e *endpoint) fields(ctx context.Context, r *http.Request) ([]abi.Field, error) {
	fields := make([]abi.Field, 0, 8+len(e.params)+len(r.Header))
	client := ""
	if addr := server.ClientAddr(r); addr.IsValid() {
		client = addr.String()
	}
	fields = append(fields,
		abi.Field{Name: ":method", Value: r.Method},
		abi.Field{Name: ":path", Value: r.URL.EscapedPath()},
		abi.Field{Name: ":query", Value: r.URL.RawQuery},
		abi.Field{Name: ":host", Value: r.Host},
		abi.Field{Name: ":client", Value: client},
		abi.Field{Name: ":id", Value: telemetry.RequestID(r.Context())},
	)
	for _, name := range e.params {
		fields = append(fields, abi.Field{Name: ":param." + name, Value: r.PathValue(name)})
	}
	traced := trace.Of(ctx)
	if traced.Parent != "" { // the plugin's own place in the trace, not its client's
		fields = append(fields, abi.Field{Name: "traceparent", Value: traced.Parent})
	}
	if traced.State != "" {
		fields = append(fields, abi.Field{Name: "tracestate", Value: traced.State})
	}
	for name, values := range r.Header {
		lower, ok := e.passed[name]
		if !ok || traced.Parent != "" && (name == "Traceparent" || name == "Tracestate") {
			continue
		}
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
	ctl     http.ResponseController

	mu      sync.Mutex // guards what follows; not held while reading
	reading bool
	closed  bool
	back    chan struct{} // closed when the Read that is under way at Close is back
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	}
	b.reading = true
	b.mu.Unlock()
	n, err := b.request.Body.Read(p)
	b.mu.Lock()
	b.reading = false
	if b.back != nil {
		close(b.back)
		b.back = nil
	}
	b.mu.Unlock()
	return n, bodyError(err)
}

// bodyError tells a body that is too long and a malformed one from a client that left or sends no more.
func bodyError(err error) error {
	var over *http.MaxBytesError
	var network net.Error
	switch {
	case err == nil, err == io.EOF:
		return err
	case errors.As(err, &over):
		return &wasm.LimitError{Limit: over.Limit}
	case errors.As(err, &network), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, http.ErrBodyReadAfterClose):
		return fmt.Errorf("%w: %w", errLeft, err)
	}
	return fmt.Errorf("%w: %w", errBadBody, err)
}

// Duplex lets the guest read on while it answers.
func (b *body) Duplex() { _ = b.ctl.EnableFullDuplex() }

// Close ends a Read that waits for the client. The connection cannot be used again then. The server puts a deadline of
// its own in front of each read, perhaps just after ours: so ours is set until the Read is back.
func (b *body) Close() error {
	b.mu.Lock()
	b.closed = true
	if b.reading && b.back == nil {
		b.back = make(chan struct{})
	}
	back := b.back
	b.mu.Unlock()
	for back != nil {
		_ = b.ctl.SetReadDeadline(time.Now())
		select {
		case <-back:
			back = nil
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}
