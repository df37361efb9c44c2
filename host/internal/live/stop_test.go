package live_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/live"
	"github.com/patchbay-run/patchbay/host/internal/server"
	"github.com/patchbay-run/patchbay/host/internal/telemetry"
)

func TestStopSaysGoodbyeToAll(t *testing.T) {
	var n atomic.Int64
	f := start(t, live.Options{Config: config.Live{WriteTimeout: time.Hour}, Topics: []live.Topic{{Name: "x", Public: true, State: counter(&n)}}})
	var codes sync.WaitGroup
	for range 5 {
		c := f.dial()
		next(t, c)
		codes.Go(func() {
			if code := closeCode(t, c); code != websocket.CloseGoingAway {
				t.Errorf("closed with %d, want 1001", code)
			}
		})
	}
	eventually(t, "all are there", func() bool { return f.Clients() == 5 })
	if err := f.stop(); err != nil {
		t.Error(err)
	}
	codes.Wait()
	if f.Clients() != 0 {
		t.Errorf("%d clients after the stop", f.Clients())
	}
	_, resp, err := f.try(nil)
	if err == nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("after the stop: %v %v", resp, err)
	}
}

// Clients whose writers hang and who answer nothing must not hold the stop up.
func TestStopDoesNotWaitForTheMute(t *testing.T) {
	var n atomic.Int64
	padding := strings.Repeat("x", 1<<20)
	f := start(t, live.Options{Config: config.Live{WriteTimeout: time.Hour}, Topics: []live.Topic{{Name: "x", Public: true, State: func() any {
		return fmt.Sprint(n.Add(1), padding)
	}}}})
	f.dial()
	mute, err := net.Dial("tcp", f.srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	io.WriteString(mute, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	before := n.Load()
	eventually(t, "the buffers are full", func() bool { return f.Clients() == 2 && n.Load() > before+20 })
	stopped := make(chan error, 1)
	go func() { stopped <- f.stop() }()
	select {
	case err := <-stopped:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the stop waits for clients that do not read")
	}
}

// The whole way: the server's writer and connection, telemetry's writer, and a stop of the server.
func TestBehindTheServer(t *testing.T) {
	var n atomic.Int64
	f := start(t, live.Options{Topics: []live.Topic{{Name: "x", Public: true, State: counter(&n)}}})
	srv, err := server.New(server.Options{
		Config:  config.Server{WriteTimeout: 50 * time.Millisecond, ReadTimeout: 50 * time.Millisecond, DrainTimeout: patience},
		Handler: telemetry.NewTracker(telemetry.TrackerOptions{}).Track(f.Public()),
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, ln) }()
	c, _, err := websocket.DefaultDialer.Dial("ws://"+ln.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for begin := time.Now(); time.Since(begin) < 200*time.Millisecond; { // the server's deadlines are over
		next(t, c)
	}
	cancel()
	if err := f.stop(); err != nil {
		t.Error(err)
	}
	if code := closeCode(t, c); code != websocket.CloseGoingAway {
		t.Errorf("closed with %d", code)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
