//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"

	"github.com/patchbay-run/patchbay/host/internal/guesttest"
)

// TestStopInSteps has the time of the delay for its first look, and takes a longer one when the machine hesitated.
func TestStopInSteps(t *testing.T) {
	for _, delay := range []string{"2s", "15s", "1m"} {
		err := stopInSteps(t, delay)
		if err == nil {
			return
		}
		t.Logf("stop_delay %s: %v", delay, err)
	}
	t.Error("no connection is let in during the delay")
}

// stopInSteps fails when it comes too late to be let in.
func stopInSteps(t *testing.T, delay string) error {
	n := install(t, "stop_delay: "+delay)
	n.start(nil, nil)
	rest, gone := n.stream(held), n.feed()
	if status, _, last := n.get("/readyz"); status != 200 || last {
		t.Errorf("/readyz before: %d, last %v", status, last)
	}
	pid := n.signal(syscall.SIGTERM)
	n.says("msg=stopping")
	if status, body, last, err := n.try("/readyz"); err != nil {
		return err
	} else if status != 503 || !strings.Contains(body, "Draining") || !last {
		t.Errorf("/readyz while it stops: %d %s, last %v", status, body, last)
	}
	if status, _, last, err := n.try("/livez"); err != nil {
		return err
	} else if status != 200 || !last {
		t.Errorf("a request while it stops: %d, last %v", status, last)
	}
	n.says("no new connections are accepted")
	if c, err := net.Dial("tcp", n.public); err == nil {
		c.Close()
		t.Error("a new connection is let in after the delay")
	}
	// The admin listener goes last.
	token, _ := os.ReadFile(filepath.Join(guesttest.Cache(t), "server", "admin-token"))
	req, _ := http.NewRequest("GET", "http://"+n.admin+"/readyz?verbose", nil)
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	if resp, err := http.DefaultClient.Do(req); err != nil {
		t.Error(err)
	} else {
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 503 || !strings.Contains(string(b), "it drains") {
			t.Errorf("the admin listener says %d %s", resp.StatusCode, b)
		}
	}
	if code := <-gone; code != websocket.CloseGoingAway {
		t.Errorf("the feed was closed with %d", code)
	}
	close(n.held)
	n.whole(rest)
	if code := n.ended(pid); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n.pid() != 0 {
		t.Error("the pid file is left")
	}
	return nil
}

func TestStopCutsAndSaysSo(t *testing.T) {
	for _, c := range []struct {
		name, server string
		signals      int
		want         string
	}{
		{"the drain is over", "drain_timeout: 200ms", 1, "1 requests were still running after server.drain_timeout (200ms)"},
		{"a second signal", "drain_timeout: 10m", 2, "a second signal ended it at once: 1 requests were cut off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := install(t, c.server)
			n.start(nil, nil)
			rest := n.stream(held)
			var pid int
			for range c.signals {
				pid = n.signal(syscall.SIGTERM)
				n.says("msg=stopping")
			}
			if code := n.ended(pid); code != 1 {
				t.Errorf("exit code %d", code)
			}
			if text, err := rest(); err == nil || strings.Contains(text, "[DONE]") {
				t.Errorf("the stream was not cut: %v", err)
			}
			n.says(c.want)
			if n.pid() != 0 {
				t.Error("the pid file is left")
			}
		})
	}
}

// TestALogThatNobodyReads: a server outlives who read its log.
func TestALogThatNobodyReads(t *testing.T) {
	n := install(t, "drain_timeout: 2s")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n.first = exec.Command(n.program, "serve", "--config", n.config, "--pid-file", filepath.Join(n.dir, "pid"))
	n.first.Stderr, n.first.Env = w, []string{"PATH=" + n.dir + ":" + os.Getenv("PATH")}
	err = n.first.Start()
	_ = w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.first.Process.Kill() })
	n.until("it serves", func() bool { return n.pid() > 0 })
	_ = r.Close()
	for range 3 {
		if status, _, _ := n.get("/nothing"); status != 404 {
			t.Errorf("/nothing: %d", status)
		}
		time.Sleep(100 * time.Millisecond) // its line is written meanwhile
	}
	if code := n.ended(n.signal(syscall.SIGTERM)); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestALogBesideTheConfiguration: what is said of a broken file is no reason to look at it again.
func TestALogBesideTheConfiguration(t *testing.T) {
	n := install(t, "drain_timeout: 2s")
	n.start(nil, nil)
	const stays = "the configuration stays as it was"
	n.configure("nonsense: true")
	n.says(stays)
	time.Sleep(3 * time.Second) // ten times as long as files must lie still
	// The file's own change may be looked at more than once, when its events come apart.
	if said := strings.Count(n.log(), stays); said > 4 {
		t.Errorf("it is said %d times", said)
	}
	n.ended(n.signal(syscall.SIGTERM))
}

// TestReplaceLosesNothing: while the program is replaced again and again, no request of clients that keep their
// connections, of clients that do not, and no stream is refused, reset or cut.
func TestReplaceLosesNothing(t *testing.T) {
	n := install(t, "drain_timeout: 1m")
	n.start(nil, nil)
	var (
		load sync.WaitGroup
		done = make(chan struct{})
		kept atomic.Int64 // requests on a connection that was there
		all  atomic.Int64
		runs atomic.Int64 // streams
	)
	going := func() bool {
		select {
		case <-done:
			return false
		default:
			return !t.Failed()
		}
	}
	for i := range 8 {
		load.Go(func() {
			var c net.Conn
			var r *bufio.Reader
			for asked := 0; going(); asked++ {
				if c == nil {
					var err error
					if c, err = net.Dial("tcp", n.public); err != nil {
						t.Error(err)
						return
					}
					r, asked = bufio.NewReader(c), 0
				}
				_ = c.SetDeadline(time.Now().Add(patience))
				if _, err := io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
					t.Errorf("request %d of a connection: %v", asked, err)
					return
				}
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Errorf("request %d of a connection: %v", asked, err)
					return
				}
				b, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != 200 || string(b) != "ok\n" {
					t.Errorf("request %d of a connection: %d %q %v", asked, resp.StatusCode, b, err)
					return
				}
				all.Add(1)
				if asked > 0 {
					kept.Add(1)
				}
				if resp.Close || i%2 == 0 { // every other client takes a new connection each time
					c.Close()
					c = nil
				}
				time.Sleep(time.Duration(1+i*5) * time.Millisecond)
			}
			if c != nil {
				c.Close()
			}
		})
	}
	for range 2 {
		load.Go(func() {
			for going() {
				n.whole(n.stream(flowing))
				runs.Add(1)
			}
		})
	}
	gone := n.feed()
	for range 3 {
		before := all.Load()
		old := n.replace()
		if code := <-gone; code != websocket.CloseGoingAway {
			t.Errorf("the feed was closed with %d", code)
		}
		gone = n.feed()
		if code := n.ended(old); code != 0 {
			t.Errorf("the old process ended with %d", code)
		}
		n.until("requests are answered", func() bool { return t.Failed() || all.Load() > before })
	}
	n.until("there were enough requests on kept connections, and streams, to mean something", func() bool { return t.Failed() || kept.Load() >= 20 && runs.Load() >= 2 })
	close(done)
	load.Wait()
	t.Logf("%d requests, %d of them on kept connections, %d streams", all.Load(), kept.Load(), runs.Load())
	pid := n.signal(syscall.SIGTERM)
	if code := n.ended(pid); code != 0 {
		t.Errorf("the last process ended with %d", code)
	}
}

// TestReplaceThatFailsChangesNothing: the old process serves on and says why, and the next attempt works.
func TestReplaceThatFailsChangesNothing(t *testing.T) {
	n := install(t, "drain_timeout: 2s")
	program, err := os.Readlink(n.program)
	if err != nil {
		t.Fatal(err)
	}
	n.start(nil, nil)
	n.write(n.program, "#!/bin/sh\nexit 3\n")
	n.failsToReplace("has not become ready", "exit status 3")
	n.write(n.program, "#!/bin/sh\necho $$ >"+filepath.Join(n.dir, "pid")+"\nprintf ready >&5\nexec 5>&-\nexit 4\n")
	n.failsToReplace("was ready and has ended", "exit status 4")
	if err := os.Remove(n.program); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, n.program); err != nil {
		t.Fatal(err)
	}
	n.configure("nonsense: true")
	n.failsToReplace("cannot serve", "unknown key")
	n.configure("drain_timeout: 2s")
	if code := n.ended(n.replace()); code != 0 {
		t.Errorf("the old process ended with %d", code)
	}
	if code := n.ended(n.signal(syscall.SIGTERM)); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestReplaceThatTakesTooLong is another of those, with a time-out that is for nothing else.
func TestReplaceThatTakesTooLong(t *testing.T) {
	n := install(t, "upgrade_timeout: 1s\ndrain_timeout: 2s")
	n.start(nil, nil)
	n.write(n.program, "#!/bin/sh\nexec sleep 1000\n")
	n.failsToReplace("was not ready in time", "server.upgrade_timeout is over")
	if code := n.ended(n.signal(syscall.SIGTERM)); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// failsToReplace has the program replaced, which must fail, with words in the log.
func (n *node) failsToReplace(want ...string) {
	n.Helper()
	before := len(n.log())
	pid := n.signal(syscall.SIGUSR2)
	n.until("it says why", func() bool { return strings.Contains(n.log()[before:], "the server was not replaced and serves on") })
	for _, w := range want {
		if !strings.Contains(n.log()[before:], w) {
			n.Errorf("the log does not say %q", w)
		}
	}
	if n.pid() != pid {
		n.Error("the pid file is another process's")
	}
	if status, _, last := n.get("/readyz"); status != 200 || last {
		n.Errorf("/readyz: %d, last %v", status, last)
	}
}

// TestReplaceTwiceDuringAStream: a process that finishes something is not in the way of the next, and goes when it is told to.
func TestReplaceTwiceDuringAStream(t *testing.T) {
	n := install(t, "drain_timeout: 10ms\nupgrade_drain: 10m")
	n.start(nil, nil)
	whole := n.stream(held)
	first := n.replace()
	cut := n.stream(held)
	second := n.replace()
	if err := syscall.Kill(second, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	n.ended(second)
	n.says("1 requests were still running after server.drain_timeout (10ms)")
	if text, err := cut(); err == nil || strings.Contains(text, "[DONE]") {
		t.Errorf("the stream was not cut: %v", err)
	}
	close(n.held)
	n.whole(whole)
	if code := n.ended(first); code != 0 {
		t.Errorf("the process whose stream ended by itself ended with %d", code)
	}
	n.ended(n.signal(syscall.SIGTERM))
}

// TestReplaceWithAnotherAddress: a setting of the listeners takes effect, too.
func TestReplaceWithAnotherAddress(t *testing.T) {
	n := install(t, "drain_timeout: 2s")
	n.start(nil, nil)
	before := n.public
	n.public = freeAddr(t)
	n.configure("drain_timeout: 2s")
	if code := n.ended(n.replace()); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if status, _, _ := n.get("/readyz"); status != 200 {
		t.Errorf("/readyz: %d", status)
	}
	if c, err := net.Dial("tcp", before); err == nil {
		c.Close()
		t.Error("the old address is still open")
	}
	n.ended(n.signal(syscall.SIGTERM))
}

// TestSystemd: sockets come from systemd and stay its own, and it is told who serves.
func TestSystemd(t *testing.T) {
	n := install(t, "drain_timeout: 2s")
	var files []*os.File
	for _, addr := range []string{n.admin, n.public} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	told := make(chan string, 20)
	go func() {
		text, rights := make([]byte, 4096), make([]byte, 4096)
		for {
			k, m, _, _, err := manager.ReadMsgUnix(text, rights)
			if err != nil {
				return
			}
			if messages, _ := unix.ParseSocketControlMessage(rights[:m]); len(messages) > 0 {
				fds, _ := unix.ParseUnixRights(&messages[0])
				for _, fd := range fds {
					unix.Close(fd)
				}
			}
			if s := string(text[:k]); s != "BARRIER=1" {
				told <- s
			}
		}
	}()
	wants := func(want string) {
		t.Helper()
		select {
		case got := <-told:
			if got != want {
				t.Errorf("systemd was told %q, want %q", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("systemd was not told %q", want)
		}
	}
	n.write(n.config, strings.Replace(read(t, n.config), "listen: "+n.public, "listen: 127.0.0.1:1", 1)) // the unit says where
	n.start([]string{"LISTEN_FDS=2", "LISTEN_FDNAMES=admin:public", "NOTIFY_SOCKET=" + path}, files, "sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh")
	wants("READY=1")
	if status, _, _ := n.get("/readyz"); status != 200 {
		t.Errorf("/readyz: %d", status)
	}
	for range 2 {
		old := n.replace()
		wants(fmt.Sprintf("MAINPID=%d", n.pid()))
		if code := n.ended(old); code != 0 {
			t.Errorf("exit code %d", code)
		}
		if status, _, _ := n.get("/readyz"); status != 200 {
			t.Errorf("/readyz: %d", status)
		}
	}
	pid := n.signal(syscall.SIGTERM)
	wants("STOPPING=1")
	if code := n.ended(pid); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if c, err := net.Dial("tcp", n.public); err != nil {
		t.Errorf("systemd's socket was closed: %v", err)
	} else {
		c.Close()
	}
}
