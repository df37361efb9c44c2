package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
	"github.com/patchbay-run/patchbay/sdk/go/plugin/plugintest"
)

func told(t *testing.T, h *plugintest.Host) standing {
	t.Helper()
	var got standing
	if err := json.Unmarshal([]byte(h.Published(topic)), &got); err != nil {
		t.Fatalf("%q: %v", h.Published(topic), err)
	}
	return got
}

// TestOperatorIsTold: of a provider that rests, and why, once, and when it is back.
func TestOperatorIsTold(t *testing.T) {
	for name, c := range troubles() {
		if c.seconds == 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			first := &upstream{answer: c.provider}
			h := two(t, first, answering(200, "application/json", onePage), plugintest.Topics(topic, plugin.Events))
			if got := told(t, h); len(got.Resting) != 0 || strings.Join(got.Providers, " ") != "tavily searxng" || h.Published(topic) == "" {
				t.Errorf("at first: %+v", got)
			}
			h.Do("POST", path, asking("the-query"))
			h.Do("POST", path, asking("another of the-query"))
			got := told(t, h)
			if len(got.Resting) != 1 || got.Resting[0].Provider != "tavily" || got.Resting[0].Why != c.why || got.Resting[0].Until.Before(time.Now()) || got.Resting[0].Last != (c.seconds == 10) {
				t.Errorf("then: %+v", got)
			}
			events := h.Events()
			if len(events) != 1 || events[0].Kind != "suspended" || events[0].Subject != "tavily" || !strings.HasPrefix(events[0].Text, c.why+": ") {
				t.Errorf("%+v", events)
			}
			if all := h.Published(topic) + events[0].Text; strings.Contains(all, "the-query") {
				t.Errorf("it tells of a search: %s", all)
			}
		})
	}
}

func TestOperatorIsToldOfTheReturn(t *testing.T) {
	first := &upstream{answer: answering(500, "text/plain", "")}
	second := &upstream{answer: answering(500, "text/plain", "")}
	h := two(t, first, second, plugintest.Topics(topic, plugin.Events))
	h.Do("POST", path, asking("a"))
	if got := told(t, h); len(got.Resting) != 2 {
		t.Errorf("%+v", got)
	}
	first.answer = answering(200, "application/json", onePage)
	h.Do("POST", path, asking("b"))
	if got := told(t, h); len(got.Resting) != 1 || got.Resting[0].Provider != "searxng" {
		t.Errorf("%+v", got)
	}
	events := h.Events()
	if n := len(events); n != 3 || events[2] != (plugin.Event{Kind: "returned", Subject: "tavily", Text: "it answers again"}) {
		t.Errorf("%+v", events)
	}
}

// TestNothingIsToldWithoutAGrant: and nothing fails for it.
func TestNothingIsToldWithoutAGrant(t *testing.T) {
	h := two(t, answering(500, "text/plain", ""), answering(200, "application/json", onePage))
	if got := read(t, h.Do("POST", path, asking("a"))); got.Provider != "searxng" {
		t.Errorf("%+v", got)
	}
	h = two(t, answering(500, "text/plain", ""), answering(200, "application/json", onePage), plugintest.Topics(plugin.Events))
	h.Do("POST", path, asking("a"))
	if len(h.Events()) != 1 {
		t.Errorf("%v", h.Events())
	}
}
