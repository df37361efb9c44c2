package live_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/live"
)

// three is two public topics, one with a history, and one for the operator.
func three() []live.Topic {
	var a, b, c atomic.Int64
	series := []live.Series{{Name: "n", Of: func(state any) float64 { return float64(state.(int64)) }}}
	return []live.Topic{
		{Name: "http", Public: true, State: counter(&a), Series: series},
		{Name: "system", Public: true, State: counter(&b)},
		{Name: "plugins", State: counter(&c)},
	}
}

func TestRates(t *testing.T) {
	inBubble(t, live.Options{Topics: three()}, func(b *bubble) {
		got := map[string]<-chan arrived{}
		for rate, query := range map[string]string{"250ms": "?rate=250ms", "1s": "", "5s": "?topics=http,system&rate=5s"} {
			_, got[rate] = b.dial(query)
		}
		time.Sleep(100*time.Second + 10*time.Millisecond)
		for rate, frames := range got {
			step, _ := time.ParseDuration(rate)
			list := of(all(frames), "state", "http")
			if want := int(100*time.Second/step) + 1; len(list) != want { // one at once
				t.Errorf("%d frames at %s, want %d", len(list), rate, want)
			}
			for i := 2; i < len(list); i++ {
				if d := list[i].at.Sub(list[i-1].at); d != step || list[i].Seq <= list[i-1].Seq {
					t.Errorf("at %s frame %d came after %v with seq %d after %d", rate, i, d, list[i].Seq, list[i-1].Seq)
				}
				// Computed once for all: a state counts how often it was asked for.
				if string(list[i].Data) != fmt.Sprint(list[i].Seq) {
					t.Errorf("frame %d holds state %s", list[i].Seq, list[i].Data)
				}
			}
		}
	})
}

func TestSubscribeAndUnsubscribe(t *testing.T) {
	inBubble(t, live.Options{Topics: three()}, func(b *bubble) {
		c, frames := b.dial("/private?topics=")
		time.Sleep(10 * time.Second)
		if list := all(frames); len(list) != 1 || list[0].Type != "hello" {
			t.Fatalf("without a topic came %v", list)
		}
		for _, step := range []struct {
			say  string
			now  map[string]string // what the server says of it
			each map[string]int    // states in ten seconds
		}{
			{`{"type":"subscribe","topics":["plugins"]}`, map[string]string{"plugins": "1s"}, map[string]int{"plugins": 10}},
			{`{"type":"subscribe","topics":["http","http"],"rate":"5s"}`, map[string]string{"plugins": "1s", "http": "5s"}, map[string]int{"plugins": 10, "http": 2}},
			{`{"type":"subscribe","topics":["plugins"],"rate":"250ms"}`, map[string]string{"plugins": "250ms", "http": "5s"}, map[string]int{"plugins": 40, "http": 2}},
			{`{"type":"unsubscribe","topics":["plugins","system"]}`, map[string]string{"http": "5s"}, map[string]int{"http": 2}},
			{`{"type":"unsubscribe","topics":["http"]}`, map[string]string{}, map[string]int{}},
		} {
			say(t, c, step.say)
			time.Sleep(10 * time.Millisecond)
			var now live.Subscribed
			told := of(all(frames), "subscribed")
			if len(told) != 1 || json.Unmarshal(told[0].Data, &now) != nil || !maps.Equal(now.Topics, step.now) {
				t.Errorf("%s: told %v %v, want %v", step.say, told, now, step.now)
			}
			time.Sleep(10 * time.Second)
			each := map[string]int{}
			for _, f := range of(all(frames), "state") {
				each[f.Topic]++
			}
			if !maps.Equal(each, step.each) {
				t.Errorf("%s: then came %v, want %v", step.say, each, step.each)
			}
		}
	})
}

func TestMistakesAreAnsweredAndForgiven(t *testing.T) {
	inBubble(t, live.Options{Topics: three(), Config: config.Live{History: time.Minute}}, func(b *bubble) {
		c, frames := b.dial("")
		for message, want := range map[string]string{
			``:                                      `send an object such as`,
			`{`:                                     `send an object such as`,
			`[]`:                                    `(it may not be of type array); send an object such as`,
			`null`:                                  `use "subscribe" or "unsubscribe"`,
			`{"type":"subscribe"}`:                  `subscribe needs "topics"`,
			`{"type":"subscribe","topics":[]}`:      `subscribe needs "topics"`,
			`{"type":"subscribe","topics":"http"}`:  `(topics may not be of type string); send an object such as`,
			`{"type":"subscribe","topic":["http"]}`: `unknown field "topic"`,
			`{"type":"subscribe","topics":["http"]} {}`:                                            `there is more after the object`,
			`{"type":"listen","topics":["http"]}`:                                                  `there is no type "listen"`,
			`{"type":"subscribe","topics":["http","nope"]}`:                                        `there is no topic "nope"; the topics are http, system`,
			`{"type":"subscribe","topics":["plugins"]}`:                                            `there is no topic "plugins"; the topics are http, system`,
			`{"type":"subscribe","topics":["http"],"rate":"2s"}`:                                   `there is no rate "2s"; use one of 250ms, 1s, 5s`,
			`{"type":"subscribe","topics":["http"],"rate":1}`:                                      `(rate may not be of type number); send an object such as`,
			`{"type":"subscribe","topics":["http"],"history":"long"}`:                              `write a length such as "10m"`,
			`{"type":"subscribe","topics":["http"],"history":"-1s"}`:                               `write a length such as "10m"`,
			`{"type":"subscribe","topics":["http"],"since":"yesterday"}`:                           `write the time of the last frame seen`,
			`{"type":"subscribe","topics":["system"],"history":"1m"}`:                              `topic "system" keeps no history`,
			`{"type":"unsubscribe","topics":["http"],"rate":"1s"}`:                                 `unsubscribe takes topics alone`,
			`{"type":"subscribe","topics":["` + strings.Repeat("x", 900) + `"]}`:                   `…"; the topics are`,
			`{"type":"subscribe","topics":["http"],"history":"1m","since":"2026-01-02T15:04:05Z"}`: `not for both`,
		} {
			say(t, c, message)
			time.Sleep(time.Second)
			list := all(frames)
			errs := of(list, "error")
			var data struct{ Detail string }
			if len(errs) != 1 || json.Unmarshal(errs[0].Data, &data) != nil || !strings.Contains(data.Detail, want) {
				t.Errorf("%.60s: answered %v %q, want %q", message, errs, data.Detail, want)
			}
			// Nothing of it was done, and the rest goes on.
			if n := len(of(list, "state", "http")); n == 0 || len(of(list, "subscribed")) != 0 || len(of(list, "state", "plugins")) != 0 {
				t.Errorf("%.60s: then came %v", message, list)
			}
			time.Sleep(time.Minute) // so that this is no flood
			all(frames)
		}
	})
}

func TestTheAddressChooses(t *testing.T) {
	for query, want := range map[string]string{
		"":                          "hello http system",
		"?topics=system":            "hello system",
		"?topics=":                  "hello",
		"?topics=nope":              "hello error",
		"?topics=plugins":           "hello error",
		"?rate=2s":                  "hello error",
		"?topics=http&history=1m":   "hello history http",
		"?history=1m":               "hello error", // system keeps none
		"?topics=http&history=none": "hello error",
		"private?topics=plugins":    "hello plugins",
		"private":                   "hello http system",
	} {
		inBubble(t, live.Options{Topics: three(), Config: config.Live{History: time.Minute}}, func(b *bubble) {
			_, frames := b.dial(query)
			time.Sleep(10 * time.Millisecond)
			var got []string
			for _, f := range all(frames) {
				if f.Type == "state" {
					got = append(got, f.Topic)
				} else {
					got = append(got, f.Type)
				}
			}
			if fmt.Sprint(got) != "["+want+"]" {
				t.Errorf("%q brings %v, want %s", query, got, want)
			}
		})
	}
}

// points are the numbers of a history frame by time.
func points(t *testing.T, f arrived) (times []time.Time, values []float64) {
	t.Helper()
	var data struct {
		Step   float64 `json:"step_seconds"`
		Fields []string
		Points [][2]float64
	}
	if err := json.Unmarshal(f.Data, &data); err != nil || fmt.Sprint(data.Fields) != "[time n]" {
		t.Fatalf("%v: %s", err, f.Data)
	}
	for _, p := range data.Points {
		times, values = append(times, time.UnixMilli(int64(p[0]))), append(values, p[1])
	}
	return times, values
}

// A page that comes again asks from the last frame it saw, and has every second.
func TestHistoryHasNoHole(t *testing.T) {
	inBubble(t, live.Options{Topics: three(), Config: config.Live{History: time.Hour}}, func(b *bubble) {
		c, frames := b.dial("?topics=http")
		time.Sleep(30*time.Second + 100*time.Millisecond)
		seen := of(all(frames), "state")
		c.Close()
		last := seen[len(seen)-1].Time
		time.Sleep(10 * time.Minute) // nobody listens
		c, frames = b.dial("?topics=")
		say(t, c, fmt.Sprintf(`{"type":"subscribe","topics":["http"],"since":%q}`, last.Format(time.RFC3339Nano)))
		time.Sleep(5 * time.Second)
		list := all(frames)
		if list[1].Type != "subscribed" || list[2].Type != "history" || list[3].Type != "state" {
			t.Errorf("in the order of %v", list[:4])
		}
		times, values := points(t, of(list, "history")[0])
		if len(times) != 600 {
			t.Errorf("%d points in ten minutes", len(times))
		}
		for i, at := range times {
			if d := at.Sub(last.Truncate(time.Millisecond)); d != time.Duration(i+1)*time.Second {
				t.Fatalf("point %d is %v after the last frame seen", i, d)
			}
			if i > 0 && values[i] <= values[i-1] {
				t.Errorf("point %d is %v after %v", i, values[i], values[i-1])
			}
		}
		if first := of(list, "state")[0]; first.Time.Sub(times[len(times)-1]) > time.Second {
			t.Errorf("a hole of %v before the first state", first.Time.Sub(times[len(times)-1]))
		}
	})
}

func TestHistoryIsBounded(t *testing.T) {
	for _, tc := range []struct {
		keep  time.Duration
		ask   string
		count int
		step  time.Duration
	}{
		{time.Minute, "1h", 60, time.Second},
		{time.Hour, "1h", 3600, time.Second},
		{time.Hour, "10s", 10, time.Second},
		{24 * time.Hour, "24h", 3600, 24 * time.Second},
	} {
		inBubble(t, live.Options{Topics: three(), Config: config.Live{History: tc.keep}}, func(b *bubble) {
			time.Sleep(25*time.Hour + time.Millisecond)
			_, frames := b.dial("?topics=http&history=" + tc.ask)
			times, _ := points(t, of(all(frames), "history")[0])
			if len(times) != tc.count {
				t.Fatalf("of %v, %s is %d points, want %d", tc.keep, tc.ask, len(times), tc.count)
			}
			for i := 1; i < len(times); i++ {
				if d := times[i].Sub(times[i-1]); d != tc.step {
					t.Fatalf("points are %v apart, want %v", d, tc.step)
				}
			}
		})
	}
}

// Slow clients hold so much history and no more; others go without, are told so, and have it again when those are gone.
func TestHistoryOnItsWayIsBounded(t *testing.T) {
	const most = 3 << 10 // one of two minutes takes two
	inBubble(t, live.Options{Topics: three(), Config: config.Live{History: 2 * time.Minute, MaxHistory: most}}, func(b *bubble) {
		time.Sleep(5*time.Minute + 100*time.Millisecond)
		const wish = "?topics=http&history=1h"
		b.mute(wish)
		synctest.Wait()
		one := b.Stats().HistoryHeld
		if one < most/2 || one > most {
			t.Fatalf("one client holds %d bytes of %d", one, most)
		}
		gone := b.mute(wish)
		for range 2 { // one is on its way; of those that wait the second takes the first one's place
			say(t, gone, `{"type":"subscribe","topics":["http"],"history":"1h"}`)
			synctest.Wait()
		}
		if held := b.Stats().HistoryHeld; held != one {
			t.Errorf("two clients of the same moment hold %d bytes, one %d", held, one)
		}
		time.Sleep(2 * time.Second)
		again, frames := b.dial(wish)
		list := all(frames)
		if faults := of(list, "error"); len(faults) != 1 || !strings.Contains(string(faults[0].Data), "live.max_history") || len(of(list, "history")) != 0 || len(of(list, "state")) == 0 {
			t.Errorf("a third client got %v", list)
		}
		if s := b.Stats(); s.HistoryHeld != one || s.HistoryRefused != 1 {
			t.Errorf("%+v", s)
		}
		gone.Close()
		synctest.Wait()
		if held := b.Stats().HistoryHeld; held != one {
			t.Errorf("%d bytes are held when one of two has left, want %d", held, one)
		}
		time.Sleep(10 * time.Second) // the other one is cut
		if s := b.Stats(); s.HistoryHeld != 0 || s.Clients != 1 {
			t.Errorf("when the slow ones are gone: %+v", s)
		}
		for range 3 {
			say(t, again, `{"type":"subscribe","topics":["http"],"history":"1h"}`)
			if list := all(frames); len(of(list, "history")) != 1 || len(of(list, "error")) != 0 {
				t.Errorf("then %v", list)
			}
		}
		if held := b.Stats().HistoryHeld; held != 0 {
			t.Errorf("%d bytes are held when all is read", held)
		}
	})
}

func TestAStateThatStaysIsNotSentAgain(t *testing.T) {
	var n atomic.Int64
	inBubble(t, live.Options{Topics: []live.Topic{{Name: "x", Public: true, State: func() any { return n.Load() }}}}, func(b *bubble) {
		_, frames := b.dial("")
		time.Sleep(10 * time.Second)
		n.Add(1)
		time.Sleep(10 * time.Second)
		_, late := b.dial("")
		synctest.Wait()
		if list := of(all(frames), "state"); len(list) != 2 || list[1].Seq != 2 || string(list[1].Data) != "1" {
			t.Errorf("of two states came %v", list)
		}
		if list := of(all(late), "state"); len(list) != 1 || list[0].Seq != 2 {
			t.Errorf("one who came late got %v", list)
		}
	})
}
