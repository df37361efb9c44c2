package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// defaultHandshake bounds a handshake when no read_header_timeout does.
const defaultHandshake = 10 * time.Second

// loadTLS returns nil when TLS is not asked for.
func loadTLS(c config.TLS) (*tls.Config, error) {
	switch {
	case c.Cert == "" && c.Key == "":
		return nil, nil
	case c.Cert == "":
		return nil, errors.New("server.tls: key is set and cert is not; set both, or neither for plain HTTP")
	case c.Key == "":
		return nil, errors.New("server.tls: cert is set and key is not; set both, or neither for plain HTTP")
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("server.tls: load certificate %q with key %q (both PEM): %w", c.Cert, c.Key, err)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{pair},
		NextProtos:   []string{"h2", "http/1.1"},
	}, nil
}

// tlsListener does the handshakes itself, because net/http takes HTTP/2 only from a bare *tls.Conn
// and HTTP/1 needs a plainConn around it: which of the two is known after the handshake.
type tlsListener struct {
	*gate
	config  *tls.Config
	timeout time.Duration
	log     *slog.Logger
	tell    func(status int) (id string)
	ready   chan accepted
	ctx     context.Context // done when closed
	cancel  context.CancelFunc
	work    sync.WaitGroup // all goroutines
	shaking sync.WaitGroup // those that shake hands
}

type accepted struct {
	conn net.Conn
	err  error
}

// newTLSListener starts accepting; Close stops it and waits for its goroutines.
func newTLSListener(g *gate, c *tls.Config, timeout time.Duration, log *slog.Logger, tell func(status int) (id string)) *tlsListener {
	if timeout <= 0 {
		timeout = defaultHandshake
	}
	l := &tlsListener{gate: g, config: c, timeout: timeout, log: log, tell: tell, ready: make(chan accepted)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.work.Go(l.accept)
	return l
}

func (l *tlsListener) accept() {
	for {
		c, err := l.gate.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				// It is the last that is delivered: who was taken and is still shaking hands comes first.
				l.shaking.Wait()
			}
			// net/http decides which errors pass, and waits before it asks again.
			if !l.deliver(accepted{err: err}) || errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		l.shaking.Add(1)
		l.work.Go(func() {
			defer l.shaking.Done()
			l.handshake(c)
		})
	}
}

func (l *tlsListener) handshake(c net.Conn) {
	ctx, cancel := context.WithTimeout(l.ctx, l.timeout)
	defer cancel()
	t := tls.Server(c, l.config)
	if err := t.HandshakeContext(ctx); err != nil {
		if plain := new(tls.RecordHeaderError); errors.As(err, plain) && plain.Conn != nil && speaksHTTP(plain.RecordHeader) {
			p := &plainConn{Conn: plain.Conn}
			p.linger.Store(true)
			_ = p.SetWriteDeadline(time.Now().Add(lingerTime))
			_ = refuse(plain.Conn, l.tell, http.StatusBadRequest, "This port speaks HTTPS; use an https:// address.")
			_ = p.Close()
		}
		l.log.Debug("tls handshake", "client", c.RemoteAddr(), "error", err)
		_ = c.Close()
		return
	}
	var out net.Conn = t
	if t.ConnectionState().NegotiatedProtocol != "h2" {
		out = &tlsPlainConn{plainConn{Conn: t, tell: l.tell}}
	}
	if !l.deliver(accepted{conn: out}) {
		_ = c.Close()
	}
}

func (l *tlsListener) deliver(a accepted) bool {
	select {
	case l.ready <- a:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// Accept returns the next connection that has shaken hands.
func (l *tlsListener) Accept() (net.Conn, error) {
	select {
	case a := <-l.ready:
		return a.conn, a.err
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close stops accepting and breaks off handshakes.
func (l *tlsListener) Close() error {
	l.cancel()
	err := l.gate.Close()
	l.work.Wait()
	return err
}

// ConnectionState is what net/http looks for on a connection that is no *tls.Conn.
func (c *tlsPlainConn) ConnectionState() tls.ConnectionState {
	return c.Conn.(*tls.Conn).ConnectionState()
}

func speaksHTTP(head [5]byte) bool {
	switch string(head[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "PATCH", "DELET", "OPTIO":
		return true
	}
	return false
}
