package demo_test

import (
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/demo"
)

type searxngAnswer struct {
	Query   string `json:"query"`
	Number  int    `json:"number_of_results"`
	Results []struct {
		URL           string  `json:"url"`
		Title         string  `json:"title"`
		Content       string  `json:"content"`
		Score         float64 `json:"score"`
		PublishedDate string  `json:"publishedDate"`
	} `json:"results"`
}

func TestSearxng(t *testing.T) {
	u := start(t, demo.Options{})
	var got searxngAnswer
	u.get("/search?q=weather+in+Stockholm&format=json", &got)
	first := got.Results[0]
	if got.Query != "weather in Stockholm" || first.URL != corpusBase+"places/stockholm-weather" || first.PublishedDate != "2025-04-30T00:00:00" ||
		first.Title == "" || first.Content == "" || first.Score <= 0 {
		t.Errorf("%+v", got)
	}

	// All pages together hold every result once.
	seen := make(map[string]bool)
	for _, page := range []string{"1", "2", "3", "4", "5", "6", "7"} {
		u.get("/search?q=server+connection+model&format=json&pageno="+page, &got)
		for _, r := range got.Results {
			if seen[r.URL] {
				t.Errorf("%s is on two pages", r.URL)
			}
			seen[r.URL] = true
		}
	}
	if len(seen) != got.Number || len(seen) <= 10 {
		t.Errorf("%d results on the pages, number_of_results says %d", len(seen), got.Number)
	}
	u.get("/search?q=wazero&format=json&pageno=9223372036854775807", &got)
	if len(got.Results) != 0 || got.Results == nil {
		t.Errorf("far page: %+v", got.Results)
	}
}

func TestSearxngErrors(t *testing.T) {
	u := start(t, demo.Options{})
	for query, want := range map[string]struct {
		status int
		text   string
	}{
		"q=x":                                 {403, "only format=json is enabled"},
		"q=x&format=html":                     {403, "only format=json is enabled"},
		"format=json":                         {400, "q is missing"},
		"q=+&format=json":                     {400, "q is missing"},
		"q=x&format=json&pageno=0":            {400, `pageno \"0\" must be a number from 1`},
		"q=x&format=json&time_range=fortnite": {400, `time_range \"fortnite\" must be day, week, month or year`},
	} {
		r := u.do("GET", "/search?"+query, "")
		if r.status != want.status || strings.TrimSpace(r.body) != `{"error":"demo: `+want.text+`"}` {
			t.Errorf("%s: %d %s", query, r.status, r.body)
		}
	}
}
