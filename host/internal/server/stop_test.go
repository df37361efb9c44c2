package server_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/pipetest"
	"github.com/patchbay-run/patchbay/host/internal/server"
)

func TestStopWaitsForRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln, begun := pipetest.New(), make(chan struct{})
		end := serve(t, server.Options{Config: settings(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(begun)
			time.Sleep(5 * time.Second)
			if r.Context().Err() != nil {
				t.Error("the request was cancelled by the stop")
			}
			hello(w, r)
		})}, ln)
		var conns []*client
		for range 3 { // one busy, two silent, which must not delay the stop
			conn, err := ln.Dial()
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, newClient(t, conn))
		}
		conns[0].send(getRequest)
		<-begun
		start, stopped := time.Now(), make(chan error)
		go func() { stopped <- end() }()
		if resp, body := conns[0].answer(); resp.StatusCode != 200 || body != "hello" || !resp.Close {
			t.Errorf("%d %q close %v", resp.StatusCode, body, resp.Close)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("stopped after %v", took)
		}
		if _, err := ln.Dial(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("dial after the stop: %v", err)
		}
	})
}

func TestStopCutsOffWhatOutlastsTheDrain(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"request": func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			if cause := context.Cause(r.Context()); errors.Is(cause, context.Canceled) {
				t.Errorf("cause %v; it looks as if the client had left", cause)
			}
		},
		"hijacked": func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			conn.Read(make([]byte, 1)) // until the server closes it
		},
		"given away": func(w http.ResponseWriter, r *http.Request) {
			if _, _, err := w.(http.Hijacker).Hijack(); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ln, begun := pipetest.New(), make(chan struct{})
				end := serve(t, server.Options{Config: settings(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					close(begun)
					handler(w, r)
				})}, ln)
				conn, err := ln.Dial()
				if err != nil {
					t.Fatal(err)
				}
				c := newClient(t, conn)
				c.send(getRequest)
				<-begun
				start := time.Now()
				if err := end(); err == nil || !strings.Contains(err.Error(), "drain_timeout (10s)") {
					t.Errorf("Serve returned %v", err)
				}
				if took := time.Since(start); took < 10*time.Second || took > 11*time.Second {
					t.Errorf("stopped after %v, want the 10s of the drain", took)
				}
				c.closed()
			})
		})
	}
}

func TestServeReportsAListenerThatFails(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	s, err := server.New(server.Options{Config: settings(), Handler: http.HandlerFunc(hello)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(context.Background(), ln); !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), ln.Addr().String()) {
		t.Errorf("Serve returned %v", err)
	}
	if err := s.Serve(context.Background(), ln); err == nil || !strings.Contains(err.Error(), "serves once") {
		t.Errorf("the second Serve returned %v", err)
	}
}
