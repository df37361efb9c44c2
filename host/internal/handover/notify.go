package handover

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// barrierTimeout is how long systemd may take to have read what it was told.
const barrierTimeout = 5 * time.Second

// Notifier tells systemd how this process does, by sd_notify(3). The zero value tells nobody.
type Notifier struct {
	socket string // a path, or "@" and an abstract name
}

// NewNotifier takes the socket from environ, as os.Environ gives it; without NOTIFY_SOCKET nobody is told.
func NewNotifier(environ []string) Notifier {
	var n Notifier
	for _, entry := range environ {
		if v, ok := strings.CutPrefix(entry, "NOTIFY_SOCKET="); ok {
			n.socket = v
		}
	}
	return n
}

// Send sends assignments such as READY=1.
func (n Notifier) Send(assignments ...string) error { return n.send(false, assignments) }

// SendLast is Send for what a process says before it ends. It returns when systemd has read it: a message of a process that is
// gone is dropped, since nobody can say whose it was, and MAINPID= must not be.
func (n Notifier) SendLast(assignments ...string) error { return n.send(true, assignments) }

func (n Notifier) send(wait bool, assignments []string) error {
	if n.socket == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(barrierTimeout))
	if _, err := conn.Write([]byte(strings.Join(assignments, "\n"))); err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	if !wait {
		return nil
	}
	if err := barrier(conn); err != nil {
		return fmt.Errorf("notify systemd: wait until it has read: %w", err)
	}
	return nil
}

// barrier is sd_notify_barrier(3): the reader closes the pipe's end that it is sent when it has come to it.
func barrier(conn *net.UnixConn) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	err = sendFile(conn, "BARRIER=1", w)
	_ = w.Close()
	if err != nil {
		return err
	}
	if err := r.SetReadDeadline(time.Now().Add(barrierTimeout)); err != nil {
		return err
	}
	if _, err := r.Read(make([]byte, 1)); os.IsTimeout(err) {
		return err
	}
	return nil
}
