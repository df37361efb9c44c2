package topics_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/leaktest"
	"github.com/patchbay-run/patchbay/host/internal/topics"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// feed is what those who listen see, and what they were told. The board calls it from one goroutine at a time.
type feed struct {
	shown map[string]string
	told  []string
}

func (f *feed) Publish(topic string, state json.RawMessage, public bool) {
	f.shown[topic] = fmt.Sprintf("%s %v", state, public)
	f.told = append(f.told, topic)
}

func (f *feed) Retire(topic string) {
	if _, ok := f.shown[topic]; !ok {
		panic(topic + " is not there")
	}
	delete(f.shown, topic)
	f.told = append(f.told, "not "+topic)
}

func grants(list ...string) map[string][]topics.Grant {
	all := map[string][]topics.Grant{}
	for _, g := range list {
		plugin, topic, _ := strings.Cut(strings.TrimSuffix(g, "!"), "/")
		all[plugin] = append(all[plugin], topics.Grant{Topic: topic, Public: strings.HasSuffix(g, "!")})
	}
	return all
}

func start() (*topics.Board, *feed) {
	f := &feed{shown: map[string]string{}}
	b := topics.New(nil)
	b.Attach(f)
	return b, f
}

func (f *feed) shows(t *testing.T, when string, want ...string) {
	t.Helper()
	var got []string
	for topic, state := range f.shown {
		got = append(got, topic+" "+state)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s the feed shows %q, want %q", when, got, want)
	}
}

func TestNewestStateIsShown(t *testing.T) {
	b, f := start()
	b.Grant(grants("a/progress", "a/news!", "b/progress"))
	f.shows(t, "at first")
	for i := range 3 {
		b.Publish("a", "progress", fmt.Appendf(nil, "%d", i))
	}
	b.Publish("a", "news", json.RawMessage(`"n"`))
	b.Publish("b", "progress", json.RawMessage(`7`))
	f.shows(t, "then", `plugin/a/news "n" true`, "plugin/a/progress 2 false", "plugin/b/progress 7 false")
	if b.Publish("a", "other", json.RawMessage(`1`)) || b.Publish("c", "progress", json.RawMessage(`1`)) {
		t.Error("it took what is not granted")
	}
	b.Publish("a", "progress", nil)
	b.Publish("a", "progress", nil)
	f.shows(t, "without one", `plugin/a/news "n" true`, "plugin/b/progress 7 false")
	look := b.Look("a")
	if len(look) != 2 || look[0].Topic != "news" || !look[0].Public || look[0].Bytes != 3 || look[1].Updates != 5 || look[1].State != nil || look[1].Updated.IsZero() {
		t.Errorf("%+v", look)
	}
	if look := b.Look("c"); look == nil || len(look) != 0 {
		t.Errorf("%v", look)
	}
}

func TestGrantsComeAndGo(t *testing.T) {
	b, f := start()
	b.Grant(grants("a/one", "a/two!"))
	b.Publish("a", "one", json.RawMessage(`1`))
	b.Publish("a", "two", json.RawMessage(`2`))
	f.told = nil
	b.Grant(grants("a/one", "a/two!")) // a swap keeps them, and nobody hears of it
	if len(f.told) != 0 {
		t.Errorf("it told %q", f.told)
	}
	b.Grant(grants("a/one!", "a/two"))
	f.shows(t, "the other way round", "plugin/a/one 1 true", "plugin/a/two 2 false")
	b.Grant(grants("a/two"))
	f.shows(t, "without one", "plugin/a/two 2 false")
	if b.Publish("a", "one", json.RawMessage(`3`)) {
		t.Error("a generation that drains still publishes what is no longer granted")
	}
	b.Grant(nil)
	f.shows(t, "without the plugin")
	b.Grant(grants("a/two"))
	f.shows(t, "granted anew")
}

// TestPrepared: what a plugin publishes while it is loaded is shown when its configuration is in force, and never when that is not to be.
func TestPrepared(t *testing.T) {
	b, f := start()
	b.Grant(grants("a/one"))
	b.Publish("a", "one", json.RawMessage(`1`))
	b.Prepare("a", grants("a/one!", "a/two!", "a/three!")["a"])
	for _, topic := range []string{"one", "two", "three"} {
		if !b.Publish("a", topic, json.RawMessage(`2`)) {
			t.Errorf("%s was not taken", topic)
		}
	}
	b.Publish("a", "three", nil)
	f.shows(t, "while it is loaded", "plugin/a/one 2 false")
	if look := b.Look("a"); len(look) != 1 {
		t.Errorf("%+v", look)
	}
	b.Grant(grants("a/one!", "a/two!"))
	f.shows(t, "when it is in force", "plugin/a/one 2 true", "plugin/a/two 2 true")
	b.Prepare("a", grants("a/four")["a"])
	b.Publish("a", "four", json.RawMessage(`4`))
	b.Grant(grants("a/one!", "a/two!")) // the configuration was rejected
	b.Grant(grants("a/one!", "a/two!", "a/four"))
	f.shows(t, "when it is in force later", "plugin/a/one 2 true", "plugin/a/two 2 true")
}

// TestNewestWinsUnderLoad: what the feed was told last is what the board has.
func TestNewestWinsUnderLoad(t *testing.T) {
	b, f := start()
	b.Grant(grants("a/n"))
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := range 500 {
				b.Publish("a", "n", fmt.Appendf(nil, "%d", 1000*w+i))
				if i%100 == 0 {
					b.Look("a")
					b.Grant(grants("a/n"))
				}
			}
		})
	}
	all.Wait()
	look := b.Look("a")[0]
	f.shows(t, "at the end", fmt.Sprintf("plugin/a/n %s false", look.State))
	if look.Updates != 4000 {
		t.Errorf("%d updates", look.Updates)
	}
}

// TestFeedComesLater: it is shown what there is, but not what is not in force.
func TestFeedComesLater(t *testing.T) {
	b := topics.New(nil)
	b.Grant(grants("a/n", "a/none", "a/gone"))
	b.Publish("a", "n", json.RawMessage(`1`))
	b.Publish("a", "gone", json.RawMessage(`1`))
	b.Prepare("b", grants("b/n")["b"])
	b.Publish("b", "n", json.RawMessage(`2`))
	b.Grant(grants("a/n", "a/none"))
	b.Prepare("b", grants("b/n")["b"])
	b.Publish("b", "n", json.RawMessage(`3`))
	f := &feed{shown: map[string]string{}}
	b.Attach(f)
	f.shows(t, "at first", "plugin/a/n 1 false")
}
