package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	// lingerTime and lingerBytes bound how long a refused client may go on sending before its
	// connection is closed. Closing at once would reset it, and the answer could be lost with it.
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 1 << 20
)

// plainConn is a connection that speaks HTTP/1. net/http answers what is no request, or too large a
// one, by itself and in plain text, straight to the connection; no handler sees it. plainConn puts
// our shape in its place. It cannot mistake a handler's answer for one of those: it knows when a
// handler is at work.
type plainConn struct {
	net.Conn  // *conn, or *tls.Conn over one
	client    netip.Addr
	tell      func(status int) (id string)
	answering atomic.Bool // from a handler's start until its answer is out, and for ever once hijacked
	linger    atomic.Bool // the client may still be sending when this is closed
	refused   bool        // only the serving goroutine writes while nothing is answering
}

// tlsPlainConn lets net/http fill in Request.TLS.
type tlsPlainConn struct{ plainConn }

// plainListener hands out plainConns.
type plainListener struct {
	*gate
	tell func(status int) (id string) // of refusals
}

func (l *plainListener) Accept() (net.Conn, error) {
	c, err := l.gate.Accept()
	if err != nil {
		return nil, err
	}
	return &plainConn{Conn: c, tell: l.tell}, nil
}

// withConn is the server's ConnContext hook.
func withConn(ctx context.Context, nc net.Conn) context.Context {
	if _, plain := unwrap(nc); plain != nil {
		plain.client = parseHop(nc.RemoteAddr().String())
		return context.WithValue(ctx, clientKey{}, plain)
	}
	return ctx
}

// Write passes a handler's answer on and replaces net/http's own.
func (c *plainConn) Write(p []byte) (int, error) {
	if c.answering.Load() {
		return c.Conn.Write(p)
	}
	if !c.refused {
		c.refused = true
		c.linger.Store(true)
		// net/http may look for the end of a body after this, with no deadline of its own.
		_ = c.SetDeadline(time.Now().Add(lingerTime))
		status, detail := ownError(p)
		if err := refuse(c.Conn, c.tell, status, detail); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// NetConn is what net/http's connection was put around.
func (c *plainConn) NetConn() net.Conn { return c.Conn }

// CloseWrite ends our direction.
func (c *plainConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close lets a client that was refused read why.
func (c *plainConn) Close() error {
	if c.linger.CompareAndSwap(true, false) {
		_ = c.CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes)
	}
	return c.Conn.Close()
}

// refuse writes a whole answer that ends the connection.
func refuse(w io.Writer, tell func(status int) (id string), status int, detail string) error {
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	if id := tell(status); id != "" {
		head += "X-Request-Id: " + id + "\r\n"
	}
	body := detailJSON(detail)
	_, err := fmt.Fprintf(w, "%sContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", head, len(body), body)
	return err
}

// ownError reads "HTTP/1.1 400 Bad Request…\r\n…\r\n\r\n400 Bad Request: reason".
func ownError(p []byte) (status int, detail string) {
	line, _, _ := bytes.Cut(p, []byte("\r\n"))
	if f := bytes.Fields(line); len(f) > 1 {
		status, _ = strconv.Atoi(string(f[1]))
	}
	if status < 400 || status > 599 {
		status = http.StatusBadRequest
	}
	_, body, _ := bytes.Cut(p, []byte("\r\n\r\n"))
	body = bytes.TrimPrefix(body, []byte(strconv.Itoa(status)+" "))
	if len(body) == 0 {
		return status, http.StatusText(status)
	}
	return status, string(body)
}
