package telemetry

import (
	"bufio"
	"math"
	"net"
	"net/http"
	"time"
)

// writer remembers the status and the size of an answer. Flushing, hijacking and everything that
// an http.ResponseController does keep working through it. It hides io.ReaderFrom on purpose: bytes
// that go past Write are not counted.
type writer struct {
	http.ResponseWriter
	status   int // 0 until the head is written
	clock    func() time.Duration
	head     time.Duration // when it was written, by clock; noHead until then
	bytes    int64
	onHijack func()
}

const noHead = time.Duration(math.MinInt64 / 2) // any moment taken off it is still below 0

// began notes the final status.
func (w *writer) began(status int) {
	if w.status == 0 {
		w.status, w.head = status, w.clock()
	}
}

// WriteHeader remembers the final status; informational ones pass.
func (w *writer) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.began(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write counts what was taken.
func (w *writer) Write(p []byte) (int, error) {
	w.began(http.StatusOK)
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Flush implements http.Flusher for code that asserts it.
func (w *writer) Flush() { _ = w.FlushError() }

// FlushError is what http.ResponseController looks for.
func (w *writer) FlushError() error {
	w.began(http.StatusOK)
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack implements http.Hijacker for code that asserts it. The connection counts as a websocket
// from here until the handler returns.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.began(http.StatusSwitchingProtocols)
	w.onHijack()
	return conn, rw, nil
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
