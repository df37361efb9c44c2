package server

import (
	"bufio"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// writeChunk is the most that one write deadline covers. A client has to take this much within the
// write time-out; a larger write is progress in parts.
const writeChunk = 16 << 10

// exchange is one request and its answer, seen from the connection: it puts a deadline in front of
// everything that waits for the client.
//
// HTTP/1 deadlines belong to the connection and matter only while something reads or writes, so
// they are left to expire. An HTTP/2 deadline is a timer that resets the stream when it fires, so
// it is taken back after each step.
//
// All of it is one allocation.
type exchange struct {
	http.ResponseWriter
	ctl      http.ResponseController // of ResponseWriter
	conn     *plainConn              // nil with HTTP/2
	body     body
	timeout  time.Duration // of a write; 0 is none
	timers   bool          // deadlines are HTTP/2's
	wrote    bool          // a final status is out
	hijacked bool
	last     *atomic.Bool // the answer is the last of its connection
}

func newExchange(w http.ResponseWriter, r *http.Request, conn *plainConn, c config.Server, last *atomic.Bool) *exchange {
	x := &exchange{
		ResponseWriter: w,
		ctl:            *http.NewResponseController(w),
		conn:           conn,
		timeout:        c.WriteTimeout,
		timers:         r.ProtoMajor == 2,
		last:           last,
	}
	x.body.begin(w, r, &x.ctl, c)
	return x
}

// began reports whether a part of the answer may have reached the client.
func (x *exchange) began() bool { return x.wrote || x.hijacked }

// head is called before a final status goes out.
func (x *exchange) head(status int) {
	if x.wrote || x.hijacked || (status < 200 && status != http.StatusSwitchingProtocols) {
		return
	}
	x.wrote = true
	if x.last.Load() && status != http.StatusSwitchingProtocols {
		x.Header().Set("Connection", "close")
	}
	if !x.timers && status != http.StatusSwitchingProtocols && !x.body.settle(x.Header().Get("Connection") != "close") {
		// What is left of the body must not be taken for the next request.
		x.Header().Set("Connection", "close")
		if x.conn != nil {
			x.conn.linger.Store(true)
		}
	}
}

// WriteHeader sends the head with the first write or flush.
func (x *exchange) WriteHeader(status int) {
	x.head(status)
	x.ResponseWriter.WriteHeader(status)
}

// Write fails with os.ErrDeadlineExceeded when the client takes nothing for the write time-out.
func (x *exchange) Write(p []byte) (int, error) {
	x.head(http.StatusOK)
	done := 0
	for {
		part := p[done:min(len(p), done+writeChunk)]
		x.arm()
		n, err := x.ResponseWriter.Write(part)
		x.disarm()
		done += n
		if err != nil || done == len(p) {
			return done, err
		}
	}
}

// Flush implements http.Flusher for code that asserts it.
func (x *exchange) Flush() { _ = x.FlushError() }

// FlushError is what http.ResponseController looks for; it fails as Write does.
func (x *exchange) FlushError() error {
	x.head(http.StatusOK)
	x.arm()
	defer x.disarm()
	return x.ctl.Flush()
}

// Hijack implements http.Hijacker. The connection comes without deadlines; the caller closes it.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := x.ctl.Hijack()
	if err == nil {
		x.hijacked = true
		x.body.leave()
	}
	return conn, rw, err
}

// EnableFullDuplex lets a handler go on reading the body once it has begun to answer.
func (x *exchange) EnableFullDuplex() error {
	if err := x.ctl.EnableFullDuplex(); err != nil {
		return err
	}
	x.body.keepReading()
	return nil
}

// Unwrap lets http.ResponseController reach net/http's writer.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// arm sets the deadline of a write.
func (x *exchange) arm() {
	if x.timeout > 0 {
		_ = x.ctl.SetWriteDeadline(time.Now().Add(x.timeout))
	}
}

func (x *exchange) disarm() {
	if x.timeout > 0 && x.timers {
		_ = x.ctl.SetWriteDeadline(time.Time{})
	}
}

// finish leaves deadlines for what net/http does after the handler: it flushes, and reads a rest of
// the body.
func (x *exchange) finish(returned bool) {
	if x.hijacked {
		return
	}
	if returned {
		x.head(http.StatusOK)
	}
	x.body.abandon(returned)
	x.arm()
}
