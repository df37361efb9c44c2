package telemetry

import (
	"bufio"
	"net"
	"net/http"
	"time"
)

// writer remembers the status and the size of an answer, and when it began. Flushing, hijacking and everything that
// an http.ResponseController does keep working through it. It hides io.ReaderFrom on purpose: bytes
// that go past Write are not counted.
type writer struct {
	http.ResponseWriter
	of      *record       // whose writer it is
	status  int           // 0 until the head is written
	began   time.Duration // when that was, since the tracker's start
	bytes   int64
	flushed int64 // of bytes
}

// head notes the final status, once.
func (w *writer) head(status int) {
	if w.status == 0 {
		w.status, w.began = status, w.of.tracker.uptime()
	}
}

// WriteHeader remembers the final status; informational ones pass.
func (w *writer) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.head(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write counts what was taken. To HEAD net/http takes everything and sends none of it.
func (w *writer) Write(p []byte) (int, error) {
	w.head(http.StatusOK)
	n, err := w.ResponseWriter.Write(p)
	if w.of.method != http.MethodHead {
		w.bytes += int64(n)
	}
	return n, err
}

// Flush implements http.Flusher for code that asserts it.
func (w *writer) Flush() { _ = w.FlushError() }

// FlushError is what http.ResponseController looks for.
func (w *writer) FlushError() error {
	w.head(http.StatusOK)
	w.flushed = w.bytes
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack implements http.Hijacker for code that asserts it. The connection counts as a websocket
// from here until it is closed.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.head(http.StatusSwitchingProtocols)
	return w.of.upgrade(conn), rw, nil
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
