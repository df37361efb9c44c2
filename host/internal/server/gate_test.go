package server_test

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/server"
)

// open connects and gets one answer, so that the connection is idle.
func open(t *testing.T, addr string) *client {
	t.Helper()
	c := dial(t, addr)
	c.send(getRequest)
	c.answer()
	return c
}

// A connection is idle a moment after its client has the answer, so who was idle first is known in a bubble alone.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settings()
		c.MaxConns = 3
		s, ln, ended := begin(t, c)
		ask := func(c *client) {
			t.Helper()
			c.send(getRequest)
			if resp, _ := c.answer(); resp.StatusCode != 200 {
				t.Errorf("%d", resp.StatusCode)
			}
			synctest.Wait()
		}
		var idle [4]*client
		for i := range 3 {
			idle[i] = dialPipe(t, ln)
			ask(idle[i])
		}
		ask(idle[0]) // the first becomes the one that was idle last
		idle[3] = dialPipe(t, ln)
		ask(idle[3])
		idle[1].closed()
		for _, i := range []int{0, 2, 3} {
			ask(idle[i])
		}
		s.Drain(server.Drain{Requests: time.Minute})
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestSilentConnectionsMakeRoom(t *testing.T) {
	c := settings()
	c.MaxConns = 2
	addr, _ := listen(t, c, hello)
	var silent []*client
	for range 10 {
		s := dial(t, addr)
		s.send("GET / HT")
		silent = append(silent, s)
	}
	open(t, addr)
	for _, s := range silent[:8] {
		s.closed()
	}
}

func TestBusyConnectionsAreLeftAlone(t *testing.T) {
	c := settings()
	c.MaxConns = 2
	begun, end := make(chan struct{}, 3), make(chan struct{})
	addr, _ := listen(t, c, func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-end
		hello(w, r)
	})
	var busy []*client
	for range 2 {
		c := dial(t, addr)
		c.send(getRequest)
		<-begun
		busy = append(busy, c)
	}
	third := dial(t, addr)
	third.send(getRequest)
	select {
	case <-begun:
		t.Error("a third request runs")
	case <-time.After(50 * time.Millisecond):
	}
	close(end)
	for _, c := range busy {
		if resp, _ := c.answer(); resp.StatusCode != 200 {
			t.Errorf("busy connection: %d", resp.StatusCode)
		}
	}
	if resp, _ := third.answer(); resp.StatusCode != 200 {
		t.Errorf("the one that waited: %d", resp.StatusCode)
	}
}

func TestConnectionsThatEndMakeRoom(t *testing.T) {
	c := settings()
	c.MaxConns = 1
	addr, _ := listen(t, c, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		io.Copy(io.Discard, conn)
	})
	for range 3 { // each one is hijacked, and let go
		c := dial(t, addr)
		c.send(getRequest)
		c.answer()
		c.Close()
	}
}
