// Package server takes requests off a listener and guards what lies behind it: every wait for a
// client has an end, every size a bound, and whatever is refused is refused in one JSON shape.
//
// It knows nothing of routes. A handler gets a request whose body cannot grow beyond the limit and
// a writer that gives up on a client that no longer reads; it must not set deadlines itself.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// stopGrace is how long handlers may take to return once their connections are closed.
const stopGrace = 5 * time.Second

// errStopping is the cause that handlers see when the drain time-out has cut them off.
var errStopping = errors.New("server: stopping")

// Options are what a Server is made from.
type Options struct {
	// Config must be complete, as config.Load returns it; zero sizes and times are no bound.
	Config  config.Server
	Handler http.Handler
	Log     *slog.Logger // nil is silent
	// Error writes the answers that are the server's own: 431, 500 and 505. It gets a writer that
	// nothing was written to. nil is WriteDetail.
	Error func(w http.ResponseWriter, r *http.Request, status int, detail string)
	// Refused is told of each answer to what could not be read as a request, so that nobody else sees it: 400, 431 and others, and
	// plain HTTP on a TLS port. It returns the answer's X-Request-Id. nil is none.
	Refused func(status int) (id string)
}

// Server serves one listener. Make it with New, use it once.
type Server struct {
	config   config.Server
	next     http.Handler
	log      *slog.Logger
	fail     func(w http.ResponseWriter, r *http.Request, status int, detail string)
	refused  func(status int) (id string)
	proxies  proxies
	tls      *tls.Config // nil is plain HTTP
	handlers handlers
	once     sync.Once
	ending   *ending
	last     atomic.Bool // every answer is the last of its connection
	gate     atomic.Pointer[gate]
}

// New checks the proxies and loads the certificate; nothing is opened and nothing needs closing.
func New(o Options) (*Server, error) {
	s := &Server{config: o.Config, next: o.Handler, log: o.Log, fail: o.Error, refused: o.Refused, ending: newEnding()}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.fail == nil {
		s.fail = func(w http.ResponseWriter, _ *http.Request, status int, detail string) {
			WriteDetail(w, status, detail)
		}
	}
	if s.refused == nil {
		s.refused = func(int) string { return "" }
	}
	var errs [2]error
	s.proxies, errs[0] = parseProxies(o.Config.TrustedProxies)
	s.tls, errs[1] = loadTLS(o.Config.TLS)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	return s, nil
}

// Serve answers requests from ln, which it closes, until ctx is done, ln fails or Drain is called.
// Then it accepts no more, closes idle connections when they have had their time (at once, unless
// Drain gives them some), waits up to the drain time-out for requests to end, closes what is left,
// hijacked connections too, and returns when the handlers have. The error is nil after an orderly
// stop, and says so when requests had to be cut off.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	err := errors.New("serve: a server serves once; make another with New")
	s.once.Do(func() { err = s.serve(ctx, ln) })
	return err
}

func (s *Server) serve(ctx context.Context, ln net.Listener) error {
	// Requests outlive ctx until the drain time-out.
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)

	gate := newGate(ln, s.config.MaxConns)
	s.gate.Store(gate)
	var front net.Listener = &plainListener{gate, s.refused}
	if s.tls != nil {
		front = newTLSListener(gate, s.tls, s.config.ReadHeaderTimeout, s.log, s.refused)
	}
	maxHeader := int(s.config.MaxHeader)
	if s.tls != nil {
		// HTTP/2 answers its own 431 in HTML; up to here ours comes first.
		maxHeader *= 2
	}
	srv := &http.Server{
		Handler:           http.HandlerFunc(s.handle),
		ReadHeaderTimeout: s.config.ReadHeaderTimeout,
		IdleTimeout:       s.config.IdleTimeout,
		MaxHeaderBytes:    maxHeader,
		TLSConfig:         s.tls,
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       withConn,
		ConnState:         gate.onState,
		ErrorLog:          log.New(logWriter{s.log}, "", 0),
		// An "OPTIONS *" with half a body would hold net/http's own answer for ever.
		DisableGeneralOptionsHandler: true,
		HTTP2:                        &http.HTTP2Config{WriteByteTimeout: s.config.WriteTimeout, SendPingTimeout: s.config.IdleTimeout},
	}

	var (
		failed error
		over   = make(chan struct{})
	)
	go func() {
		failed = srv.Serve(front)
		close(over)
	}()
	var errs []error
	select {
	case <-over:
		errs = append(errs, fmt.Errorf("accept: %w", failed))
	case <-ctx.Done():
	case <-s.ending.begun:
	}
	if len(errs) > 0 || ctx.Err() != nil {
		s.Drain(Drain{Requests: s.config.DrainTimeout, Setting: "drain_timeout"})
	}
	defer s.ending.stop()

	drain, idle := s.ending.requests, s.ending.idleOver
	_ = gate.Close()
	close(s.ending.closed)
	// What was accepted and has not shaken hands yet may still do so.
	select {
	case <-over:
	case <-idle.Done():
		_ = front.Close()
		<-over
	}
	select {
	case <-gate.drain(s.ending.grace()):
	case <-idle.Done():
	}
	gate.stop()
	err := srv.Shutdown(drain)
	// Hijacked connections and their handlers are not what Shutdown waits for; their owner stops them.
	if err != nil && gate.busy() || !s.handlers.wait(drain) || !gate.hijacked.wait(drain) {
		errs = append(errs, s.ending.cut(s.handlers.count()))
	}
	cancel(errStopping)
	gate.closeAll() // before srv's, whose closing may linger, one connection after the other
	_ = srv.Close()
	grace, stopWaiting := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer stopWaiting()
	if !s.handlers.wait(grace) {
		errs = append(errs, fmt.Errorf("handlers still run %v after their connections were closed", stopGrace))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return nil
}

// Connections returns how many are open.
func (s *Server) Connections() int {
	if g := s.gate.Load(); g != nil {
		return g.count()
	}
	return 0
}

// logWriter takes net/http's own complaints, which are about clients.
type logWriter struct{ log *slog.Logger }

func (l logWriter) Write(p []byte) (int, error) {
	l.log.Debug("http", "message", strings.TrimSpace(string(p)))
	return len(p), nil
}
