package server_test

import (
	"io"
	"net/http"
	"testing"
	"time"
)

// open connects and gets one answer, so that the connection is idle.
func open(t *testing.T, addr string) *client {
	t.Helper()
	c := dial(t, addr)
	c.send(getRequest)
	c.answer()
	return c
}

func TestIdleConnectionsMakeRoom(t *testing.T) {
	c := settings()
	c.MaxConns = 3
	addr, _ := listen(t, c, hello)
	idle := []*client{open(t, addr), open(t, addr), open(t, addr)}
	// The first becomes the one that was idle last.
	idle[0].send(getRequest)
	idle[0].answer()
	open(t, addr)
	idle[1].closed()
	for _, i := range []int{0, 2} {
		idle[i].send(getRequest)
		if resp, _ := idle[i].answer(); resp.StatusCode != 200 {
			t.Errorf("connection %d: %d", i, resp.StatusCode)
		}
	}
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
