package live_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/live"
)

// Each address has its share, an IPv6 site one for all its addresses, and the operator a share of his own.
func TestTheShareOfAnAddress(t *testing.T) {
	h, err := live.New(live.Options{Config: config.Live{MaxPerAddress: 2}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = r.Header.Get("From-Address")
		if r.URL.Path == "/private" {
			h.Private().ServeHTTP(w, r)
			return
		}
		h.Public().ServeHTTP(w, r)
	}))
	defer srv.Close()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	dial := func(path, from string) (*websocket.Conn, *http.Response, error) {
		return websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(srv.URL, "http")+path, http.Header{"From-Address": {from}})
	}
	var first *websocket.Conn
	for _, tc := range []struct {
		path, from string
		status     int
	}{
		{"/", "192.0.2.1:1", 101},
		{"/", "192.0.2.1:2", 101},
		{"/", "192.0.2.1:3", 429},
		{"/", "[::ffff:192.0.2.1]:4", 429}, // the same
		{"/", "192.0.2.2:1", 101},
		{"/", "[2001:db8::1]:1", 101},
		{"/", "[2001:db8::ffff:2]:1", 101},
		{"/", "[2001:db8::3]:1", 429},
		{"/", "[2001:db8:0:1::1]:1", 101},
		{"/private", "192.0.2.1:5", 101},
	} {
		c, resp, err := dial(tc.path, tc.from)
		if resp == nil || resp.StatusCode != tc.status {
			t.Fatalf("%s from %s: %v %v, want %d", tc.path, tc.from, resp, err, tc.status)
		}
		if err != nil {
			body, _ := io.ReadAll(resp.Body)
			if !strings.Contains(string(body), "of this address") || resp.Header.Get("Retry-After") == "" {
				t.Errorf("%v %s", resp.Header, body)
			}
			continue
		}
		defer c.Close()
		if first == nil {
			first = c
		}
	}
	if n := h.Stats().Refused; n != 3 {
		t.Errorf("%d count as refused", n)
	}
	first.Close()
	eventually(t, "a place is free", func() bool {
		c, _, err := dial("/", "192.0.2.1:9")
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
		return err == nil
	})
}

// The public cannot lock the operator out.
func TestTheOperatorHasPlacesOfHisOwn(t *testing.T) {
	f := start(t, live.Options{Config: config.Live{MaxClients: 1}})
	f.dial()
	if _, resp, err := f.try(nil); err == nil || resp.StatusCode != 503 {
		t.Errorf("a second of the public: %v %v", resp, err)
	}
	c, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(f.srv.URL, "http")+"/private", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// Many that do not read: nobody else notices. A state is larger than what lies between two sockets.
func TestTheMuteDisturbNobody(t *testing.T) {
	var n atomic.Int64
	padding := strings.Repeat("x", 128<<10)
	f := start(t, live.Options{
		Config: config.Live{WriteTimeout: time.Hour}, Interval: 10 * time.Millisecond,
		Topics: []live.Topic{
			{Name: "large", State: func() any { return fmt.Sprint(n.Add(1), padding) }},
			{Name: "small", State: func() any { return n.Load() }},
		},
	})
	url := "ws" + strings.TrimPrefix(f.srv.URL, "http") + "/private"
	const mute = 20
	narrow := websocket.Dialer{NetDial: func(network, addr string) (net.Conn, error) {
		c, err := net.Dial(network, addr)
		if err == nil {
			err = c.(*net.TCPConn).SetReadBuffer(4 << 10)
		}
		return c, err
	}}
	for range mute {
		c, _, err := narrow.Dial(url+"?topics=large", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	reader, _, err := websocket.DefaultDialer.Dial(url+"?topics=large,small", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	_ = reader.SetReadDeadline(time.Now().Add(patience))
	// Whatever lies between the sockets is full long before.
	for last := uint64(0); last < 200; {
		if got := next(t, reader); got.Topic == "large" {
			if got.Seq <= last {
				t.Errorf("%d after %d", got.Seq, last)
			}
			last = got.Seq
		}
	}
	if s := f.Stats(); s.Clients != mute+1 || s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
}

// Over TLS nothing can be tried without waiting: each write is a goroutine's.
func TestOverTLS(t *testing.T) {
	var n atomic.Int64
	f := start(t, live.Options{Topics: []live.Topic{{Name: "x", Public: true, State: counter(&n)}}})
	srv := httptest.NewTLSServer(f.Public())
	defer srv.Close()
	dialer := websocket.Dialer{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	c, _, err := dialer.Dial("wss"+strings.TrimPrefix(srv.URL, "https"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for last := uint64(0); last < 20; {
		if got := next(t, c); got.Type == "state" {
			if got.Seq <= last {
				t.Errorf("%d after %d", got.Seq, last)
			}
			last = got.Seq
		}
	}
	if err := f.stop(); err != nil {
		t.Error(err)
	}
	if code := closeCode(t, c); code != websocket.CloseGoingAway {
		t.Errorf("closed with %d", code)
	}
}

// One that was behind and has caught up is served as any other, also after the time it would have had.
func TestWhoHasCaughtUpStays(t *testing.T) {
	stays := func(timeout time.Duration) error {
		var n, large atomic.Int64
		large.Store(256 << 10)
		f := start(t, live.Options{
			Config: config.Live{WriteTimeout: timeout}, Interval: 10 * time.Millisecond,
			Topics: []live.Topic{{Name: "x", Public: true, State: func() any { return fmt.Sprint(n.Add(1), strings.Repeat("x", int(large.Load()))) }}},
		})
		c := f.dial()
		eventually(t, "it is behind", func() bool { return n.Load() > 30 || f.Stats().Dropped > 0 })
		large.Store(0)
		_ = c.SetReadDeadline(time.Now().Add(2*timeout + patience))
		for begin := time.Now(); time.Since(begin) < 2*timeout; {
			if err := c.ReadJSON(&frame{}); err != nil {
				return err
			}
		}
		if s := f.Stats(); s.Dropped != 0 || s.Clients != 1 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	}
	// It must catch up in time, so a machine that hesitates is given more.
	for _, timeout := range []time.Duration{2 * time.Second, 10 * time.Second, time.Minute} {
		err := stays(timeout)
		if err == nil {
			return
		}
		t.Logf("with a time-out of %v: %v", timeout, err)
	}
	t.Error("who has caught up is dropped")
}

// slowToClose is a connection whose Close waits, as that of TLS may for a client that takes nothing: up to five seconds.
type slowToClose struct {
	net.Conn
	closing, release chan struct{}
	once             sync.Once
}

func (c *slowToClose) Write(p []byte) (int, error) {
	if p[0] == 0x88 { // the client's own close frame has been read when ours is out
		time.Sleep(100 * time.Millisecond)
	}
	return c.Conn.Write(p)
}

func (c *slowToClose) Close() error {
	c.once.Do(func() {
		close(c.closing)
		<-c.release
	})
	return c.Conn.Close()
}

// hijacked puts it in the place of what is hijacked.
type hijacked struct {
	http.ResponseWriter
	conn *slowToClose
}

func (h *hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	h.conn.Conn = conn
	return h.conn, rw, err
}

// TestACloseThatWaitsHoldsNobodyUp: others get their states.
func TestACloseThatWaitsHoldsNobodyUp(t *testing.T) {
	var n atomic.Int64
	f := start(t, live.Options{Topics: []live.Topic{{Name: "x", Public: true, State: func() any { return n.Add(1) }}}})
	slow := &slowToClose{closing: make(chan struct{}), release: make(chan struct{})}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.Public().ServeHTTP(&hijacked{w, slow}, r) }))
	defer srv.Close()
	leaving, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(srv.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer leaving.Close()
	c := f.dial()
	if err := leaving.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	<-slow.closing
	before := n.Load()
	eventually(t, "more states, while it waits", func() bool { return n.Load() >= before+10 })
	close(slow.release)
	next(t, c)
}
