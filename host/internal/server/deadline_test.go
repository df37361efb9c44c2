package server_test

import (
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/pipetest"
	"github.com/patchbay-run/patchbay/host/internal/server"
)

// A client that leaves is noticed soon, whether its answer has just begun or takes long.
func TestAClientThatLeavesIsNoticed(t *testing.T) {
	for name, after := range map[string]time.Duration{"at once": 0, "soon": 10 * time.Millisecond, "late": time.Hour} {
		t.Run(name, func(t *testing.T) {
			var noticed atomic.Bool
			bubble(t, settings(), func(_ http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				noticed.Store(true)
			}, func(t *testing.T, c *client) {
				c.send(getRequest)
				time.Sleep(after)
				c.Close()
				time.Sleep(50 * time.Millisecond)
				synctest.Wait()
				if !noticed.Load() {
					t.Error("not within 50ms")
				}
			})
		})
	}
}

// What a client sends while it is being answered is read after that, in order.
func TestWhatComesDuringAnAnswerIsKept(t *testing.T) {
	for name, think := range map[string]time.Duration{"quick": time.Millisecond, "slow": time.Minute} {
		t.Run(name, func(t *testing.T) {
			bubble(t, settings(), func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(think)
				io.WriteString(w, r.URL.Path)
			}, func(t *testing.T, c *client) {
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					c.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
					c.send("GET /2 HTTP/1.1\r\nHost: x\r\n\r\nG")
					c.send("ET /3 HTTP/1.1\r\nHost: x\r\n\r\n")
				}()
				for _, want := range []string{"/1", "/2", "/3"} {
					if resp, body := c.answer(); resp.StatusCode != 200 || body != want {
						t.Errorf("%d %q, want %s", resp.StatusCode, body, want)
					}
				}
				<-sent
			})
		})
	}
}

// A deadline that was told for one request does not end another's wait.
func TestEachIdleTimeIsWhole(t *testing.T) {
	bubble(t, settings(), hello, func(t *testing.T, c *client) {
		for range 3 {
			c.send(getRequest)
			c.answer()
			time.Sleep(50 * time.Second)
		}
		start := time.Now()
		c.closed()
		if took := time.Since(start); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("closed after %v more", took)
		}
	})
}

// Whoever takes a connection over finds it as it is: each deadline holds at once, and one byte does not wait.
func TestATakenConnectionHidesNothing(t *testing.T) {
	var told atomic.Int64
	count(t, &told, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		before := told.Load()
		_ = conn.SetReadDeadline(time.Now().Add(-time.Second))
		if told.Load() == before {
			t.Error("the connection was not told of a deadline")
		}
		if _, err := conn.Read(make([]byte, 1)); !os.IsTimeout(err) {
			t.Error(err)
		}
		_ = conn.SetReadDeadline(time.Time{})
		start := time.Now()
		if _, err := conn.Read(make([]byte, 1)); err != nil || time.Since(start) > 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	}, func(c *client) {
		c.send(getRequest)
		c.send("x")
		c.closed()
	})
}

func TestAConnectionIsToldSeldom(t *testing.T) {
	var told atomic.Int64
	count(t, &told, hello, func(c *client) {
		for range 100 {
			c.send(post(0))
			c.answer()
		}
	})
	if n := told.Load(); n > 10 {
		t.Errorf("%d deadlines for 100 requests", n)
	}
}

// count is bubble with a count of what connections are told.
func count(t *testing.T, told *atomic.Int64, handler http.HandlerFunc, test func(c *client)) {
	synctest.Test(t, func(t *testing.T) {
		ln := pipetest.New()
		end := serve(t, server.Options{Config: settings(), Handler: handler}, counting{ln, told})
		conn, err := ln.Dial()
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, conn)
		test(c)
		c.Close()
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

type counting struct {
	net.Listener
	told *atomic.Int64
}

func (l counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &countingConn{c, l.told}, err
}

type countingConn struct {
	net.Conn
	told *atomic.Int64
}

func (c *countingConn) SetReadDeadline(t time.Time) error {
	c.told.Add(1)
	return c.Conn.SetReadDeadline(t)
}

func (c *countingConn) SetWriteDeadline(t time.Time) error {
	c.told.Add(1)
	return c.Conn.SetWriteDeadline(t)
}
