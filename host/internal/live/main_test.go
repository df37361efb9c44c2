package live_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/patchbay-run/patchbay/host/internal/leaktest"
	"github.com/patchbay-run/patchbay/host/internal/live"
	"github.com/patchbay-run/patchbay/host/internal/telemetry"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// patience keeps a broken test from hanging; nothing is expected to take that long.
const patience = 2 * time.Minute

type frame struct {
	Type  string          `json:"type"`
	Topic string          `json:"topic"`
	Seq   uint64          `json:"seq"`
	Time  time.Time       `json:"time"`
	Data  json.RawMessage `json:"data"`
}

func (f frame) String() string {
	return fmt.Sprintf("%s %s %d %.100s", f.Type, f.Topic, f.Seq, f.Data)
}

type feed struct {
	*live.Hub
	t    *testing.T
	srv  *httptest.Server
	stop func() error
}

// counter is a state that counts how often it was asked for.
func counter(n *atomic.Int64) func() any { return func() any { return n.Add(1) } }

// start runs a hub behind a tracked server, as the host does.
func start(t *testing.T, o live.Options) *feed {
	t.Helper()
	if o.Interval == 0 {
		o.Interval = 2 * time.Millisecond
	}
	h, err := live.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	f := &feed{Hub: h, t: t}
	f.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	mux := http.NewServeMux()
	mux.Handle("/", h.Public())
	mux.Handle("/private", h.Private())
	f.srv = httptest.NewServer(telemetry.NewTracker(telemetry.TrackerOptions{}).Track(mux))
	t.Cleanup(func() {
		if err := f.stop(); err != nil {
			t.Error(err)
		}
		f.srv.Close()
	})
	// Run has begun when a request is no longer turned away.
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		resp, err := http.Get(f.srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusBadRequest {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the hub does not run: %d", resp.StatusCode)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	return f
}

// try connects and returns the answer when there is no connection.
func (f *feed) try(header http.Header) (*websocket.Conn, *http.Response, error) {
	c, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(f.srv.URL, "http")+"/api/live", header)
	if err == nil {
		f.t.Cleanup(func() { c.Close() })
		_ = c.SetReadDeadline(time.Now().Add(patience))
	}
	return c, resp, err
}

func (f *feed) dial() *websocket.Conn {
	f.t.Helper()
	c, _, err := f.try(nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func next(t *testing.T, c *websocket.Conn) (f frame) {
	t.Helper()
	if err := c.ReadJSON(&f); err != nil {
		t.Fatal(err)
	}
	return f
}

// closeCode reads until the connection ends and returns the code of the close frame, -1 for none.
func closeCode(t *testing.T, c *websocket.Conn) int {
	t.Helper()
	defer c.Close() // the server waits for it
	for {
		if _, _, err := c.ReadMessage(); err != nil {
			var ce *websocket.CloseError
			if !errors.As(err, &ce) {
				t.Errorf("the connection ended with %v, want a close frame", err)
				return -1
			}
			return ce.Code
		}
	}
}

// eventually waits for a condition that something else brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}
