package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/leaktest"
	"github.com/patchbay-run/patchbay/host/internal/server"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// settings are far from any bound; a test narrows the one it is about.
func settings() config.Server {
	return config.Server{
		MaxBody: 1 << 20, MaxHeader: 16 << 10,
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, DrainTimeout: 10 * time.Second,
	}
}

// stop ends a server and returns what Serve returned.
type stop func() error

// serve runs a server on ln until the test ends or stop is called.
func serve(t *testing.T, o server.Options, ln net.Listener) stop {
	t.Helper()
	s, err := server.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	end := sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = end() })
	return end
}

// listen serves handler on a loopback port and returns its address.
func listen(t *testing.T, c config.Server, handler http.HandlerFunc) (string, stop) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln.Addr().String(), serve(t, server.Options{Config: c, Handler: handler}, ln)
}

// dial opens a raw connection. Its deadline only keeps a broken test from hanging.
func dial(t *testing.T, addr string) *client {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, c)
}

type client struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func newClient(t *testing.T, c net.Conn) *client {
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return &client{c, t, bufio.NewReader(c)}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// answer reads one response and its whole body.
func (c *client) answer() (*http.Response, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatalf("read response: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("read body: %v", err)
	}
	return resp, string(body)
}

// closed waits for the server to close the connection.
func (c *client) closed() {
	c.t.Helper()
	var ne net.Error
	if n, err := io.Copy(io.Discard, c.r); errors.As(err, &ne) && ne.Timeout() {
		c.t.Errorf("the connection is still open after %d more bytes", n)
	}
}

// post is the head of a request that announces length bytes.
func post(length int) string {
	return fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", length)
}

const getRequest = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

func hello(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }

func isDetail(resp *http.Response, body, detail string) bool {
	return resp.Header.Get("Content-Type") == "application/json" && strings.TrimSpace(body) == fmt.Sprintf(`{"detail":%q}`, detail)
}
