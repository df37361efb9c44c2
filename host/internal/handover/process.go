package handover

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// start runs the program with the sockets and the pipe's writing end as file descriptors from firstFD on.
//
// It does without os/exec: os.File.Fd puts what is behind a descriptor into blocking mode, which our own copy of the
// socket shares, and an Accept that blocks cannot be stopped any more.
func (s *Sockets) start(program string, c Command, report *os.File) (*os.Process, error) {
	s.mu.Lock()
	open := slices.Clone(s.open)
	s.mu.Unlock()
	env, err := s.environ(c, open)
	if err != nil {
		return nil, err
	}
	files := []uintptr{0, 1, 2}
	defer func() {
		for _, fd := range files[firstFD:] {
			_ = unix.Close(int(fd))
		}
	}()
	held := make([]syscall.Conn, 0, len(open)+1)
	for _, o := range open {
		held = append(held, o.listener)
	}
	for _, h := range append(held, report) {
		fd, err := duplicate(h)
		if err != nil {
			return nil, err
		}
		files = append(files, fd)
	}
	pid, _, err := syscall.StartProcess(program, c.Args, &syscall.ProcAttr{Env: env, Files: files})
	if err != nil {
		return nil, err
	}
	return os.FindProcess(pid)
}

// duplicate returns another descriptor of what c has; the caller closes it.
func duplicate(c syscall.Conn) (uintptr, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var fd int
	var failed error
	if err := raw.Control(func(old uintptr) { fd, failed = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, firstFD) }); err != nil {
		return 0, err
	}
	return uintptr(fd), failed
}

// adopt makes a file of a descriptor that this process was handed, and keeps it from the processes that this one starts.
func adopt(fd int, name string) *os.File {
	unix.CloseOnExec(fd)
	_ = unix.SetNonblock(fd, true) // so that Go's poller takes it
	return os.NewFile(uintptr(fd), name)
}

// listens fails for what is no listening socket: a connection as inetd hands over, or a descriptor of something else, which is perhaps
// the runtime's own and must be left alone.
func listens(fd int) error {
	switch on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); {
	case err != nil:
		return fmt.Errorf("it is no socket: %w", err)
	case on == 0:
		return errors.New("it does not listen: the socket unit needs ListenStream= and Accept=no")
	}
	return nil
}

// isPipe says whether a descriptor is a pipe.
func isPipe(fd int) bool {
	var stat unix.Stat_t
	return unix.Fstat(fd, &stat) == nil && stat.Mode&unix.S_IFMT == unix.S_IFIFO
}

// sendFile sends a text with a descriptor. net.UnixConn does so only where it is not connected.
func sendFile(conn *net.UnixConn, text string, f *os.File) error {
	fd, err := duplicate(f)
	if err != nil {
		return err
	}
	defer unix.Close(int(fd))
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Write(func(to uintptr) bool {
		failed = unix.Sendmsg(int(to), []byte(text), unix.UnixRights(int(fd)), nil, 0)
		return failed != unix.EAGAIN
	}); err != nil {
		return err
	}
	return failed
}
