// Package handover passes listening sockets from the process that served to the one that serves next, so that no client
// finds the port closed in between. It takes them from systemd too, by its protocol for socket activation.
//
// It knows processes and sockets, and nothing of what is served on them: who is replaced goes on until it is told that the new
// process is ready, and drains then as its owner sees fit.
package handover

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
)

const (
	// readyWord is what the new process writes into the pipe; anything else that comes is why it cannot serve.
	readyWord = "ready"
	// maxWords bounds what is read from the pipe, in bytes.
	maxWords = 4 << 10
)

// Sockets are the listening sockets of this process: those that it was handed and those that it opened. The zero value was
// handed none. All methods may be called by many goroutines.
type Sockets struct {
	mu     sync.Mutex // guards all below
	handed []handed
	open   []socket
	report *os.File // the pipe to the process that waits for us; nil: nobody does
}

// socket is one that this process listens on.
type socket struct {
	name     string
	address  string // what the configuration said when it was opened
	listener *net.TCPListener
}

// handed is a socket that this process was given and has not used yet.
type handed struct {
	place
	listener *net.TCPListener
}

// Inherit takes what environ, as os.Environ gives it, says that this process was handed, by systemd or by the process that it is to
// replace. It returns environ without the variables that said so: they are for this process alone. The error says what to change; everything
// handed is closed then.
func Inherit(environ []string) (*Sockets, []string, error) {
	s := &Sockets{}
	rest := slices.DeleteFunc(slices.Clone(environ), isOurs)
	p, err := parse(environ, os.Getpid(), os.Getppid())
	if err != nil {
		return s, rest, fmt.Errorf("take over listening sockets: %w", err)
	}
	if p.report > 0 && !isPipe(p.report) {
		return s, rest, fmt.Errorf("take over listening sockets: file descriptor %d is no pipe to the process before: unset %s", p.report, variable)
	}
	if p.report > 0 {
		s.report = adopt(p.report, "handover")
	}
	var errs []error
	for _, at := range p.places {
		l, err := listener(at)
		if err != nil {
			errs = append(errs, fmt.Errorf("socket %q (file descriptor %d): %w", at.Name, at.fd, err))
			continue
		}
		s.handed = append(s.handed, handed{at, l})
	}
	if err := errors.Join(errs...); err != nil {
		err = fmt.Errorf("take over listening sockets: %w", err)
		s.Failed(err)
		s.Close()
		return s, rest, err
	}
	return s, rest, nil
}

// listener returns what was handed over, if that is a TCP socket that listens.
func listener(at place) (*net.TCPListener, error) {
	if err := listens(at.fd); err != nil {
		return nil, err
	}
	f := adopt(at.fd, at.Name)
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	t, ok := l.(*net.TCPListener)
	if !ok {
		_ = l.Close()
		return nil, fmt.Errorf("it is a %s socket; want TCP", l.Addr().Network())
	}
	return t, nil
}

// Listen returns the socket of that name that this process was handed, or opens one. A socket of the process before is taken
// only when it was opened for the same address; one of systemd's always is, since its unit says where it listens. The caller closes the listener.
func (s *Sockets) Listen(name, address string) (net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, h := range s.handed {
		if h.Name == name && (h.Address == "" || h.Address == address) {
			s.handed = slices.Delete(s.handed, i, i+1)
			s.open = append(s.open, socket{name, h.Address, h.listener})
			return h.listener, nil
		}
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	s.open = append(s.open, socket{name, address, l.(*net.TCPListener)})
	return l, nil
}

// Handed returns the names of the sockets that this process was handed and that nobody has asked for.
func (s *Sockets) Handed() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, h := range s.handed {
		names = append(names, h.Name)
	}
	return names
}

// Replaces reports whether a process waits for this one to be ready.
func (s *Sockets) Replaces() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.report != nil
}

// Ready tells the process that is to be replaced to go, and closes the sockets that nobody asked for.
func (s *Sockets) Ready() {
	s.tell(readyWord)
	s.Close()
}

// Failed tells the process that waits for this one why it cannot serve.
func (s *Sockets) Failed(err error) { s.tell(err.Error()) }

func (s *Sockets) tell(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.report == nil {
		return
	}
	_, _ = io.WriteString(s.report, text[:min(len(text), maxWords)]) // it may have gone, and then nobody needs to know
	_ = s.report.Close()
	s.report = nil
}

// Close closes the sockets that nobody asked for. Listeners are their callers'.
func (s *Sockets) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.handed {
		_ = h.listener.Close()
	}
	s.handed = nil
}

// isOurs says whether a variable is one that Inherit reads.
func isOurs(entry string) bool {
	name, _, _ := strings.Cut(entry, "=")
	return slices.Contains([]string{variable, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}, name)
}
