package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/pipetest"
	"github.com/patchbay-run/patchbay/host/internal/server"
)

// begin serves hello from memory; ended gives what Serve returned.
func begin(t *testing.T, c config.Server) (s *server.Server, ln *pipetest.Listener, ended chan error) {
	t.Helper()
	s, err := server.New(server.Options{Config: c, Handler: http.HandlerFunc(hello)})
	if err != nil {
		t.Fatal(err)
	}
	ln, ended = pipetest.New(), make(chan error, 1)
	go func() { ended <- s.Serve(context.Background(), ln) }()
	return s, ln, ended
}

func dialPipe(t *testing.T, ln *pipetest.Listener) *client {
	t.Helper()
	conn, err := ln.Dial()
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, conn)
}

// last wants an answer that tells the client to go.
func (c *client) last() {
	c.t.Helper()
	c.send(getRequest)
	if resp, body := c.answer(); resp.StatusCode != 200 || body != "hello" || !resp.Close {
		c.t.Errorf("%d %q, close %v", resp.StatusCode, body, resp.Close)
	}
	c.closed()
}

// Whoever has a connection may ask once more, and is told that it was the last time.
func TestDrainAnswersConnectionsThatWereIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ln, ended := begin(t, settings())
		kept, fresh, silent := dialPipe(t, ln), dialPipe(t, ln), dialPipe(t, ln)
		kept.send(getRequest)
		if resp, _ := kept.answer(); resp.Close {
			t.Fatal("the first answer ends the connection")
		}
		if n := s.Connections(); n != 3 {
			t.Errorf("%d connections, want 3", n)
		}
		start := time.Now()
		s.Drain(server.Drain{Idle: 5 * time.Second, Requests: time.Minute})
		synctest.Wait()
		if _, err := ln.Dial(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a new connection: %v", err)
		}
		time.Sleep(4 * time.Second)
		kept.last()
		fresh.last()
		silent.closed()
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("the silent one was closed after %v, want 5s", took)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("it ended after %v", took)
		}
	})
}

// The answer that is under way says nothing of the end, so its connection has its idle time after it.
func TestDrainGivesConnectionsTheirIdleTimeWhenTheyAreIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := server.New(server.Options{Config: settings(), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			time.Sleep(20 * time.Second)
			io.WriteString(w, "hello")
		})})
		if err != nil {
			t.Fatal(err)
		}
		ln, ended := pipetest.New(), make(chan error, 1)
		go func() { ended <- s.Serve(context.Background(), ln) }()
		c, silent := dialPipe(t, ln), dialPipe(t, ln)
		var bodies []io.Reader
		for _, c := range []*client{c, silent} {
			c.send(getRequest)
			resp, err := http.ReadResponse(c.r, nil)
			if err != nil || resp.Close {
				t.Fatal("its head was not out before the drain", err)
			}
			bodies = append(bodies, resp.Body)
		}
		s.Drain(server.Drain{Idle: 10 * time.Second, Requests: time.Minute})
		for _, b := range bodies {
			if text, err := io.ReadAll(b); err != nil || string(text) != "hello" {
				t.Error(string(text), err)
			}
		}
		time.Sleep(9 * time.Second)
		start := time.Now()
		c.send(getRequest)
		silent.closed()
		if took := time.Since(start); took != time.Second {
			t.Errorf("the silent one was closed after %v, want 10s of idleness", 9*time.Second+took)
		}
		if resp, body := c.answer(); resp.StatusCode != 200 || body != "hello" || !resp.Close {
			t.Errorf("%d %q, close %v", resp.StatusCode, body, resp.Close)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestDrainEndsWithTheLastConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ln, ended := begin(t, settings())
		c := dialPipe(t, ln)
		synctest.Wait()
		start := time.Now()
		s.Drain(server.Drain{Idle: time.Hour, Requests: time.Hour})
		c.last()
		if err := <-ended; err != nil || time.Since(start) > 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestALaterDrainOnlyBringsTheEndNearer(t *testing.T) {
	for _, c := range []struct {
		name        string
		first, then server.Drain
	}{
		{"nearer", server.Drain{Idle: time.Hour, Requests: 2 * time.Hour, Setting: "patience"}, server.Drain{Requests: 3 * time.Second, Setting: "haste"}},
		{"farther", server.Drain{Requests: 3 * time.Second, Setting: "haste"}, server.Drain{Idle: time.Hour, Requests: 2 * time.Hour, Setting: "patience"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, err := server.New(server.Options{Config: settings(), Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })})
				if err != nil {
					t.Fatal(err)
				}
				ln, ended := pipetest.New(), make(chan error, 1)
				go func() { ended <- s.Serve(context.Background(), ln) }()
				busy, silent := dialPipe(t, ln), dialPipe(t, ln)
				busy.send(getRequest)
				synctest.Wait()
				start := time.Now()
				s.Drain(c.first)
				s.Drain(c.then)
				silent.closed()
				if took := time.Since(start); took != 0 {
					t.Errorf("an idle connection was closed after %v", took)
				}
				err = <-ended
				if !errors.Is(err, server.ErrCut) || !strings.Contains(err.Error(), "1 requests were still running after haste (3s)") {
					t.Errorf("Serve returned %v", err)
				}
				if took := time.Since(start); took < 3*time.Second || took > 4*time.Second {
					t.Errorf("it ended after %v, want 3s", took)
				}
			})
		})
	}
}

func TestLastAnswersLetsNewConnectionsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ln, ended := begin(t, settings())
		kept := dialPipe(t, ln)
		kept.send(getRequest)
		if resp, _ := kept.answer(); resp.Close {
			t.Fatal("the first answer ends the connection")
		}
		s.LastAnswers()
		for range 3 {
			dialPipe(t, ln).last()
		}
		time.Sleep(time.Minute - time.Second) // idle_timeout is a minute
		kept.last()
		synctest.Wait() // the server knows too that its connection is closed
		s.Drain(server.Drain{})
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// An HTTP/2 client is told by GOAWAY: its next request goes over another connection.
func TestLastAnswersOfHTTP2(t *testing.T) {
	cert, pool := certificate(t)
	synctest.Test(t, func(t *testing.T) {
		c := settings()
		c.TLS = cert
		s, ln, ended := begin(t, c)
		dials := 0
		client := transport(t, pool, true, func() (net.Conn, error) { dials++; return ln.Dial() })
		get := func() {
			t.Helper()
			resp, err := client.Get("https://localhost/")
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || string(b) != "hello" || resp.ProtoMajor != 2 || resp.Header.Get("Connection") != "" {
				t.Errorf("%q over %s, %v, %v", b, resp.Proto, resp.Header, err)
			}
			synctest.Wait()
		}
		get()
		get()
		if dials != 1 {
			t.Fatalf("%d connections for two requests", dials)
		}
		s.LastAnswers()
		get() // over the first, which is told
		get()
		if dials != 2 {
			t.Errorf("%d connections; the client was not told to take another", dials)
		}
		s.Drain(server.Drain{Idle: time.Second, Requests: time.Minute})
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// An HTTP/2 client that is idle when the server stops gets a GOAWAY before the connection is closed: what it sends meanwhile was not begun.
func TestIdleHTTP2IsToldOfTheStop(t *testing.T) {
	cert, pool := certificate(t)
	for _, drain := range []time.Duration{time.Minute, time.Millisecond} { // longer than net/http takes, and shorter
		synctest.Test(t, func(t *testing.T) {
			c := settings()
			c.TLS = cert
			s, ln, ended := begin(t, c)
			conn := tls.Client(must(ln.Dial()), &tls.Config{RootCAs: pool, ServerName: "localhost", NextProtos: []string{"h2"}})
			defer conn.Close()
			const settings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
			if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+settings); err != nil {
				t.Fatal(err)
			}
			kinds := make(chan []byte, 1)
			go func() { // frames: RFC 9113, 4.1
				var all []byte
				var head [9]byte
				for {
					if _, err := io.ReadFull(conn, head[:]); err != nil {
						break
					}
					all = append(all, head[3])
					_, _ = io.CopyN(io.Discard, conn, int64(head[0])<<16|int64(head[1])<<8|int64(head[2]))
				}
				kinds <- all
			}()
			time.Sleep(time.Second)
			s.Drain(server.Drain{Requests: drain})
			if err := <-ended; err != nil {
				t.Error(err)
			}
			const goAway = 7
			if all := <-kinds; !bytes.Contains(all, []byte{goAway}) {
				t.Errorf("within %v: frames of the kinds %v, and no GOAWAY", drain, all)
			}
		})
	}
}

// What was accepted is served, even if it has not shaken hands when nobody new is let in.
func TestDrainFinishesHandshakes(t *testing.T) {
	cert, pool := certificate(t)
	synctest.Test(t, func(t *testing.T) {
		c := settings()
		c.TLS, c.ReadHeaderTimeout = cert, 5*time.Second
		s, ln, ended := begin(t, c)
		early, mute := must(ln.Dial()), must(ln.Dial())
		defer mute.Close()
		synctest.Wait()
		s.Drain(server.Drain{Idle: 5 * time.Second, Requests: time.Minute})
		synctest.Wait()
		client := transport(t, pool, false, func() (net.Conn, error) { return early, nil })
		resp, err := client.Get("https://localhost/")
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(b) != "hello" || !resp.Close {
			t.Errorf("%q, close %v", b, resp.Close)
		}
		start := time.Now()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("who never shook hands held the end up for %v", took)
		}
	})
}

func must(c net.Conn, err error) net.Conn {
	if err != nil {
		panic(err)
	}
	return c
}

// late accepts one connection more after it was closed, as a listener does that is closed while it accepts.
type late struct {
	net.Listener
	once   sync.Once
	closed chan struct{}
	conns  chan net.Conn
}

func (l *late) Accept() (net.Conn, error) {
	<-l.closed
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (l *late) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *late) Addr() net.Addr { return &net.UnixAddr{Name: "late", Net: "unix"} }

func TestDrainServesWhoIsAcceptedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := server.New(server.Options{Config: settings(), Handler: http.HandlerFunc(hello)})
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := net.Pipe()
		ln := &late{closed: make(chan struct{}), conns: make(chan net.Conn, 1)}
		ln.conns <- theirs
		close(ln.conns)
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(context.Background(), ln) }()
		synctest.Wait()
		s.Drain(server.Drain{Idle: time.Second, Requests: time.Minute})
		newClient(t, ours).last()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
