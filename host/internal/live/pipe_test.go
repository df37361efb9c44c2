package live_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/patchbay-run/patchbay/host/internal/live"
	"github.com/patchbay-run/patchbay/host/internal/pipetest"
)

// bubble runs a hub in memory with a clock of its own, so that rates are exact.
type bubble struct {
	*live.Hub
	t       *testing.T
	ln      *pipetest.Listener
	clients []*websocket.Conn
}

func inBubble(t *testing.T, o live.Options, test func(b *bubble)) {
	synctest.Test(t, func(t *testing.T) {
		h, err := live.New(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.Run(ctx) }()
		b := &bubble{Hub: h, t: t, ln: pipetest.New()}
		mux := http.NewServeMux()
		mux.Handle("/", h.Public())
		mux.Handle("/private", h.Private())
		srv := &http.Server{Handler: mux}
		go func() { _ = srv.Serve(b.ln) }()
		defer func() {
			for _, c := range b.clients {
				c.Close()
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			_ = srv.Close()
			synctest.Wait()
		}()
		test(b)
	})
}

// arrived is a frame and when it came.
type arrived struct {
	frame
	at time.Time
}

// dial connects and reads everything, as a pipe has no buffer.
func (b *bubble) dial(path string) (*websocket.Conn, <-chan arrived) {
	b.t.Helper()
	c := b.mute(path)
	frames := make(chan arrived, 10000)
	go func() {
		defer close(frames)
		for {
			var f frame
			if c.ReadJSON(&f) != nil {
				return
			}
			frames <- arrived{f, time.Now()}
		}
	}()
	return c, frames
}

// mute connects and reads nothing.
func (b *bubble) mute(path string) *websocket.Conn {
	b.t.Helper()
	dialer := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return b.ln.Dial() }}
	c, _, err := dialer.Dial("ws://feed/"+strings.TrimPrefix(path, "/"), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	b.clients = append(b.clients, c)
	return c
}

// all takes what has come so far.
func all(frames <-chan arrived) (list []arrived) {
	synctest.Wait()
	for {
		select {
		case f, ok := <-frames:
			if !ok {
				return list
			}
			list = append(list, f)
		default:
			return list
		}
	}
}

// of leaves the frames of a type, and of a topic if one is given.
func of(list []arrived, kind string, topic ...string) (some []arrived) {
	for _, f := range list {
		if f.Type == kind && (len(topic) == 0 || f.Topic == topic[0]) {
			some = append(some, f)
		}
	}
	return some
}

func say(t *testing.T, c *websocket.Conn, message string) {
	t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
		t.Fatal(err)
	}
}
