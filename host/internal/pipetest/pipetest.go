// Package pipetest is a listener in memory, for tests that own the clock: within a bubble of testing/synctest a socket never counts as idle, a
// pipe does. Its connections have no buffer: a write waits for the other side to read.
package pipetest

import (
	"net"
	"sync"
)

// Listener is a net.Listener whose connections come from Dial.
type Listener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// New makes a listener, which its owner closes.
func New() *Listener { return &Listener{conns: make(chan net.Conn), done: make(chan struct{})} }

// Dial waits until its connection is accepted, and gives the other end. It fails with net.ErrClosed when the listener is closed.
func (l *Listener) Dial() (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. It may be called again.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }
