package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/patchbay-run/patchbay/sdk/go/plugin/plugintest"
)

const (
	path          = "/api/tools/search"
	tavilyHost    = "https://api.tavily.com"
	demoUpstream  = "upstream://demo-search"
	modelUpstream = "upstream://gpustack"
	noResults     = `{"results":[]}`
)

// answering is an upstream that answers everything alike.
func answering(status int, kind, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", kind)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// upstream keeps what it was asked.
type upstream struct {
	answer http.Handler

	mu       sync.Mutex
	requests []string // method, address, Authorization
	bodies   []string
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	u.mu.Lock()
	u.requests = append(u.requests, strings.TrimSpace(r.Method+" "+r.URL.String()+" "+r.Header.Get("Authorization")))
	u.bodies = append(u.bodies, string(body))
	u.mu.Unlock()
	u.answer.ServeHTTP(w, r)
}

func (u *upstream) calls() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.requests)
}

// withTavily is a plugin that has a key for Tavily.
func withTavily(t *testing.T, tavily http.Handler, opts ...plugintest.Option) *plugintest.Host {
	t.Helper()
	return plugintest.New(t, Setup, append([]plugintest.Option{plugintest.Secret("tavily", "s3cret"), plugintest.Upstream(tavilyHost, tavily)}, opts...)...)
}

func testdata(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func asking(q string) string {
	b, _ := json.Marshal(map[string]string{"q": q})
	return string(b)
}

func detail(a *plugintest.Answer) string {
	var body struct{ Detail string }
	_ = a.JSON(&body)
	return body.Detail
}

// same compares two JSON documents.
func same(t *testing.T, got []byte, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &g); err != nil || !reflect.DeepEqual(g, w) {
		t.Errorf("%v\n got %s\nwant %s", err, got, want)
	}
}

func TestTavily(t *testing.T) {
	u := &upstream{answer: answering(200, "application/json; charset=utf-8", testdata(t, "tavily.json"))}
	a := withTavily(t, u).Do("POST", path, `{"q":" weather in Stockholm\n","n":5,"lang":["x"]}`)
	if a.Status != 200 || a.Header.Get("content-type") != "application/json" || a.Header.Has(demoHeader) {
		t.Errorf("%d %v", a.Status, a.Header)
	}
	same(t, a.Body, testdata(t, "tavily.want.json"))
	if want := []string{"POST /search Bearer s3cret"}; !slices.Equal(u.requests, want) {
		t.Errorf("asked %q, want %q", u.requests, want)
	}
	same(t, []byte(u.bodies[0]), `{"query":"weather in Stockholm","topic":"general","search_depth":"advanced","max_results":8,"include_raw_content":true,
		"exclude_domains":["google.com","bing.com","yahoo.com","facebook.com","twitter.com","x.com"]}`)
}

func TestTavilyMirrorWithoutKey(t *testing.T) {
	u := &upstream{answer: answering(200, "application/json", noResults)}
	h := plugintest.New(t, Setup, plugintest.Upstream("http://mirror.test:8080/tavily", u),
		plugintest.Config(`{"max_results":3,"exclude_domains":[],"tavily":{"endpoint":"http://mirror.test:8080/tavily/","secret":"","depth":"basic"}}`))
	a := h.Do("POST", path, asking("x"))
	same(t, a.Body, `{"result":{"query":"x","results":[],"provider":"tavily"}}`)
	if !slices.Equal(u.requests, []string{"POST /search"}) {
		t.Errorf("asked %q", u.requests)
	}
	same(t, []byte(u.bodies[0]), `{"query":"x","topic":"general","search_depth":"basic","max_results":3,"include_raw_content":true}`)
}

func TestSearXNG(t *testing.T) {
	const instance = "https://searx.test"
	u := &upstream{answer: answering(200, "application/json", testdata(t, "searxng.json"))}
	h := plugintest.New(t, Setup, plugintest.Upstream(instance, u),
		plugintest.Config(`{"searxng":{"endpoint":"https://searx.test/","language":"sv","categories":"general,news","engines":"brave","safesearch":1}}`))
	a := h.Do("POST", path, asking("q"))
	if a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	same(t, a.Body, testdata(t, "searxng.want.json"))
	if want := []string{"GET /search?categories=general%2Cnews&engines=brave&format=json&language=sv&q=q&safesearch=1"}; !slices.Equal(u.requests, want) {
		t.Errorf("asked %q, want %q", u.requests, want)
	}
}

func TestDemoSaysSo(t *testing.T) {
	u := &upstream{answer: answering(200, "application/json", testdata(t, "tavily.json"), "X-Patchbay-Demo", "1")}
	a := plugintest.New(t, Setup, plugintest.Upstream(demoUpstream, u)).Do("POST", path, asking("weather in Stockholm"))
	if a.Status != 200 || a.Header.Get(demoHeader) != "1" {
		t.Errorf("%d %v", a.Status, a.Header)
	}
	same(t, a.Body, strings.Replace(testdata(t, "tavily.want.json"), `"provider": "tavily"`, `"provider": "demo"`, 1))
	if want := []string{"POST /search"}; !slices.Equal(u.requests, want) {
		t.Errorf("asked %q, want %q", u.requests, want)
	}
}

func TestResultsAreBounded(t *testing.T) {
	var results []string
	for i := range 30 {
		results = append(results, fmt.Sprintf(`{"url":"https://a.test/%d","title":%q,"content":%q}`, i, strings.Repeat("long ", 100), strings.Repeat("ord å ", 1000)))
	}
	a := withTavily(t, answering(200, "application/json", `{"results":[`+strings.Join(results, ",")+`]}`)).Do("POST", path, asking("x"))
	var got answer
	if err := a.JSON(&got); err != nil || len(got.Result.Results) != 8 {
		t.Fatalf("%v, %d results, want 8", err, len(got.Result.Results))
	}
	for _, r := range got.Result.Results {
		text, cut := strings.CutSuffix(r.Content, truncated)
		if n := len([]rune(text)); !cut || n > 1500 || n < 1490 || strings.HasSuffix(text, " ") {
			t.Errorf("%d characters, cut %v", n, cut)
		}
		if n := len([]rune(r.Title)); n > maxTitle+1 {
			t.Errorf("title: %d characters", n)
		}
	}
}

// TestFault09QueryIsSentAsTyped: "weather in Stockholm" became a stock-market query.
func TestFault09QueryIsSentAsTyped(t *testing.T) {
	queries := []string{
		"weather in Stockholm", "AAPL stock price", "latest news today", "site:example.com \"exact phrase\" -not OR (this)",
		"C++ & C# <templates> 100% a+b=c", "väder i Åre 🚲 天気", "two\nlines\tand a tab", "  much   space  ", "x", strings.Repeat("ab c", maxQuery/4),
	}
	for _, name := range []string{"tavily", "searxng", "demo"} {
		for _, q := range queries {
			var got string
			h := plugintest.New(t, Setup, plugintest.Secret("tavily", "s3cret"), plugintest.Config(`{"provider":"`+name+`","searxng":{"endpoint":"https://searx.test"}}`),
				plugintest.Upstream(tavilyHost, queryOf(&got)), plugintest.Upstream("https://searx.test", queryOf(&got)), plugintest.Upstream(demoUpstream, queryOf(&got)))
			a := h.Do("POST", path, asking(q))
			var said answer
			if err := a.JSON(&said); err != nil || a.Status != 200 || got != strings.TrimSpace(q) || said.Result.Query != got {
				t.Errorf("%s: %q went out as %q: %d %.200s", name, q, got, a.Status, a.Body)
			}
		}
	}
}

// queryOf is a provider that keeps the query it was asked.
func queryOf(got *string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Query string }
		_ = json.NewDecoder(r.Body).Decode(&body)
		*got = body.Query + r.URL.Query().Get("q")
		answering(200, "application/json", noResults)(w, r)
	})
}

// TestFault09EmptyQueryIsNotSearched: it was searched, and so was everything else that is no query.
func TestFault09EmptyQueryIsNotSearched(t *testing.T) {
	u := &upstream{answer: answering(200, "application/json", noResults)}
	h := withTavily(t, u)
	for _, body := range []string{
		"", "null", "[]", `"x"`, "{}", `{"q":null}`, `{"q":""}`, `{"q":" \t\n\u00a0"}`, `{"q":1}`, `{"q":true}`, `{"q":["x"]}`, `{"q":{"q":"x"}}`, `{"query":"x"}`,
		`{"q":"x"`, `{"q":"x"}}`, "q=x", "\xff", asking(strings.Repeat("å", maxQuery+1)),
	} {
		if a := h.Do("POST", path, body); a.Status != 422 || detail(a) == "" {
			t.Errorf("%.80q: %d %s, want 422", body, a.Status, a.Body)
		}
	}
	if a := h.Do("POST", path, nil); a.Status != 422 || detail(a) == "" {
		t.Errorf("no body: %d %s, want 422", a.Status, a.Body)
	}
	if n := u.calls(); n != 0 {
		t.Errorf("the provider was asked %d times", n)
	}
	h = plugintest.New(t, Setup, plugintest.Config(`{"searxng":{"endpoint":"https://searx.test"}}`), plugintest.Upstream("https://searx.test", u))
	if a := h.Do("POST", path, asking(strings.Repeat("å", maxQuery))); a.Status != 422 || detail(a) == "" || u.calls() != 0 {
		t.Errorf("a query too long for an address: %d %s", a.Status, a.Body)
	}
	if a := h.Do("POST", path, asking(strings.Repeat("å", maxQuery+1))); !strings.Contains(detail(a), "2001") || !strings.Contains(detail(a), "2000") {
		t.Errorf("the detail tells neither length: %s", a.Body)
	}
}

// TestFault14ClientGoneEndsProviderCall: nobody waits, so nobody works.
func TestFault14ClientGoneEndsProviderCall(t *testing.T) {
	begun, ended := make(chan bool), make(chan bool)
	wait := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		begun <- true
		<-r.Context().Done()
		ended <- true
	})
	h := withTavily(t, wait)
	s := h.Start("POST", path, asking("x"))
	<-begun
	s.Cancel()
	<-ended // or the test runs into its time-out

	h = withTavily(t, answering(200, "application/json", testdata(t, "tavily.json")), plugintest.Upstream(modelUpstream, wait), plugintest.Config(`{"summary":{"model":"m"}}`))
	s = h.Start("POST", path, asking("x"))
	<-begun
	s.Cancel()
	<-ended
}
