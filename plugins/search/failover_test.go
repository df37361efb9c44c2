package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
	"github.com/patchbay-run/patchbay/sdk/go/plugin/plugintest"
)

const (
	searx   = "https://searx.test"
	twoOf   = `{"providers":["tavily","searxng"],"searxng":{"endpoint":"https://searx.test"},"answer_within":"%s"}`
	onePage = `{"results":[{"title":"T","url":"https://a.test/","content":"It has more than a hundred characters, so that it is kept as a page that is worth showing to whoever has asked for it."}]}`
)

// two is a plugin that asks tavily, then searxng.
func two(t *testing.T, tavily, searxng http.Handler, opts ...plugintest.Option) *plugintest.Host {
	t.Helper()
	return withTavily(t, tavily, append([]plugintest.Option{
		plugintest.Upstream(searx, searxng), plugintest.Cached(), plugintest.Config(fmt.Sprintf(twoOf, "1m")),
	}, opts...)...)
}

func read(t *testing.T, a *plugintest.Answer) body {
	t.Helper()
	var got answer
	if err := a.JSON(&got); err != nil || a.Status != 200 {
		t.Fatalf("%d %s %v", a.Status, a.Body, err)
	}
	return got.Result
}

// troubles is what a provider can do to be passed over, and what is said of it.
func troubles() map[string]struct {
	provider http.HandlerFunc
	why      string
	seconds  int64 // of its rest
} {
	type row = struct {
		provider http.HandlerFunc
		why      string
		seconds  int64
	}
	page := "<html><title>Just a moment</title><form class='g-reCAPTCHA'></form></html>"
	return map[string]row{
		"limited":            {answering(429, "application/json", "{}"), "rate limited", 60},
		"limited, says when": {answering(429, "application/json", "{}", "Retry-After", "7"), "rate limited", 7},
		"limited for ever":   {answering(429, "application/json", "{}", "Retry-After", "999999999"), "rate limited", 86400},
		"the plan's limit":   {answering(432, "application/json", "{}"), "plan used up", 3600},
		"the paid limit":     {answering(433, "application/json", "{}", "Retry-After", "120"), "plan used up", 120},
		"captcha":            {answering(200, "text/html", page), "captcha", 86400},
		"captcha, 403":       {answering(403, "text/html; charset=utf-8", page), "captcha", 86400},
		"captcha, 429":       {answering(429, "text/html", page), "captcha", 86400},
		"a page":             {answering(200, "text/html", "<html>Log in</html>"), "not understood", 10},
		"broken":             {answering(500, "text/plain", "Traceback"), "it answered 500", 10},
		"its gateway":        {answering(503, "text/html", "<html>"), "it answered 503", 10},
		"our key":            {answering(401, "application/json", "{}"), "it refused the key", 10},
		"garbage":            {answering(200, "application/json", "\x00\xff{]"), "not understood", 10},
		"no answer":          {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "it broke off", 10},
		"too much":           {answering(200, "application/json", `{"results":[],"x":"`+strings.Repeat("x", maxReply)+`"}`), "its answer is too large", 10},
		"the query":          {answering(400, "application/json", tavilyError("too long")), "it refused the query", 0},
		"half":               {answering(200, "application/json", onePage[:len(onePage)-10]), "not understood", 10},
	}
}

func TestNextProviderIsAsked(t *testing.T) {
	for name, c := range troubles() {
		t.Run(name, func(t *testing.T) {
			first, second := &upstream{answer: c.provider}, &upstream{answer: answering(200, "application/json", onePage)}
			h := two(t, first, second)
			got := read(t, h.Do("POST", path, asking("the-query")))
			if got.Provider != "searxng" || got.Partial || len(got.Results) != 1 || !slices.Equal(got.Skipped, []skip{{"tavily", c.why}}) {
				t.Errorf("%+v", got)
			}
			got = read(t, h.Do("POST", path, asking("another of the-query")))
			rests := c.seconds > 0
			if want := map[bool]int{true: 1, false: 2}[rests]; first.calls() != want || second.calls() != 2 || got.Provider != "searxng" {
				t.Errorf("%d and %d calls, %+v", first.calls(), second.calls(), got)
			}
			logs := strings.Join(h.Logs(), "\n")
			if strings.Contains(logs, "a search provider rests") != rests {
				t.Errorf("%s", logs)
			}
			if c.seconds >= 60 && !strings.HasPrefix(got.Skipped[0].Why, "rests until 2") {
				t.Errorf("%+v", got.Skipped)
			}
			silent(t, h)
		})
	}
}

// TestHangingProviderLeavesTime: the next one is asked within the time of the whole.
func TestHangingProviderLeavesTime(t *testing.T) {
	t.Parallel() // it takes half of the 12 s that a slow machine is given
	hang := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"results":[`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	h := two(t, hang, answering(200, "application/json", onePage), plugintest.Config(fmt.Sprintf(twoOf, "12s")))
	if got := read(t, h.Do("POST", path, asking("q"))); got.Provider != "searxng" || !slices.Equal(got.Skipped, []skip{{"tavily", "out of time"}}) {
		t.Errorf("%+v", got)
	}
	h = two(t, hang, hang, plugintest.Config(fmt.Sprintf(twoOf, "200ms")))
	if a := h.Do("POST", path, asking("q")); a.Status != 504 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// TestPartialBeatsAnError: what came before a provider broke off is shown, when nobody has more.
func TestPartialBeatsAnError(t *testing.T) {
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "90000")
		io.WriteString(w, onePage[:len(onePage)-2]+`,{"title":"half of a second`)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	broken := answering(500, "text/plain", "")
	for name, h := range map[string]*plugintest.Host{
		"the first":  two(t, http.HandlerFunc(cut), broken),
		"the second": two(t, broken, http.HandlerFunc(cut)),
	} {
		got := read(t, h.Do("POST", path, asking("q")))
		if !got.Partial || len(got.Results) != 1 || got.Results[0].Title != "T" || len(got.Skipped) != 2 {
			t.Errorf("%s: %+v", name, got)
		}
		h.Pass(brief) // it is not kept for long
		if a := h.Do("POST", path, asking("q")); a.Header.Get("x-cache") != "miss" {
			t.Errorf("%s: %v", name, a.Header)
		}
	}
}

// TestAllRest: nobody is asked, and the client hears when it is worth to come back.
func TestAllRest(t *testing.T) {
	one, other := &upstream{answer: answering(429, "application/json", "{}", "Retry-After", "3000")}, &upstream{answer: answering(429, "application/json", "{}", "Retry-After", "1500")}
	h := two(t, one, other)
	for i := range 3 {
		a := h.Do("POST", path, asking(fmt.Sprint("q", i)))
		if a.Status != 503 || a.Header.Get("retry-after") == "" || detail(a) == "" {
			t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
		}
		after, _ := strconv.Atoi(a.Header.Get("retry-after"))
		if i > 0 && (after > 1501 || after < 1400) { // a machine may hesitate meanwhile
			t.Errorf("retry after %d", after)
		}
	}
	if one.calls() != 1 || other.calls() != 1 {
		t.Errorf("%d and %d calls", one.calls(), other.calls())
	}
	// One that only failed is asked again, when nobody else answers.
	one = &upstream{answer: answering(500, "text/plain", "")}
	h = two(t, one, other)
	for i := range 3 {
		h.Do("POST", path, asking(fmt.Sprint("q", i)))
	}
	if one.calls() != 3 {
		t.Errorf("%d calls", one.calls())
	}
}

// TestRestsDouble walks through the rests of a provider that stays limited. Without a cache they are the worker's own.
func TestRestsDouble(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		t    trouble
		want []int64 // seconds
	}{
		{trouble{why: "x", first: limitedFirst, most: limitedMost}, []int64{60, 120, 240, 480, 960, 1920, 3600, 3600}},
		{trouble{why: "x", first: captchaRest, most: captchaRest}, []int64{86400, 86400}},
		{trouble{why: "x", first: brokenFirst, most: brokenMost, soft: true}, []int64{10, 20, 40, 80, 160, 300, 300}},
		{trouble{why: "x", first: limitedFirst, most: limitedMost, after: 7 * time.Second}, []int64{7, 7}},
	} {
		r := newRests("")
		for i, want := range c.want {
			rest, begins := r.begin(ctx, "p", c.t)
			if !begins || rest.Seconds != want {
				t.Errorf("%+v: rest %d has %d s, want %d", c.t, i, rest.Seconds, want)
			}
			if _, again := r.begin(ctx, "p", c.t); again {
				t.Error("a failure at the same time begins another rest")
			}
			past := r.own["p"]
			past.Until = time.Now().Add(-time.Second)
			r.own["p"] = past
		}
		if r.forget(ctx, "p", r.of(ctx, "p")); r.of(ctx, "p").Seconds != 0 {
			t.Error("a provider that answers is remembered")
		}
	}
	r := newRests("")
	r.begin(ctx, "p", trouble{why: "soft", first: time.Second, most: time.Second, soft: true})
	if rest, begins := r.begin(ctx, "p", trouble{why: "hard", first: time.Minute, most: time.Minute}); !begins || rest.Why != "hard" || rest.Seconds != 60 {
		t.Errorf("%+v: worse news do not count", rest)
	}
	r = newRests("")
	before := r.of(ctx, "p")
	r.begin(ctx, "p", trouble{why: "limited", first: time.Minute, most: time.Minute})
	if r.forget(ctx, "p", before); !r.of(ctx, "p").on(time.Now()) {
		t.Error("an answer from before the trouble ended the rest")
	}
}

// TestProviders asks each of the table once.
func TestProviders(t *testing.T) {
	const ddg = `<div class="result results_links"><h2 class="result__title">
		<a rel="nofollow" class="result__a" href="//duckduckgo.com/l/?uddg=https%3A%2F%2Fa.test%2F1%3Fb%3Dc%26d&amp;rut=x">One &amp; <b>two</b></a></h2>
		<a class="result__snippet" href="x">A <b>snippet</b> of the page.</a></div>
		<div class="result"><a href="https://b.test/" class="result__a">Second</a></div>`
	for name, c := range map[string]struct {
		prefix, config, kind, answer string
		request, body                string
		want                         string
	}{
		"brave": {
			"https://api.search.brave.com", `{"provider":"brave","max_results":5}`, "application/json",
			`{"type":"search","web":{"results":[{"title":"T","url":"https://a.test/","description":"D <strong>x</strong>","extra_snippets":["And one more of it."],"page_age":"2024-05-01"}]}}`,
			"GET /res/v1/web/search?count=5&q=a+b Bearer s3cret", "", `[{"title":"T","url":"https://a.test/","content":"D x\nAnd one more of it.","score":0,"published_date":"2024-05-01","index":1}]`,
		},
		"brave without the web": {
			"https://api.search.brave.com", `{"provider":"brave"}`, "application/json", `{"type":"search","news":{}}`, "GET /res/v1/web/search?count=8&q=a+b Bearer s3cret", "", `[]`,
		},
		"serper": {
			"https://google.serper.dev", `{"provider":"serper","max_results":5}`, "application/json", `{"organic":[{"title":"T","link":"https://a.test/","snippet":"S","date":"May 1, 2024","position":1}]}`,
			"POST /search Bearer s3cret", `{"q":"a b","num":5}`, `[{"title":"T","url":"https://a.test/","content":"S","score":0,"published_date":"May 1, 2024","index":1}]`,
		},
		"exa": {
			"https://api.exa.ai", `{"provider":"exa","exclude_domains":["x.com"],"max_chars":500}`, "application/json",
			`{"results":[{"title":"T","url":"https://a.test/","text":"S","score":0.5,"publishedDate":null}]}`,
			"POST /search Bearer s3cret", `{"query":"a b","type":"auto","numResults":8,"contents":{"text":{"maxCharacters":2000}},"excludeDomains":["x.com"]}`,
			`[{"title":"T","url":"https://a.test/","content":"S","score":0.5,"published_date":null,"index":1}]`,
		},
		"duckduckgo": {
			"https://html.duckduckgo.com", `{"provider":"duckduckgo"}`, "text/html", ddg, "POST /html/", "q=a+b",
			`[{"title":"One & two","url":"https://a.test/1?b=c&d","content":"A snippet of the page.","score":0,"published_date":null,"index":1},
			  {"title":"Second","url":"https://b.test/","content":"","score":0,"published_date":null,"index":2}]`,
		},
		"duckduckgo without results": {"https://html.duckduckgo.com", `{"provider":"duckduckgo"}`, "text/html", `<div class="no-results">`, "POST /html/", "q=a+b", `[]`},
	} {
		t.Run(name, func(t *testing.T) {
			u := &upstream{answer: answering(200, c.kind, c.answer)}
			kind, _, _ := strings.Cut(name, " ")
			h := plugintest.New(t, Setup, plugintest.Secret(kind, "s3cret"), plugintest.Upstream(c.prefix, u), plugintest.Config(c.config))
			got := read(t, h.Do("POST", path, asking("a b")))
			b, _ := json.Marshal(got.Results)
			same(t, b, c.want)
			if got.Provider != kind || !slices.Equal(u.requests, []string{c.request}) {
				t.Errorf("%s asked %q", got.Provider, u.requests)
			}
			if strings.HasPrefix(c.body, "{") {
				same(t, []byte(u.bodies[0]), c.body)
			} else if u.bodies[0] != c.body {
				t.Errorf("sent %q", u.bodies[0])
			}
		})
	}
}

// TestDuckDuckGoCaptcha: it says so with a status, or with a page.
func TestDuckDuckGoCaptcha(t *testing.T) {
	for status, page := range map[int]string{202: "", 200: `<div class="anomaly-modal__title">`} {
		h := plugintest.New(t, Setup, plugintest.Upstream("https://html.duckduckgo.com", answering(status, "text/html", page)), plugintest.Config(`{"provider":"duckduckgo"}`))
		if a := h.Do("POST", path, asking("q")); a.Status != 503 || a.Header.Get("retry-after") != "86400" {
			t.Errorf("%d: %d %v %s", status, a.Status, a.Header, a.Body)
		}
	}
}

// FuzzDuckPages: a page of strangers gives pages or an error, and no more text than it has.
func FuzzDuckPages(f *testing.F) {
	for _, text := range []string{"", `class="result__a"`, `<a class="result__a" href="//x/?uddg=%zz">a</a>`, `<a href="x" class="result__a"`, "captcha", "no results", `<<class="result__a">>result__snippet>`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		pages, err := duckPages(text)
		var r *refusal
		marks := strings.Count(text, `class="result__a"`)
		switch {
		case err != nil && (len(pages) > 0 || !errors.Is(err, plugin.ErrReply) && !errors.As(err, &r)):
			t.Errorf("%d pages and %v", len(pages), err)
		case err != nil && marks > 0:
			t.Errorf("%v, and there are results", err)
		case err == nil && marks == 0 && !strings.Contains(strings.ReplaceAll(strings.ToLower(text), "-", " "), "no results"), len(pages) > marks:
			t.Errorf("%d pages of %d results", len(pages), marks)
		}
		size := 0
		for _, p := range pages {
			size += len(p.title) + len(p.content)
			if len(p.url) > len(text)+len("https:") {
				t.Errorf("a link of %d bytes in %d", len(p.url), len(text))
			}
		}
		if size > len(text) {
			t.Errorf("%d bytes of text in %d", size, len(text))
		}
	})
}

// FuzzSalvage: of an answer that is whole all pages are found, in their order, and of its beginning the first of them.
func FuzzSalvage(f *testing.F) {
	for _, text := range []string{onePage, `{"a":{"results":[{"title":"x"},{"url":"y"}]}}`, `{"results":[{},{"title":"\ud83d`, "\xff", `{"results":[[`, `{"results":[{"title":"å"},{"score":12}],"a":{"results":[{}]}}`} {
		f.Add(text, 0)
		f.Add(text, len(text)/2)
		f.Add(text, len(text)-3)
	}
	f.Fuzz(func(t *testing.T, text string, cut int) {
		whole, ok := tavilyReader().quickPages([]byte(text))
		if !ok {
			return
		}
		got := tavilyReader().salvage([]byte(text))
		rest := got
		for _, p := range whole {
			at := slices.Index(rest, p)
			if at < 0 {
				t.Fatalf("%q: %+v is not in %+v", text, p, got)
			}
			rest = rest[at+1:]
		}
		cut = max(0, min(cut, len(text)))
		part := tavilyReader().salvage([]byte(text[:cut]))
		if len(part) > len(got) || !slices.Equal(part, got[:len(part)]) {
			t.Errorf("%q: its beginning has %+v, the whole %+v", text[:cut], part, got)
		}
	})
}

// TestRestsOfOtherTroubles: each trouble has times of its own, whatever there was before it.
func TestRestsOfOtherTroubles(t *testing.T) {
	limited := trouble{why: "rate limited", first: limitedFirst, most: limitedMost}
	robot := trouble{why: "captcha", first: captchaRest, most: captchaRest}
	hurried := limited
	hurried.after = 7 * time.Second
	for _, c := range []struct {
		troubles []trouble
		want     int64 // seconds of the last rest
	}{
		{[]trouble{limited, robot}, 86400},
		{[]trouble{robot, limited}, 60},
		{[]trouble{hurried, limited}, 60},
		{[]trouble{limited, limited, robot, limited}, 60},
	} {
		r := newRests("")
		var got rest
		for _, what := range c.troubles {
			got, _ = r.begin(context.Background(), "p", what)
			past := got
			past.Until = time.Now().Add(-time.Second)
			r.own["p"] = past
		}
		if got.Seconds != c.want {
			t.Errorf("%+v: the last rest has %d s, want %d", c.troubles, got.Seconds, c.want)
		}
	}
}

// TestRestsAreForOneConfiguration: an operator who changed the plan or the server need not wait.
func TestRestsAreForOneConfiguration(t *testing.T) {
	before := newRests("before")
	began, _ := before.begin(context.Background(), "p", trouble{why: "plan used up", first: planFirst, most: planMost})
	kept, err := json.Marshal(began)
	if err != nil {
		t.Fatal(err)
	}
	if got := before.read(kept); !got.on(time.Now()) {
		t.Errorf("with the same configuration: %+v", got)
	}
	if got := newRests("after").read(kept); got.on(time.Now()) {
		t.Errorf("with another one: %+v", got)
	}
}

// TestRetryAfterADate: a provider may say until when.
func TestRetryAfterADate(t *testing.T) {
	u := &upstream{answer: answering(429, "application/json", "{}", "Retry-After", time.Now().Add(2*time.Hour).UTC().Format(http.TimeFormat))}
	a := withTavily(t, u, plugintest.Config(`{"provider":"tavily"}`)).Do("POST", path, asking("q"))
	if after, err := strconv.Atoi(a.Header.Get("retry-after")); err != nil || after < 7000 || after > 7200 {
		t.Errorf("%d %v", a.Status, a.Header)
	}
}

// TestSearXNGCaptcha: a 403 that shows a captcha is not one of a format that is disabled.
func TestSearXNGCaptcha(t *testing.T) {
	page := &upstream{answer: answering(403, "text/html", "<html>unusual traffic</html>")}
	h := plugintest.New(t, Setup, plugintest.Upstream(searx, page), plugintest.Config(`{"provider":"searxng","searxng":{"endpoint":"https://searx.test"}}`))
	if a := h.Do("POST", path, asking("q")); a.Status != 503 || !strings.Contains(detail(a), "human") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}
