package server

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// maxDrain is how much of an unread body is read to keep the connection, in bytes; net/http's own
// figure.
const maxDrain = 256 << 10

// body reads a request body with a deadline in front of each read and a bound on the whole.
//
// While a body is being read, HTTP/1's connection is ours. At its end net/http takes the deadline
// off and waits for the client to leave, with a read that a later deadline would break: it would
// cancel a handler that merely thinks for long. So none is set once the end was seen, and no read
// happens behind our back: what a handler left unread is settled here, before the head goes out.
type body struct {
	src     io.ReadCloser // bounded
	ctl     *http.ResponseController
	timeout time.Duration // between two reads; 0 is none
	timers  bool          // deadlines are HTTP/2's, which are taken back after each read
	expects bool          // the client waits for 100 Continue before it sends
	rest    int64         // of a declared length, -1 when not known

	mu      sync.Mutex // guards all below; not held while reading
	reading bool
	closed  bool // the handler may not read any more
	duplex  bool
	lost    bool  // the rest stays unread, the connection ends with this request
	err     error // what ended the body; io.EOF is the good end
}

// begin makes an empty body that of r.
func (b *body) begin(w http.ResponseWriter, r *http.Request, ctl *http.ResponseController, c config.Server) {
	b.src, b.ctl, b.timeout, b.timers = r.Body, ctl, c.ReadTimeout, r.ProtoMajor == 2
	b.expects, b.rest = r.Header.Get("Expect") != "", r.ContentLength
	switch limit := int64(c.MaxBody); {
	case r.Body == nil || r.Body == http.NoBody:
		b.src, b.err = http.NoBody, io.EOF
	case limit > 0 && r.ContentLength > limit:
		// Refused before a byte is read, and before the client is told to go on.
		b.err = &http.MaxBytesError{Limit: limit}
	case limit > 0:
		// It marks the connection through net/http's own writer.
		b.src = http.MaxBytesReader(w, r.Body, limit)
	}
}

// Read fails with os.ErrDeadlineExceeded when the client sends nothing for the read time-out, with
// *http.MaxBytesError beyond the limit, and with http.ErrBodyReadAfterClose once the answer to an
// HTTP/1 request has begun, unless EnableFullDuplex was called.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	}
	if b.err != nil || len(p) == 0 {
		defer b.mu.Unlock()
		return 0, b.err
	}
	b.reading = true
	b.deadline(b.timeout)
	b.mu.Unlock()
	return b.read(p)
}

func (b *body) read(p []byte) (int, error) {
	n, err := b.src.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	if b.rest > 0 {
		b.rest -= int64(n)
	}
	if err != nil {
		b.err = err
	}
	if b.timers && b.timeout > 0 {
		_ = b.ctl.SetReadDeadline(time.Time{})
	}
	return n, err
}

// Close ends the handler's reading. It does not read the rest: settle does, within a deadline.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

func (b *body) keepReading() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.duplex = true
}

// leave gives the connection away.
func (b *body) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.err == nil {
		b.err = http.ErrBodyReadAfterClose
	}
}

// settle is called before the head of an HTTP/1 answer goes out. It reads a small rest of the body,
// because a client may read nothing until it has sent everything, and reports whether the
// connection can carry another request. Without it net/http would do the same with no deadline. A handler that gives the
// connection up (keep is false) does not wait for the rest either.
func (b *body) settle(keep bool) bool {
	b.mu.Lock()
	if b.duplex || b.reading {
		// A reader at work has its deadline, and is stopped by closed once it comes back.
		b.closed = !b.duplex
		b.mu.Unlock()
		return true
	}
	b.closed = true
	small := keep && b.err == nil && !b.expects && b.rest <= maxDrain
	if small {
		b.deadline(b.timeout) // one for all of it
	}
	b.mu.Unlock()
	if small {
		b.drain()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost = !errors.Is(b.err, io.EOF)
	return !b.lost
}

func (b *body) drain() {
	buf := make([]byte, 4<<10)
	for total := 0; total <= maxDrain; {
		n, err := b.read(buf)
		if err != nil {
			return
		}
		total += n
	}
}

// abandon leaves a deadline for net/http, which looks for the body's end once the handler has
// returned: none at all to wait for when the connection is lost anyway.
func (b *body) abandon(returned bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	switch {
	case b.timers || errors.Is(b.err, io.EOF):
	case returned && !b.lost:
		b.deadline(b.timeout)
	default:
		_ = b.ctl.SetReadDeadline(time.Now())
	}
}

// deadline must be called under mu.
func (b *body) deadline(d time.Duration) {
	if d > 0 {
		_ = b.ctl.SetReadDeadline(time.Now().Add(d))
	}
}
