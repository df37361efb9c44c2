package app_test

import (
	"net/http"
	"strings"
	"testing"

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
	replace(t, p.file, granted("{topic: providers}, {topic: events}"))
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
	s.limits = "cpu: 9s"
	replace(t, p.file, granted("{topic: providers, public: true}"))
	eventually(t, "it is public, and the rest goes on", func() bool { return strings.HasPrefix(p.published(), strings.Replace(rests, " ", " public ", 1)) })
	replace(t, p.file, s.yaml(t))
	eventually(t, "the grant is gone", func() bool { return p.published() == "" })
}
