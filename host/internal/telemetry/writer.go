package telemetry

import (
	"bufio"
	"net"
	"net/http"
)

// writer remembers the status and the size of an answer. Flushing, hijacking and everything that
// an http.ResponseController does keep working through it. It hides io.ReaderFrom on purpose: bytes
// that go past Write are not counted.
type writer struct {
	http.ResponseWriter
	status   int // 0 until the head is written
	bytes    int64
	onHijack func(net.Conn) net.Conn
}

// WriteHeader remembers the final status; informational ones pass.
func (w *writer) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write counts what was taken.
func (w *writer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Flush implements http.Flusher for code that asserts it.
func (w *writer) Flush() { _ = w.FlushError() }

// FlushError is what http.ResponseController looks for.
func (w *writer) FlushError() error {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack implements http.Hijacker for code that asserts it. The connection counts as a websocket
// from here until it is closed.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if w.status == 0 {
		w.status = http.StatusSwitchingProtocols
	}
	return w.onHijack(conn), rw, nil
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
