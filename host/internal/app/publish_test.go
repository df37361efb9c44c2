package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/patchbay-run/patchbay/host/internal/events"
	"github.com/patchbay-run/patchbay/host/internal/topics"
)

// published are the topics of the search, by the admin listener, as "topic public state".
func (p *patchbay) published() string {
	p.Helper()
	var b strings.Builder
	v := decode[struct {
		Published []topics.State
		Start     string
	}](p.T, p.admins("/api/plugins/search"))
	if v.Start != "snapshot" {
		p.Errorf("it starts %s", v.Start)
	}
	for _, s := range v.Published {
		b.WriteString(s.Topic + " " + map[bool]string{true: "public ", false: ""}[s.Public] + strings.Join(strings.Fields(string(s.State)), "") + "\n")
	}
	return b.String()
}

// feeds is the first state of a topic that a listener's feed gives, or the error in its place.
func (p *patchbay) feeds(listener, topic string) string {
	p.Helper()
	conn, resp, err := websocket.DefaultDialer.DialContext(p.Context(), "ws"+strings.TrimPrefix(listener, "http")+"/api/live?topics=", http.Header{"Authorization": {"Bearer " + p.token}})
	if err != nil {
		p.Fatal(err, resp)
	}
	defer conn.Close()
	if err := conn.WriteJSON(map[string]any{"type": "subscribe", "topics": []string{topic}, "rate": "250ms"}); err != nil {
		p.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	for {
		var f struct {
			Type, Topic string
			Data        json.RawMessage
		}
		if err := conn.ReadJSON(&f); err != nil {
			p.Fatal(err)
		}
		if f.Type == "error" || f.Type == "state" && f.Topic == topic {
			return f.Type + " " + string(f.Data)
		}
	}
}

// TestOperatorSeesWhoRests: the search tells which of its providers rests, over a swap, as long as it is granted.
func TestOperatorSeesWhoRests(t *testing.T) {
	limited := newProvider(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	s := setup{plugins: "search", tavily: limited.url, cache: "1MiB", search: "providers: [tavily, demo]"}
	granted := func(grant string) string {
		return strings.Replace(s.yaml(t), "grant: {", "grant: {publish: ["+grant+"], ", 1)
	}
	p := serve(t, setup{plugins: "search", tavily: limited.url, cache: "1MiB"})
	if got := p.published(); got != "" {
		t.Errorf("without a grant: %s", got)
	}
	// What went before is told of in its own time; the newest event is to be the search's.
	p.happens(func() { replace(t, p.file, granted("{topic: providers}, {topic: events}")) }, "config.applied FILE", "plugin.swapped search", "plugin.retired search")
	eventually(t, "it tells of nobody", func() bool { return p.published() == `providers {"providers":["tavily","demo"],"resting":[]}`+"\n" })
	p.search("anything")
	rests := `providers {"providers":["tavily","demo"],"resting":[{"provider":"tavily","why":"ratelimited","until":`
	if got := p.published(); !strings.HasPrefix(got, rests) {
		t.Errorf("when one rests: %s", got)
	}
	v := decode[events.View](t, p.admins("/api/events"))
	if e := v.Events[0]; e.Kind != "suspended" || e.By != "search" || e.Subject != "tavily" || !strings.HasPrefix(e.Text, "rate limited: it rests until ") {
		t.Errorf("%+v", e)
	}
	if list := string(p.admins("/api/plugins").body); strings.Contains(list, `"resting"`) || !strings.Contains(list, `"providers"`) {
		t.Errorf("the list of plugins: %s", list)
	}
	if got := p.feeds(p.admin, "plugin/search/providers"); !strings.Contains(got, `"resting":[{"provider":"tavily"`) {
		t.Errorf("the operator's feed: %s", got)
	}
	if got := p.feeds(p.admin, "events"); !strings.HasPrefix(got, `state {"total":`) || !strings.Contains(got, `"kind":"suspended"`) || !strings.Contains(got, `"kind":"plugin.swapped"`) {
		t.Errorf("events in the operator's feed: %s", got)
	}
	for _, topic := range []string{"plugin/search/providers", "events"} {
		if got := p.feeds(p.url, topic); !strings.HasPrefix(got, "error ") {
			t.Errorf("everybody's feed: %s", got)
		}
	}
	s.limits = "cpu: 9s"
	replace(t, p.file, granted("{topic: providers, public: true}"))
	eventually(t, "it is public, and the rest goes on", func() bool { return strings.HasPrefix(p.published(), strings.Replace(rests, " ", " public ", 1)) })
	if got := p.feeds(p.url, "plugin/search/providers"); !strings.Contains(got, `"resting":[{"provider":"tavily"`) {
		t.Errorf("everybody's feed, when it is public: %s", got)
	}
	replace(t, p.file, s.yaml(t))
	eventually(t, "the grant is gone", func() bool { return p.published() == "" })
	if got := p.feeds(p.admin, "plugin/search/providers"); !strings.HasPrefix(got, "error ") {
		t.Errorf("the feed without a grant: %s", got)
	}
}
