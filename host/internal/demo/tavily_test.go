package demo_test

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/demo"
)

type searchAnswer struct {
	Query        string   `json:"query"`
	Answer       *string  `json:"answer"`
	Images       []string `json:"images"`
	ResponseTime *float64 `json:"response_time"`
	RequestID    string   `json:"request_id"`
	Results      []struct {
		Title         string  `json:"title"`
		URL           string  `json:"url"`
		Content       string  `json:"content"`
		Score         float64 `json:"score"`
		RawContent    *string `json:"raw_content"`
		PublishedDate string  `json:"published_date"`
	} `json:"results"`
}

type object = map[string]any

const corpusBase = "https://demo.patchbay.invalid/"

func TestSearchFindsTheRightArticleFirst(t *testing.T) {
	u := start(t, demo.Options{})
	file, err := os.Open("testdata/rankings.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	cases := 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		query, want, ok := strings.Cut(lines.Text(), " => ")
		if !ok || strings.HasPrefix(query, "#") {
			continue
		}
		cases++
		t.Run(query, func(t *testing.T) {
			var got searchAnswer
			u.post("/search", object{"query": query, "max_results": 20}, &got)
			if len(got.Results) == 0 {
				t.Fatal("no results")
			}
			if first := got.Results[0].URL; first != corpusBase+want {
				t.Errorf("first is %s, want %s", first, want)
			}
			last := 1.0
			for _, r := range got.Results {
				if r.Score <= 0 || r.Score > last {
					t.Errorf("score %v of %s after %v: want falling scores above 0, at most 1", r.Score, r.URL, last)
				}
				last = r.Score
			}
		})
	}
	if cases < 20 {
		t.Errorf("only %d cases were read", cases)
	}
}

func TestTavilyAnswer(t *testing.T) {
	u := start(t, demo.Options{})
	var got searchAnswer
	u.post("/search", object{"query": "weather in Stockholm"}, &got)
	if got.Query != "weather in Stockholm" || got.Answer != nil || got.Images == nil || got.ResponseTime == nil || got.RequestID == "" {
		t.Errorf("envelope: %+v", got)
	}
	first := got.Results[0]
	if first.Title != "The weather in Stockholm through the year" || first.PublishedDate != "2025-04-30" || first.RawContent != nil {
		t.Errorf("first result: %+v", first)
	}
	if !strings.Contains(first.Content, "Stockholm") || len(first.Content) > 400 {
		t.Errorf("content of %d bytes: %s", len(first.Content), first.Content)
	}

	var again searchAnswer
	u.post("/search", object{"query": "weather in Stockholm"}, &again)
	if again.RequestID == got.RequestID {
		t.Errorf("request id %s twice", got.RequestID)
	}
}

// The snippet is the passage that fits, not the beginning.
func TestTavilySnippetIsTheBestPassage(t *testing.T) {
	u := start(t, demo.Options{})
	for depth, limit := range map[string]int{"basic": 400, "advanced": 900} {
		var got searchAnswer
		u.post("/search", object{"query": "lower price from $3.50 to $1.25", "search_depth": depth}, &got)
		content := got.Results[0].Content
		if !strings.Contains(content, "from $3.50 to $1.25") || len(content) > limit {
			t.Errorf("%s: %d bytes: %s", depth, len(content), content)
		}
	}
}

func TestTavilyOptions(t *testing.T) {
	now := func() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }
	u := start(t, demo.Options{Now: now})
	search := func(extra object) searchAnswer {
		t.Helper()
		body := object{"query": "server connection"}
		for k, v := range extra {
			body[k] = v
		}
		var got searchAnswer
		u.post("/search", body, &got)
		return got
	}
	counts := []struct {
		name  string
		extra object
		want  int
	}{
		{"default", nil, 5},
		{"null is the default", object{"max_results": nil, "time_range": nil, "include_domains": nil}, 5},
		{"none", object{"max_results": 0}, 0},
		{"most", object{"max_results": 20}, 20},
		{"domain included", object{"include_domains": []string{"patchbay.invalid"}}, 5},
		{"other domain included", object{"include_domains": []string{"example.com"}}, 0},
		{"domain excluded", object{"exclude_domains": []string{"www.demo.patchbay.invalid"}}, 0},
		{"other domain excluded", object{"exclude_domains": []string{"example.com", "invalid.example", "mo.patchbay.invalid", ""}}, 5},
		{"topic and depth", object{"topic": "news", "search_depth": "advanced", "unknown_field": 1}, 5},
	}
	for _, c := range counts {
		if got := search(c.extra); len(got.Results) != c.want || got.Results == nil {
			t.Errorf("%s: %d results (nil: %v), want %d", c.name, len(got.Results), got.Results == nil, c.want)
		}
	}

	for _, span := range []struct{ name, since string }{{"month", "2026-05-01"}, {"y", "2025-06-01"}} {
		got := search(object{"time_range": span.name, "max_results": 20, "query": "model token server text bread"})
		if len(got.Results) == 0 {
			t.Errorf("%s: no results", span.name)
		}
		for _, r := range got.Results {
			if r.PublishedDate < span.since {
				t.Errorf("%s: %s is of %s", span.name, r.URL, r.PublishedDate)
			}
		}
	}

	for form, want := range map[any]string{true: "`CompilationCache`", "markdown": "`CompilationCache`", "text": "a CompilationCache, in", false: "", nil: ""} {
		got := search(object{"query": "wazero", "include_raw_content": form}).Results[0].RawContent
		if (got == nil) != (want == "") || (got != nil && !strings.Contains(*got, want)) {
			t.Errorf("include_raw_content %v: %v, want it to hold %q", form, got, want)
		}
	}

	answer := search(object{"query": "wazero", "include_answer": "basic"}).Answer
	if answer == nil || !strings.HasPrefix(*answer, "This is Patchbay's demo model;") {
		t.Errorf("answer: %v", answer)
	}
}

func TestTavilyFindsNothing(t *testing.T) {
	u := start(t, demo.Options{})
	for _, query := range []string{"xyzzy plugh", "the of and", "???", "·"} {
		r := u.do("POST", "/search", fmt.Sprintf(`{"query": %q}`, query))
		if r.status != 200 || !strings.Contains(r.body, `"results":[]`) {
			t.Errorf("%q: %d %s", query, r.status, r.body)
		}
	}
}

func TestTavilyErrors(t *testing.T) {
	u := start(t, demo.Options{MaxBody: 10_000})
	cases := []struct {
		name, body string
		status     int
		want       string
	}{
		{"no body", ``, 400, "the request body is not valid JSON: unexpected end of JSON input"},
		{"no JSON", `query=x`, 400, "the request body is not valid JSON: invalid character 'q' looking for beginning of value"},
		{"no object", `[1]`, 400, "the request body must be a JSON object"},
		{"null", `null`, 400, "query is missing"},
		{"no query", `{"max_results": 3}`, 400, "query is missing"},
		{"blank query", `{"query": " \n"}`, 400, "query is missing"},
		{"query is a number", `{"query": 7}`, 400, "query: number is not valid here"},
		{"long query", `{"query": "` + strings.Repeat("ö", 401) + `"}`, 400, "query is too long: at most 400 characters"},
		{"too many results", `{"query": "x", "max_results": 21}`, 400, "max_results must be from 0 to 20"},
		{"negative results", `{"query": "x", "max_results": -1}`, 400, "max_results must be from 0 to 20"},
		{"time range", `{"query": "x", "time_range": "decade"}`, 400, `time_range "decade" must be day, week, month or year`},
		{"depth", `{"query": "x", "search_depth": "deep"}`, 400, `search_depth "deep" must be basic, advanced, fast or ultra-fast`},
		{"topic", `{"query": "x", "topic": "gossip"}`, 400, `topic "gossip" must be general, news or finance`},
		{"raw content", `{"query": "x", "include_raw_content": "html"}`, 400, `include_raw_content "html" must be true, false, markdown or text`},
		{"large body", `{"query": "` + strings.Repeat("x", 10_000) + `"}`, 413, "the request body is over 10000 bytes"},
	}
	for _, c := range cases {
		r := u.do("POST", "/search", c.body)
		if want := `{"detail":{"error":"demo: ` + strings.ReplaceAll(c.want, `"`, `\"`) + `"}}`; r.status != c.status || strings.TrimSpace(r.body) != want {
			t.Errorf("%s: %d %s\nwant %d %s", c.name, r.status, r.body, c.status, want)
		}
	}
	if r := u.do("POST", "/search", `{"query": "`+strings.Repeat("ö", 400)+`"}`); r.status != 200 {
		t.Errorf("400 characters: %d %s", r.status, r.body)
	}
}

func TestSearchesAtOnce(t *testing.T) {
	u := start(t, demo.Options{})
	const clients, each = 8, 10
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range each {
				if r := u.do("POST", "/search", `{"query":"wazero"}`); r.status != 200 {
					t.Errorf("status %d: %s", r.status, r.body)
				}
			}
		})
	}
	wg.Wait()
	if st := u.Stats(); st.Requests != clients*each || st.Searches != clients*each || st.Chats != 0 || st.Cancelled != 0 {
		t.Errorf("%+v", st)
	}
}
