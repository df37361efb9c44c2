package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	readHeaderTimeout = 10 * time.Second
	readBodyTimeout   = 30 * time.Second
	writeTimeout      = 10 * time.Second // of one write; a stream may last as long as it moves
	idleTimeout       = 60 * time.Second // longer than the host's pools keep a connection, so that they close it first
	maxHeaderBytes    = 64 << 10
)

// CheckLoopback says why an address to listen on, "host:port", would be reached by other machines; nil when it would
// not. The demo has no authentication, so an address without a host (all interfaces) or with a name other than
// localhost is refused too.
func CheckLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("demo address %q is not host:port: %w", addr, err)
	}
	if host == "localhost" {
		return nil
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return fmt.Errorf("demo address %q is not a loopback address: the demo has no authentication; use 127.0.0.1 or [::1], or allow remote clients", addr)
}

// Listen opens a TCP listener on addr, "host:port"; port 0 picks a free one. The caller closes it, or hands it to
// Serve, which does. Without Options.AllowRemote only a loopback address is accepted.
func (s *Server) Listen(ctx context.Context, addr string) (net.Listener, error) {
	if !s.opts.AllowRemote {
		if err := CheckLoopback(addr); err != nil {
			return nil, err
		}
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("demo upstream: %w", err)
	}
	return ln, nil
}

// Serve answers on ln until ctx ends, then cuts the requests that are running and returns nil when every connection
// has ended. It returns an error at once when ln is not a loopback listener and Options.AllowRemote is not set, or
// when accepting fails. It closes ln in every case. Several calls may run at the same time.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	if err := s.checkListener(ln); err != nil {
		return errors.Join(err, ln.Close())
	}
	// Running requests end with it. Closing their connections is not enough: net/http does not notice that while a
	// further request waits on the connection.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var conns sync.WaitGroup
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: readHeaderTimeout,
		// No ReadTimeout: net/http would apply it to its watch for the client's leaving as well, and so cut long
		// streams. The body has a deadline of its own, see readBody.
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
		ErrorLog:       slog.NewLogLogger(s.opts.Log.Handler(), slog.LevelWarn),
		BaseContext:    func(net.Listener) context.Context { return ctx },
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew: // before the connection's goroutine starts
				conns.Add(1)
				s.stats.conns.Add(1)
				s.stats.openConns.Add(1)
			case http.StateClosed: // the last thing that goroutine does
				s.stats.openConns.Add(-1)
				conns.Done()
			}
		},
	}
	accepting := make(chan error, 1)
	go func() { accepting <- srv.Serve(ln) }()

	var failure error
	select {
	case <-ctx.Done():
		_ = srv.Close()
		if err := <-accepting; !errors.Is(err, http.ErrServerClosed) {
			failure = err // accepting had failed by itself
		}
	case failure = <-accepting:
		stop()
	}
	// A connection that was accepted while the first Close ran is only known now.
	_ = srv.Close()
	conns.Wait()
	if failure != nil {
		return fmt.Errorf("demo upstream: accept connections: %w", failure)
	}
	return nil
}

func (s *Server) checkListener(ln net.Listener) error {
	if s.opts.AllowRemote {
		return nil
	}
	if _, ok := ln.Addr().(*net.UnixAddr); ok {
		return nil
	}
	return CheckLoopback(ln.Addr().String())
}
