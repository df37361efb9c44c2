package live_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/live"
	"github.com/patchbay-run/patchbay/host/internal/pipetest"
)

// With a clock of its own: who answers pings stays for hours, who does not is dropped after two.
func TestPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := live.New(live.Options{Interval: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.Run(ctx) }()
		ln := pipetest.New()
		srv := &http.Server{Handler: h.Public()}
		go func() { _ = srv.Serve(ln) }()
		synctest.Wait()
		dialer := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return ln.Dial() }}
		// A pipe has no buffer, so that both must read; one keeps its pongs to itself.
		dial := func(answers bool) {
			c, _, err := dialer.Dial("ws://feed/", nil)
			if err != nil {
				t.Fatal(err)
			}
			if !answers {
				c.SetPingHandler(func(string) error { return nil })
			}
			go func() {
				defer c.Close()
				for err := error(nil); err == nil; {
					_, _, err = c.ReadMessage()
				}
			}()
		}
		dial(true)
		dial(false)
		for _, step := range []struct {
			wait time.Duration
			left int
		}{{39 * time.Second, 2}, {3 * time.Second, 1}, {10 * time.Hour, 1}} {
			time.Sleep(step.wait)
			if n := h.Clients(); n != step.left {
				t.Errorf("%d clients %v later, want %d", n, step.wait, step.left)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = srv.Close()
	})
}

func TestTheNumberOfClientsIsBounded(t *testing.T) {
	f := start(t, live.Options{Config: config.Live{MaxClients: 2}})
	first := f.dial()
	f.dial()
	_, resp, err := f.try(nil)
	if err == nil {
		t.Fatal("a third client got in")
	}
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !strings.HasPrefix(string(body), `{"detail":"`) {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
	first.Close()
	eventually(t, "a place is free", func() bool {
		_, _, err := f.try(nil)
		return err == nil
	})
}

func TestOrigins(t *testing.T) {
	for _, tc := range []struct {
		origins []string
		origin  string // "same" is the server's own
		allowed bool
	}{
		{nil, "", true},
		{nil, "same", true},
		{nil, "https://page.example", false},
		{nil, "null", false},
		{nil, "http://", false},
		{[]string{"https://Page.example"}, "https://page.example", true},
		{[]string{"https://page.example"}, "http://page.example", false},
		{[]string{"https://page.example"}, "https://page.example.evil.example", false},
		{[]string{"*"}, "https://page.example", true},
	} {
		f := start(t, live.Options{Origins: tc.origins})
		header := http.Header{}
		switch tc.origin {
		case "":
		case "same":
			header.Set("Origin", f.srv.URL)
		default:
			header.Set("Origin", tc.origin)
		}
		_, resp, err := f.try(header)
		if (err == nil) != tc.allowed {
			t.Errorf("origins %v, origin %q: %v, want allowed %v", tc.origins, tc.origin, err, tc.allowed)
		}
		if err != nil {
			if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 403 || string(body) != `{"detail":"pages of this origin may not connect"}`+"\n" {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
		}
	}
}

func TestWhatIsNoHandshake(t *testing.T) {
	f := start(t, live.Options{})
	for _, tc := range []struct {
		method, upgrade string
		status          int
	}{{"GET", "", 400}, {"GET", "h2c", 400}, {"POST", "websocket", 405}} {
		r := httptest.NewRequest(tc.method, "/api/live", nil)
		if tc.upgrade != "" {
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", tc.upgrade)
		}
		w := httptest.NewRecorder()
		f.Public().ServeHTTP(w, r)
		if w.Code != tc.status || w.Header().Get("Content-Type") != "application/json" || !strings.HasPrefix(w.Body.String(), `{"detail":"`) || w.Header().Get("Sec-WebSocket-Version") != "13" {
			t.Errorf("%s %q: %d %v %s", tc.method, tc.upgrade, w.Code, w.Header(), w.Body)
		}
	}
}

func TestWhatClientsMayNotSay(t *testing.T) {
	text := func(s string) func(*websocket.Conn) error {
		return func(c *websocket.Conn) error { return c.WriteMessage(websocket.TextMessage, []byte(s)) }
	}
	raw := func(s string) func(*websocket.Conn) error {
		return func(c *websocket.Conn) error {
			_, err := io.WriteString(c.NetConn(), s)
			return err
		}
	}
	for name, tc := range map[string]struct {
		say  func(*websocket.Conn) error
		code int
	}{
		"too large":           {text(strings.Repeat("x", 4<<10)), 1009},
		"far too large":       {text(strings.Repeat("x", 4<<20)), 1009},
		"binary":              {func(c *websocket.Conn) error { return c.WriteMessage(websocket.BinaryMessage, []byte{1}) }, 1003},
		"not UTF-8":           {text("\xff\xfe"), 1007},
		"not masked":          {raw("\x81\x01x"), 1002},
		"reserved bits":       {raw("\xf1\x80\x00\x00\x00\x00"), 1002},
		"second reserved bit": {raw("\xa1\x80\x00\x00\x00\x00"), 1002},
		"compressed":          {raw("\xc1\x80\x00\x00\x00\x00"), 1002}, // nobody agreed to it
		"fragmented ping":     {raw("\x09\x80\x00\x00\x00\x00"), 1002},
		"fragmented goodbye":  {raw("\x08\x80\x00\x00\x00\x00"), 1002},
		"unknown control":     {raw("\x8b\x80\x00\x00\x00\x00"), 1002},
		"text within text":    {raw("\x01\x80\x00\x00\x00\x00\x81\x80\x00\x00\x00\x00"), 1002},
		"large in fragments":  {raw("\x01\xfe\x03\xff\x00\x00\x00\x00" + strings.Repeat("x", 1023) + "\x80\x82\x00\x00\x00\x00xx"), 1009},
		"length of 2^63":      {raw("\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 1002},
		"reason not UTF-8":    {raw("\x88\x84\x00\x00\x00\x00\x03\xe8\xff\xfe"), 1002},
		"no close code":       {raw("\x88\x80\x00\x00\x00\x00"), 1005}, // which is how gorilla calls none
		"half a close code":   {raw("\x88\x81\x00\x00\x00\x00\x03"), 1002},
		"half, after others":  {raw("\x89\x81\x00\x00\x00\x00\x88" + "\x81\xfe\x00\x83\x00\x00\x00\x00" + strings.Repeat("\x08\x01", 65) + "\x08" + "\x88\x81\x00\x00\x00\x00\x03"), 1002},
		"goodbye, then half":  {raw("\x88\x82\x00\x00\x00\x00\x03\xe8\x88\x81\x00\x00\x00\x00\x03"), 1000},
		"close code 1005":     {raw("\x88\x82\x00\x00\x00\x00\x03\xed"), 1002},
		"close code 999":      {raw("\x88\x82\x00\x00\x00\x00\x03\xe7"), 1002},
		"close code 3000":     {raw("\x88\x82\x00\x00\x00\x00\x0b\xb8"), 3000},
		"empty fragments":     {raw("\x01\x80\x00\x00\x00\x00" + strings.Repeat("\x00\x80\x00\x00\x00\x00", 50_000)), 1008},
		"unknown opcode":      {raw("\x83\x80\x00\x00\x00\x00"), 1002},
		"lonely continuation": {raw("\x80\x80\x00\x00\x00\x00"), 1002},
		"large ping":          {raw("\x89\xfe\x01\x00\x00\x00\x00\x00"), 1002},
		"flood":               {raw(strings.Repeat("\x81\x80\x00\x00\x00\x00", 1000)), 1008},
		"flood of pings":      {raw(strings.Repeat("\x89\x80\x00\x00\x00\x00", 1000)), 1008},
		"goodbye": {func(c *websocket.Conn) error {
			return c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""))
		}, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int64
			f := start(t, live.Options{Topics: []live.Topic{{Name: "x", Public: true, State: counter(&n)}}})
			c := f.dial()
			go tc.say(c) // the server may close before all is sent
			if code := closeCode(t, c); code != tc.code {
				t.Errorf("closed with %d, want %d", code, tc.code)
			}
			eventually(t, "the client is gone", func() bool { return f.Clients() == 0 })
		})
	}
}

func TestTheServerClosesTheConnection(t *testing.T) {
	f := start(t, live.Options{})
	c := f.dial()
	if err := c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "")); err != nil {
		t.Fatal(err)
	}
	for err := error(nil); err == nil; {
		_, _, err = c.ReadMessage()
	}
	if _, err := c.NetConn().Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the goodbye: %v, want EOF", err)
	}
}

func TestUnknownMessagesAreAnswered(t *testing.T) {
	var n atomic.Int64
	f := start(t, live.Options{Interval: time.Hour, Topics: []live.Topic{{Name: "x", Public: true, State: counter(&n)}}})
	c := f.dial()
	for next(t, c).Type != "state" {
	}
	for _, s := range []string{`{"type":"subscribe"}`, "", "{"} {
		if err := c.WriteMessage(websocket.TextMessage, []byte(s)); err != nil {
			t.Fatal(err)
		}
		if got := next(t, c); got.Type != "error" || !strings.Contains(string(got.Data), `"detail"`) {
			t.Errorf("answer to %q: %+v", s, got)
		}
	}
}

// What RFC 6455 allows works: a message in fragments with a ping between them, and each ping is answered by what it said.
func TestFragmentsAndPings(t *testing.T) {
	f := start(t, live.Options{Interval: time.Hour, Topics: three()})
	c := f.dial()
	pongs := make(chan string, 10)
	c.SetPongHandler(func(s string) error {
		pongs <- s
		return nil
	})
	raw := "\x01\x9b\x00\x00\x00\x00" + `{"type":"unsubscribe","topi` + "\x89\x83\x00\x00\x00\x00abc" + "\x80\x90\x00\x00\x00\x00" + `cs":["system"]} ` + "\x89\xfd\x00\x00\x00\x00" + strings.Repeat("p", 125)
	if _, err := io.WriteString(c.NetConn(), raw); err != nil {
		t.Fatal(err)
	}
	var got frame
	for got.Type != "subscribed" {
		if got = next(t, c); got.Type == "error" {
			t.Fatal(got)
		}
	}
	if string(got.Data) != `{"topics":{"http":"1s"}}` {
		t.Error(got)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	go func() {
		for err := error(nil); err == nil; {
			_, _, err = c.ReadMessage()
		}
	}()
	// The newest is enough: the first may have been left out.
	for pong := ""; pong != strings.Repeat("p", 125); {
		select {
		case pong = <-pongs:
		case <-time.After(patience):
			t.Fatal("no pong")
		}
	}
}
