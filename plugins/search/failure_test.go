package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/sdk/go/plugin/plugintest"
)

// failure is a provider that fails, and what the client reads.
type failure struct {
	name       string
	provider   http.HandlerFunc
	status     int
	detail     string // "" for any
	retryAfter string
}

func tavilyError(message string) string { return `{"detail":{"error":"` + message + `"}}` }

const misunderstood = "The upstream sent an answer that was not understood."

func tavilyFailures() []failure {
	const limit = "The search provider is answering no more for now; try again later."
	const plan = "The server's plan with the search provider is used up; try again later."
	return []failure{
		{"bad request", answering(400, "application/json", tavilyError("Query is too long.")), 400, "Query is too long.", ""},
		{"our key", answering(401, "application/json", tavilyError("Unauthorized: s3cret")), 502, "The search provider refused the server's key.", ""},
		{"our key's rights", answering(403, "application/json", tavilyError("no")), 502, "The search provider refused the server's key.", ""},
		{"too fast", answering(429, "application/json", tavilyError("slow"), "Retry-After", "9"), 503, limit, "9"},
		{"too fast, no word on when", answering(429, "application/json", tavilyError("slow")), 503, limit, "60"},
		{"the plan's limit", answering(432, "application/json", tavilyError("plan")), 503, plan, "3600"},
		{"the paid limit", answering(433, "application/json", tavilyError("paygo"), "Retry-After", "120"), 503, plan, "120"},
		{"broken", answering(500, "text/plain", "Traceback"), 502, "The search provider failed with status 500.", ""},
		{"its gateway", answering(504, "text/html", "<html>"), 502, "The search provider failed with status 504.", ""},
		{"a redirect", answering(302, "text/html", "", "Location", "https://elsewhere.test"), 502, "The search provider failed with status 302.", ""},
		{"no content", answering(204, "application/json", ""), 502, "", ""},
		{"a page", answering(200, "text/html", "<html>Log in</html>"), 502, misunderstood, ""},
		{"no JSON", answering(200, "application/json", "results"), 502, misunderstood, ""},
		{"half a document", answering(200, "application/json", `{"results":[{"url":"https://a`), 502, misunderstood, ""},
		{"another document", answering(200, "application/json", `{"ok":true}`), 502, misunderstood, ""},
		{"other types", answering(200, "application/json", `{"results":[{"url":1}]}`), 502, misunderstood, ""},
		{"half an answer", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "90000")
			io.WriteString(w, `{"results":[`)
			panic(http.ErrAbortHandler)
		}, 502, "The upstream broke off its answer.", ""},
		{"no answer", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 502, "The upstream broke off its answer.", ""},
		{"too much", answering(200, "application/json", `{"results":[],"x":"`+strings.Repeat("x", maxReply)+`"}`), 502, "The upstream's answer is too large.", ""},
		{"late", func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}, 504, "The upstream did not answer in time.", ""},
	}
}

func check(t *testing.T, c failure, a *plugintest.Answer) {
	t.Helper()
	if a.Status != c.status || detail(a) == "" || c.detail != "" && detail(a) != c.detail || a.Header.Get("retry-after") != c.retryAfter {
		t.Errorf("%d %v %s, want %d %q %q", a.Status, a.Header, a.Body, c.status, c.detail, c.retryAfter)
	}
}

// TestFault07ProviderErrorsHaveTheirStatus: every upstream error became 500.
func TestFault07ProviderErrorsHaveTheirStatus(t *testing.T) {
	for _, c := range tavilyFailures() {
		t.Run(c.name, func(t *testing.T) {
			h := withTavily(t, c.provider, plugintest.Config(`{"timeout":"`+timeoutFor(c)+`"}`))
			check(t, c, h.Do("POST", path, asking("the-query")))
			silent(t, h)
		})
	}
}

// timeoutFor is short only for the provider that never answers.
func timeoutFor(c failure) string {
	if c.status == 504 {
		return "50ms"
	}
	return "1m"
}

func TestSearXNGErrors(t *testing.T) {
	for _, c := range []failure{
		{"no json", answering(403, "text/html", "Forbidden"), 502, "SearXNG has format json disabled: add json to search.formats in its settings.yml.", ""},
		{"its limiter", answering(429, "text/html", "Too Many Requests"), 503, "The search provider is answering no more for now; try again later.", "60"},
		{"broken", answering(500, "text/html", "oops"), 502, "The search provider failed with status 500.", ""},
		{"a page", answering(200, "text/html", "<html>"), 502, misunderstood, ""},
		{"another document", answering(200, "application/json", `{}`), 502, misunderstood, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := plugintest.New(t, Setup, plugintest.Upstream("https://searx.test", c.provider), plugintest.Config(`{"provider":"searxng","searxng":{"endpoint":"https://searx.test"}}`))
			check(t, c, h.Do("POST", path, asking("the-query")))
			silent(t, h)
		})
	}
}

func TestWithoutGrant(t *testing.T) {
	for _, config := range []string{`{"provider":"demo"}`, `{"provider":"searxng","searxng":{"endpoint":"https://searx.test"}}`} {
		h := plugintest.New(t, Setup, plugintest.Config(config))
		if a := h.Do("POST", path, asking("the-query")); a.Status != 500 || strings.Contains(string(a.Body), "grant") {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		if logs := strings.Join(h.Logs(), "\n"); !strings.Contains(logs, "grant.fetch") {
			t.Errorf("the log does not show the missing grant: %s", logs)
		}
		silent(t, h)
	}
}

// TestFault15NothingOfASearchIsLogged: queries, prompts and keys were logged. The upstreams quote what they were sent.
func TestFault15NothingOfASearchIsLogged(t *testing.T) {
	results := `{"results":[{"url":"https://a.test/","title":"the-query","content":"` + strings.Repeat("the-query ", 20) + `"}]}`
	for _, status := range []int{200, 400, 401, 404, 422, 429, 432, 500, 503} {
		echo := answering(status, "application/json", tavilyError("the-query with s3cret"))
		h := withTavily(t, echo)
		h.Do("POST", path, asking("the-query"))
		h.Do("POST", path, `{"q":"the-query`)
		silent(t, h)

		h = withTavily(t, answering(200, "application/json", results), plugintest.Upstream(modelUpstream, echo), plugintest.Config(`{"summary":{"model":"m"}}`))
		if a := h.Do("POST", path, asking("the-query")); a.Status != 200 {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		silent(t, h)
	}
	text := cause(fmt.Errorf(`Get "https://searx.test/search?format=json&q=the-query+%%26+more": connection refused`), "the-query & more")
	if strings.Contains(text, "the-query") || !strings.Contains(text, "connection refused") {
		t.Errorf("%s", text)
	}
}

// silent fails the test when the log holds something of a search.
func silent(t *testing.T, h *plugintest.Host) {
	t.Helper()
	for _, line := range h.Logs() {
		if strings.Contains(line, "the-query") || strings.Contains(line, "s3cret") {
			t.Errorf("the log holds something of a search: %s", line)
		}
	}
}
