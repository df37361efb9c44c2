package handover

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// manager is systemd's end of the notify socket.
func manager(t *testing.T) (*net.UnixConn, Notifier) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute)) // of a broken test
	return conn, NewNotifier([]string{"NOTIFY_SOCKET=" + path})
}

// read takes a message; descriptors that came with it are closed, as systemd does with a barrier.
func read(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	text, rights := make([]byte, 4096), make([]byte, 4096)
	n, m, _, _, err := conn.ReadMsgUnix(text, rights)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:m])
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range messages {
		fds, err := unix.ParseUnixRights(&message)
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
	return string(text[:n])
}

func TestSendLastReturnsWhenSystemdHasRead(t *testing.T) {
	conn, n := manager(t)
	sent := make(chan error, 1)
	go func() { sent <- n.SendLast("MAINPID=7", "STATUS=x") }()
	if got := read(t, conn); got != "MAINPID=7\nSTATUS=x" {
		t.Errorf("systemd read %q", got)
	}
	select {
	case err := <-sent:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	if got := read(t, conn); got != "BARRIER=1" {
		t.Errorf("systemd read %q", got)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestSend(t *testing.T) {
	conn, n := manager(t)
	if err := n.Send("READY=1"); err != nil { // nobody has read it yet
		t.Error(err)
	}
	if got := read(t, conn); got != "READY=1" {
		t.Errorf("systemd read %q", got)
	}
}

func TestSendWithoutSystemd(t *testing.T) {
	if err := (Notifier{}).Send("READY=1"); err != nil {
		t.Error(err)
	}
	gone := NewNotifier([]string{"NOTIFY_SOCKET=" + filepath.Join(t.TempDir(), "nothing")})
	if err := gone.Send("READY=1"); err == nil || !strings.Contains(err.Error(), "notify systemd") {
		t.Errorf("nobody was told, and it says %v", err)
	}
}

func TestPIDFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	remove, err := WritePID(path)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != strconv.Itoa(os.Getpid())+"\n" {
		t.Errorf("it holds %q, %v", b, err)
	}
	if err := os.WriteFile(path, []byte("1\n"), 0o600); err != nil { // a new process's
		t.Fatal(err)
	}
	remove()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("another process's file was removed: %v", err)
	}
	if remove, err = WritePID(path); err != nil {
		t.Fatal(err)
	}
	remove()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file is left: %v", err)
	}
	if _, err := WritePID(filepath.Join(path, "nowhere")); err == nil {
		t.Error("a file in a folder that is not there")
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
