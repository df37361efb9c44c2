package live_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/live"
)

// listed is what a topics frame lists.
func listed(t *testing.T, list []arrived) string {
	t.Helper()
	some := of(list, "topics")
	if len(some) == 0 {
		return "none"
	}
	var data live.Topics
	if err := json.Unmarshal(some[len(some)-1].Data, &data); err != nil {
		t.Error(err)
	}
	return strings.Join(data.Topics, " ")
}

func TestPublishedTopics(t *testing.T) {
	inBubble(t, live.Options{Topics: three()}, func(b *bubble) {
		_, everybody := b.dial("?topics=")
		operator, private := b.dial("private?topics=")
		time.Sleep(time.Second)
		all(everybody)
		all(private)

		b.Publish("plugin/a/progress", json.RawMessage(`{"done": 1}`), false)
		time.Sleep(2 * time.Second)
		if got := listed(t, all(everybody)); got != "http system" {
			t.Errorf("everybody is told of %q", got)
		}
		if got := listed(t, all(private)); got != "http system plugins plugin/a/progress" {
			t.Errorf("the operator is told of %q", got)
		}
		say(t, operator, `{"type":"subscribe","topics":["plugin/a/progress"],"rate":"250ms"}`)
		time.Sleep(10 * time.Millisecond)
		for i := range 100 { // far faster than it is sent
			b.Publish("plugin/a/progress", json.RawMessage(fmt.Sprint(i)), false)
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
		states := of(all(private), "state", "plugin/a/progress")
		if n := len(states); n < 5 || n > 6 || string(states[0].Data) != `{"done":1}` || string(states[n-1].Data) != "99" {
			t.Errorf("of a hundred states in a second came %v", states)
		}
		b.Publish("plugin/a/progress", json.RawMessage("\"\xff\""), false)
		b.Publish("plugin/a/progress", json.RawMessage(`{"half":`), false)
		time.Sleep(2 * time.Second)
		if list := all(private); len(list) != 0 {
			t.Errorf("what is no JSON brought %v", list)
		}
		b.Publish("plugin/a/progress", json.RawMessage(`"well"`), false)
		time.Sleep(time.Second)
		if list := all(private); len(list) != 1 || string(list[0].Data) != `"well"` {
			t.Errorf("then came %v", list)
		}

		b.Retire("plugin/a/progress")
		b.Retire("plugin/a/progress")
		b.Retire("http") // is not published, and stays
		time.Sleep(2 * time.Second)
		if got := listed(t, all(private)); got != "http system plugins" {
			t.Errorf("after its end there are %q", got)
		}
		b.Publish("plugin/a/progress", json.RawMessage(`2`), true)
		time.Sleep(2 * time.Second)
		if list := all(private); len(of(list, "state")) != 0 || listed(t, list) != "http system plugins plugin/a/progress" {
			t.Errorf("a topic that is new again brings %v", list)
		}
	})
}

// A topic that is public no longer shows not even one more state to who had it.
func TestWhatIsPublicNoLonger(t *testing.T) {
	inBubble(t, live.Options{Topics: three()}, func(b *bubble) {
		b.Publish("plugin/a/x", json.RawMessage(`"open"`), true)
		_, frames := b.dial("?topics=plugin/a/x&rate=250ms")
		time.Sleep(time.Second + 300*time.Millisecond)
		if list := of(all(frames), "state"); len(list) != 1 || string(list[0].Data) != `"open"` {
			t.Errorf("came %v", list)
		}
		b.Publish("plugin/a/x", json.RawMessage(`"secret"`), false)
		_, late := b.dial("?topics=plugin/a/x")
		time.Sleep(5 * time.Second)
		if list := all(frames); len(of(list, "state")) != 0 || listed(t, list) != "http system" {
			t.Errorf("then came %v", list)
		}
		if list := all(late); len(of(list, "error")) != 1 || len(of(list, "state")) != 0 {
			t.Errorf("one who came late got %v", list)
		}
	})
}

func TestPublishedTopicsAreBounded(t *testing.T) {
	inBubble(t, live.Options{Topics: three(), Config: config.Live{MaxPublished: 2, MaxState: 10}}, func(b *bubble) {
		for _, name := range []string{"plugin/a/z", "plugin/a/b", "plugin/a/c", "http", "plugin/" + strings.Repeat("x", 300), "\xff"} {
			b.Publish(name, json.RawMessage(`1`), true)
		}
		b.Publish("plugin/a/b", json.RawMessage(`"0123456789"`), true)
		_, frames := b.dial("?topics=plugin/a/b")
		time.Sleep(10 * time.Millisecond)
		list := all(frames)
		var hello live.Hello
		if err := json.Unmarshal(list[0].Data, &hello); err != nil || strings.Join(hello.Topics, " ") != "http system plugin/a/b plugin/a/z" {
			t.Errorf("there are %v, %v", hello.Topics, err)
		}
		if states := of(list, "state"); len(states) != 1 || string(states[0].Data) != "1" {
			t.Errorf("came %v", states)
		}
		if n := b.Stats().Topics; n != 5 {
			t.Errorf("%d topics are counted", n)
		}
	})
}
