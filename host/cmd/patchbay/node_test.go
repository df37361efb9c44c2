//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"

	"github.com/patchbay-run/patchbay/host/internal/guesttest"
)

// patience keeps a broken test from hanging; nothing is expected to take that long.
const patience = 3 * time.Minute

// node is a server that may be replaced: its process is the one whose number is in the pid file.
type node struct {
	*testing.T
	dir, program, config string
	public, admin        string // addresses
	first                *exec.Cmd

	upstream string        // of chats, in this process
	held     chan struct{} // closed when the streams that are held may end
}

// install makes a folder with a program, a configuration and nothing that runs. server is more keys of that section, one a line.
func install(t *testing.T, server string) *node {
	t.Helper()
	// Processes whose parent has ended become ours, so that somebody waits for them.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	n := &node{T: t, dir: t.TempDir(), public: freeAddr(t), admin: freeAddr(t), held: make(chan struct{})}
	upstream := httptest.NewServer(http.HandlerFunc(n.chat))
	t.Cleanup(upstream.Close)
	n.upstream = upstream.URL
	n.program, n.config = filepath.Join(n.dir, "patchbay"), filepath.Join(n.dir, "host.yaml")
	program, err := exec.LookPath("patchbay")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, n.program); err != nil {
		t.Fatal(err)
	}
	n.configure(server)
	return n
}

// chat streams some words. A stream that is held waits after the first.
func (n *node) chat(w http.ResponseWriter, r *http.Request) {
	asked, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "text/event-stream")
	for range 30 {
		fmt.Fprint(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word\"}}]}\n\n")
		_ = http.NewResponseController(w).Flush()
		pause := time.After(20 * time.Millisecond)
		if strings.Contains(string(asked), held) {
			pause = nil
		}
		select {
		case <-pause:
		case <-n.held:
		case <-r.Context().Done():
			return
		}
	}
	fmt.Fprint(w, "data: [DONE]\n\n")
}

func (n *node) configure(server string) {
	n.Helper()
	n.write(n.config, fmt.Sprintf(`
server:
  listen: %s
  %s
admin: {listen: %s}
cache_dir: %q
upstreams:
  gpustack: {endpoints: [%q], private: true, chunk_timeout: 10m}
plugins:
  - name: inference
    source: %q
    routes: ["POST /api/inference/infer", "POST /api/inference/stream"]
    limits: {cpu: 1m, timeout: 10m}
    grant: {fetch: [{upstream: gpustack, methods: [POST], paths: [/v1/chat/completions]}]}
    config: {endpoint: "upstream://gpustack"}
`, n.public, strings.ReplaceAll(server, "\n", "\n  "), n.admin, filepath.Join(guesttest.Cache(n), "server"), n.upstream,
		guesttest.Build(n, filepath.Join(guesttest.Root(), "plugins", "inference"))))
}

// write replaces a file in one step.
func (n *node) write(path, text string) {
	n.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o700); err != nil {
		n.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		n.Fatal(err)
	}
}

// start runs the program, by way of a command when there is one, and waits until it serves.
func (n *node) start(environ []string, files []*os.File, by ...string) {
	n.Helper()
	log, err := os.Create(filepath.Join(n.dir, "log")) // a file, so that new processes have it too
	if err != nil {
		n.Fatal(err)
	}
	defer log.Close()
	args := append(by, n.program, "serve", "--config", n.config, "--pid-file", filepath.Join(n.dir, "pid"))
	n.first = exec.Command(args[0], args[1:]...)
	// testscript leaves its programs no folder in their own names.
	n.first.Env = append(environ, "PATH="+n.dir+":"+os.Getenv("PATH"))
	n.first.Stdout, n.first.Stderr, n.first.ExtraFiles = log, log, files
	if err := n.first.Start(); err != nil {
		n.Fatal(err)
	}
	n.Cleanup(func() {
		_ = n.first.Process.Kill()
		if pid := n.pid(); pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			_, _ = unix.Wait4(pid, nil, 0, nil)
		}
		if n.Failed() {
			n.Log(n.log())
		}
	})
	n.until("it serves", func() bool { return n.pid() > 0 })
}

func (n *node) log() string {
	b, _ := os.ReadFile(filepath.Join(n.dir, "log"))
	return string(b)
}

// pid is who serves; 0 is nobody.
func (n *node) pid() int {
	b, _ := os.ReadFile(filepath.Join(n.dir, "pid"))
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

func (n *node) signal(s syscall.Signal) int {
	n.Helper()
	pid := n.pid()
	if pid == 0 {
		n.Fatal("nobody serves")
	}
	if err := syscall.Kill(pid, s); err != nil {
		n.Fatal(err)
	}
	return pid
}

func (n *node) until(what string, is func() bool) {
	n.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			n.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// says waits for a line of the log.
func (n *node) says(text string) {
	n.Helper()
	n.until("the log says "+text, func() bool { return strings.Contains(n.log(), text) })
}

// ended waits for a process, and gives its exit code; -1 when another process has read it, the one that started it.
func (n *node) ended(pid int) int {
	n.Helper()
	if pid == n.first.Process.Pid {
		var exit *exec.ExitError
		if err := n.first.Wait(); err != nil && !errors.As(err, &exit) {
			n.Fatal(err)
		}
		return n.first.ProcessState.ExitCode()
	}
	code := -1
	n.until(fmt.Sprint("process ", pid, " ends"), func() bool {
		var status unix.WaitStatus
		got, _ := unix.Wait4(pid, &status, unix.WNOHANG, nil)
		if got == pid {
			code = status.ExitStatus()
		}
		return got == pid || syscall.Kill(pid, 0) != nil
	})
	return code
}

// replace has the program replaced, and gives the number of the process that goes.
func (n *node) replace() int {
	n.Helper()
	const told = "the new process serves"
	times := strings.Count(n.log(), told)
	old := n.signal(syscall.SIGUSR2)
	n.until("a new process serves", func() bool {
		now := n.pid()
		return now != old && now > 0 && strings.Count(n.log(), told) > times
	})
	return old
}

// get asks on a connection of its own.
func (n *node) get(path string) (status int, body string, last bool) {
	n.Helper()
	status, body, last, err := n.try(path)
	if err != nil {
		n.Fatal(err)
	}
	return status, body, last
}

func (n *node) try(path string) (status int, body string, last bool, err error) {
	c, err := net.Dial("tcp", n.public)
	if err != nil {
		return 0, "", false, err
	}
	defer c.Close()
	_, _ = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, "", false, err
	}
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), resp.Close, err
}

// The models of streams: one that ends by itself, and one that goes on until the test lets it end.
const (
	flowing = "flowing"
	held    = "held"
)

// stream begins a chat, and returns when its first event is there; rest gives the others.
func (n *node) stream(model string) (rest func() (string, error)) {
	n.Helper()
	chatRequest := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"tell me about the weather in the mountains"}]}`, model)
	c, err := net.Dial("tcp", n.public)
	if err != nil {
		n.Fatal(err)
	}
	_, _ = fmt.Fprintf(c, "POST /api/inference/stream HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(chatRequest), chatRequest)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		n.Fatal(err)
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(resp.Body, first); err != nil || resp.StatusCode != 200 {
		n.Fatal(resp.Status, err)
	}
	return func() (string, error) {
		defer c.Close()
		b, err := io.ReadAll(resp.Body)
		return string(first) + string(b), err
	}
}

// whole fails for a stream that was cut.
func (n *node) whole(rest func() (string, error)) {
	n.Helper()
	if text, err := rest(); err != nil || !strings.Contains(text, "[DONE]") {
		n.Errorf("a stream ended with %v and %q", err, text[max(0, len(text)-200):])
	}
}

// feed subscribes; gone gives the code that it was closed with.
func (n *node) feed() (gone chan int) {
	n.Helper()
	c, _, err := websocket.DefaultDialer.Dial("ws://"+n.public+"/api/live", nil)
	if err != nil {
		n.Fatal(err)
	}
	if _, _, err := c.ReadMessage(); err != nil {
		n.Fatal(err)
	}
	gone = make(chan int, 1)
	go func() {
		defer c.Close()
		for {
			if _, _, err := c.ReadMessage(); err != nil {
				var e *websocket.CloseError
				code := 0
				if errors.As(err, &e) {
					code = e.Code
				}
				gone <- code
				return
			}
		}
	}()
	return gone
}
