package live_test

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/live"
	"github.com/patchbay-run/patchbay/host/internal/telemetry"
)

func TestHelloFirstThenStatesInSequence(t *testing.T) {
	var a, b atomic.Int64
	stamp := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("x", 3600))
	f := start(t, live.Options{Version: "1.2.3", Now: func() time.Time { return stamp },
		Topics: []live.Topic{{Name: "system", Public: true, State: counter(&a)}, {Name: "http", Public: true, State: counter(&b)}}})
	c := f.dial()
	hello := next(t, c)
	var data live.Hello
	if err := json.Unmarshal(hello.Data, &data); err != nil {
		t.Fatal(err)
	}
	if hello.Type != "hello" || hello.Seq != 0 || hello.Topic != "" || data.Version != "1.2.3" || data.IntervalSeconds != 0.002 || fmt.Sprint(data.Topics) != "[system http]" {
		t.Errorf("hello %+v, data %+v", hello, data)
	}
	seen := map[string]uint64{}
	for range 20 {
		got := next(t, c)
		if got.Type != "state" || got.Seq <= seen[got.Topic] || !got.Time.Equal(stamp) {
			t.Fatalf("frame %+v after %v", got, seen)
		}
		// A state is asked for once per frame, so that both count alike.
		if string(got.Data) != fmt.Sprint(got.Seq) {
			t.Errorf("frame %d of %s holds state %s", got.Seq, got.Topic, got.Data)
		}
		seen[got.Topic] = got.Seq
	}
	if len(seen) != 2 || seen["system"] == 0 || seen["http"] == 0 {
		t.Errorf("topics %v", seen)
	}
}

// expensive counts how often it is encoded.
type expensive struct{ encoded *atomic.Int64 }

func (e expensive) MarshalJSON() ([]byte, error) { return []byte(fmt.Sprint(e.encoded.Add(1))), nil }

func TestFramesAreEncodedOnceForAll(t *testing.T) {
	var encoded atomic.Int64
	f := start(t, live.Options{Topics: []live.Topic{{Name: "x", Public: true, State: func() any { return expensive{&encoded} }}}})
	var wg sync.WaitGroup
	for range 20 {
		c := f.dial()
		wg.Go(func() {
			for range 20 {
				var got frame
				if err := c.ReadJSON(&got); err != nil {
					t.Error(err)
					return
				}
				if got.Type == "state" && string(got.Data) != fmt.Sprint(got.Seq) {
					t.Errorf("frame %d is encoding %s", got.Seq, got.Data)
				}
			}
		})
	}
	wg.Wait()
}

func TestNoWorkWithoutClients(t *testing.T) {
	var asked atomic.Int64
	f := start(t, live.Options{Topics: []live.Topic{{Name: "x", Public: true, State: counter(&asked)}}})
	time.Sleep(20 * time.Millisecond)
	if n := asked.Load(); n != 0 {
		t.Errorf("the state was asked for %d times before anyone came", n)
	}
	for range 5 { // the feed wakes up again
		old := asked.Load()
		c := f.dial()
		next(t, c)
		if got := next(t, c); got.Seq <= uint64(old) {
			t.Errorf("a new client got state %d, and %d was over", got.Seq, old)
		}
		c.Close()
		eventually(t, "the client leaves", func() bool { return f.Clients() == 0 })
		eventually(t, "the feed rests", func() bool {
			before := asked.Load()
			time.Sleep(40 * time.Millisecond)
			return asked.Load() == before
		})
	}
}

// A client that does not read holds up nobody, and gets the newest state once it reads.
func TestASlowClientGetsTheNewestState(t *testing.T) {
	var asked atomic.Int64
	padding := strings.Repeat("x", 256<<10)
	f := start(t, live.Options{Config: config.Live{WriteTimeout: time.Hour},
		Topics: []live.Topic{{Name: "x", Public: true, State: func() any { return fmt.Sprint(asked.Add(1), padding) }}}})
	small := websocket.Dialer{NetDial: func(network, addr string) (net.Conn, error) {
		c, err := net.Dial(network, addr)
		if err == nil {
			err = c.(*net.TCPConn).SetReadBuffer(512 << 10)
		}
		return c, err
	}}
	slow, _, err := small.Dial("ws"+strings.TrimPrefix(f.srv.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	next(t, slow)
	// Twice what the socket buffers on the way can hold.
	const enough = 80
	eventually(t, "the hub goes on", func() bool { return asked.Load() > enough })
	frames, last := 0, uint64(0)
	for last < enough {
		got := next(t, slow)
		if got.Seq <= last {
			t.Fatalf("frame %d after %d", got.Seq, last)
		}
		frames, last = frames+1, got.Seq
	}
	if frames > enough/2 {
		t.Errorf("%d frames were kept for a client that did not read", frames)
	}
}

func TestAClientThatNeverReadsIsDropped(t *testing.T) {
	var n atomic.Int64
	padding := strings.Repeat("x", 1<<20)
	f := start(t, live.Options{Config: config.Live{WriteTimeout: 100 * time.Millisecond},
		Topics: []live.Topic{{Name: "x", Public: true, State: func() any { return fmt.Sprint(n.Add(1), padding) }}}})
	f.dial()
	eventually(t, "the client is dropped", func() bool { return f.Stats().Dropped == 1 && f.Clients() == 0 })
}

func TestABrokenTopicIsLeftOut(t *testing.T) {
	var n atomic.Int64
	f := start(t, live.Options{Topics: []live.Topic{
		{Name: "panics", Public: true, State: func() any { panic("boom") }},
		{Name: "no JSON", Public: true, State: func() any { return make(chan int) }},
		{Name: "good", Public: true, State: counter(&n)},
	}})
	c := f.dial()
	next(t, c)
	for range 5 {
		if got := next(t, c); got.Topic != "good" {
			t.Errorf("frame %+v", got)
		}
	}
}

func TestNewRefusesBadTopics(t *testing.T) {
	state := func() any { return 1 }
	for name, topics := range map[string][]live.Topic{
		"no name":  {{State: state}},
		"no state": {{Name: "x"}},
		"twice":    {{Name: "x", Public: true, State: state}, {Name: "x", Public: true, State: state}},
	} {
		if _, err := live.New(live.Options{Topics: topics}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The feed carries what telemetry knows, as the host wires it.
func TestTopicsFromTelemetry(t *testing.T) {
	tr := telemetry.NewTracker(telemetry.TrackerOptions{})
	sys := telemetry.NewSystem(t.Context(), telemetry.SystemOptions{})
	f := start(t, live.Options{Topics: live.TelemetryTopics(sys, tr)})
	c := f.dial()
	next(t, c)
	keys := map[string]string{"system": "memory_available_mb", "http": "in_flight"}
	for len(keys) > 0 {
		got := next(t, c)
		var m map[string]any
		if err := json.Unmarshal(got.Data, &m); err != nil || keys[got.Topic] != "" && m[keys[got.Topic]] == nil {
			t.Errorf("%s: %v %v", got.Topic, m, err)
		}
		delete(keys, got.Topic)
	}
}
