package main

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/patchbay-run/patchbay/sdk/go/plugin/plugintest"
)

// wantState fails the test when an answer is from elsewhere, or for another query.
func wantState(t *testing.T, a *plugintest.Answer, state, query string) {
	t.Helper()
	var got answer
	if err := a.JSON(&got); err != nil || a.Status != 200 || a.Header.Get("x-cache") != state || got.Result.Query != query || a.Header.Get("age") == "" {
		t.Errorf("%d %v %.200s %v, want %s for %q", a.Status, a.Header, a.Body, err, state, query)
	}
}

func TestAnswersAreKept(t *testing.T) {
	u := &upstream{answer: answering(200, "application/json", testdata(t, "tavily.json"), "X-Patchbay-Demo", "1")}
	h := plugintest.New(t, Setup, plugintest.Upstream(demoUpstream, u), plugintest.Cached())
	wantState(t, h.Do("POST", path, asking("two  words")), "miss", "two  words")
	h.Pass(5 * time.Minute)
	for query, typed := range map[string]string{"two words": "two words", "  two\u00a0 \n\twords": "two\u00a0 \n\twords", "two  words": "two  words"} {
		a := h.Do("POST", path, asking(query))
		wantState(t, a, "hit", typed)
		if age, err := strconv.Atoi(a.Header.Get("age")); err != nil || age < 300 || age > 360 || a.Header.Get(demoHeader) != "1" || a.Header.Get("content-type") != "application/json" {
			t.Errorf("%v", a.Header)
		}
	}
	wantState(t, h.Do("POST", path, asking("Two words")), "miss", "Two words")
	wantState(t, h.Do("POST", path, asking("twowords")), "miss", "twowords")
	if n := u.calls(); n != 3 {
		t.Errorf("%d calls", n)
	}
	h.Pass(5 * time.Minute)
	wantState(t, h.Do("POST", path, asking("two words")), "stale", "two words")
}

// TestFailuresAreNotKept: a failed search for a second, a failed summary for ten. The search that the summary was for is not paid for again.
func TestFailuresAreNotKept(t *testing.T) {
	u := &upstream{answer: answering(429, "application/json", "{}", "Retry-After", "9")}
	h := withTavily(t, u, plugintest.Cached(), plugintest.Config(`{"provider":"tavily"}`))
	for range 3 {
		if a := h.Do("POST", path, asking("the-query")); a.Status != 503 || a.Header.Get("retry-after") != "9" {
			t.Errorf("%d %v", a.Status, a.Header)
		}
	}
	if n := u.calls(); n != 1 {
		t.Errorf("%d calls", n)
	}
	silent(t, h)

	var fails atomic.Bool
	fails.Store(true)
	model := &upstream{answer: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fails.Load() {
			w.WriteHeader(500)
			return
		}
		saying("fine")(w, r)
	})}
	u = &upstream{answer: answering(200, "application/json", testdata(t, "tavily.json"))}
	h = withTavily(t, u, plugintest.Cached(), plugintest.Upstream(modelUpstream, model), plugintest.Config(`{"summary":{"model":"m"}}`))
	status := func(state, want string) {
		t.Helper()
		a := h.Do("POST", path, asking("q"))
		wantState(t, a, state, "q")
		var got answer
		if _ = a.JSON(&got); got.Result.Status != want {
			t.Errorf("%+v, want %s", got.Result.outcome, want)
		}
	}
	status("miss", apiError)
	status("hit", apiError)
	h.Pass(brief)
	status("miss", apiError)
	fails.Store(false)
	h.Pass(brief)
	status("miss", success)
	h.Pass(brief)
	status("hit", success)
	if u.calls() != 1 || model.calls() != 3 {
		t.Errorf("%d searches, %d summaries", u.calls(), model.calls())
	}
}

// FuzzQuickQuery: what is read quickly is what encoding/json reads.
func FuzzQuickQuery(f *testing.F) {
	for _, text := range []string{
		`{"q":"x"}`, ` { "a" : [1,{"q":"y"}], "q" : "x\n\u00e5\ud83d\ude00" } `, `{"Q":"x"}`, `{"q":"a","q":"b"}`, `{"q":null}`, `{"q":1}`, `{"q":"x"}}`, `{}`, `[]`, ``,
		"{\"q\":\"\xff\"}", `{"q":"\ud800"}`, `{"q":"x","n":1e999}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		query, ok := quickQuery([]byte(text))
		if !ok {
			return
		}
		var want struct {
			Q *string `json:"q"`
		}
		if err := json.Unmarshal([]byte(text), &want); err != nil || want.Q == nil || *want.Q != query {
			t.Errorf("%q gave %q, and encoding/json %v %v", text, query, want.Q, err)
		}
	})
}

// FuzzNormal: keys differ only where words do.
func FuzzNormal(f *testing.F) {
	for _, text := range []string{"x", "a b", "a  b", "a\u00a0b", "a\nb", "å  ä"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		query := strings.TrimSpace(text)
		if query == "" || !utf8.ValidString(query) {
			return
		}
		if got, want := normal(query), strings.Join(strings.Fields(query), " "); got != want {
			t.Errorf("%q became %q, want %q", query, got, want)
		}
	})
}

// TestNoCacheAsksAnew: also for sources that were kept because their summary failed. Who does not ask so gets them with their age.
func TestNoCacheAsksAnew(t *testing.T) {
	model := &upstream{answer: answering(500, "text/plain", "")}
	u := &upstream{answer: answering(200, "application/json", testdata(t, "tavily.json"))}
	h := withTavily(t, u, plugintest.Cached(), plugintest.Upstream(modelUpstream, model),
		plugintest.Config(`{"summary":{"model":"m"},"cache":{"no_cache":true}}`))
	h.Do("POST", path, asking("q"))
	h.Pass(brief)
	h.Do("POST", path, asking("q"))
	if u.calls() != 1 || model.calls() != 2 {
		t.Errorf("%d searches, %d summaries", u.calls(), model.calls())
	}
	wantState(t, h.Do("POST", path, asking("q"), "Cache-Control", "no-cache"), "miss", "q")
	if u.calls() != 2 {
		t.Errorf("%d searches after no-cache", u.calls())
	}
}
