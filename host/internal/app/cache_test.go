package app_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// kept is what the admin listener says of the search's cache.
type kept struct {
	Entries, Waiting                                  int
	Hits, Stale, Shared, Misses, Refreshes, Takeovers int
	Status                                            map[string]string
}

func (p *patchbay) kept() kept {
	p.Helper()
	return decode[struct{ Cache kept }](p.T, p.admins("/api/plugins/search")).Cache
}

// change puts another configuration in force.
func (p *patchbay) change(s setup) {
	p.Helper()
	replace(p.T, p.file, s.yaml(p.T))
	if err := p.app.Reload(p.Context()); err != nil {
		p.Fatal(err)
	}
}

// states counts answers by their X-Cache.
type states struct {
	mu sync.Mutex
	n  map[string]int
}

func (s *states) add(a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == nil {
		s.n = map[string]int{}
	}
	s.n[a.header.Get("X-Cache")]++
}

// TestSearchIsPaidForOnce: 10,000 identical searches, 200 at a time, on three workers, are one call.
func TestSearchIsPaidForOnce(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 1000
	}
	tavily := newTavily(t, func(p *provider, r *http.Request, _ string) { time.Sleep(50 * time.Millisecond) })
	p := serve(t, setup{plugins: "search", tavily: tavily.url, cache: "1MiB", workers: 3})
	var got states
	var next atomic.Int64
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			for next.Add(1) <= int64(n) {
				a, err := p.try(t.Context(), "POST", p.url+"/api/tools/search", searchBody("the same question"))
				if err != nil || a.status != 200 || !strings.Contains(string(a.body), "Patch bays") {
					t.Errorf("%v %v", a, err)
					return
				}
				got.add(a)
			}
		})
	}
	all.Wait()
	if calls := tavily.seen.Load(); calls != 1 {
		t.Errorf("the provider was called %d times", calls)
	}
	if got.n["miss"] != 1 || got.n["miss"]+got.n["hit"]+got.n["shared"] != n {
		t.Errorf("%v", got.n)
	}
	if k := p.kept(); k.Misses != 1 || k.Hits != got.n["hit"] || k.Shared != got.n["shared"] || k.Entries == 0 {
		t.Errorf("%+v, and the answers said %v", k, got.n)
	}
	a, err := p.try(t.Context(), "GET", p.admin+"/metrics", "", "Authorization", "Bearer "+p.token)
	if want := fmt.Sprintf("patchbay_cache_hits_total{plugin=\"search\"} %d", got.n["hit"]); err != nil || !strings.Contains(string(a.body), want) {
		t.Errorf("the metrics do not say %s", want)
	}
}

// TestStaleSearchWaitsForNobody: after the TTL one search is made in the background, and everybody has the old answer at once, while the provider hangs.
func TestStaleSearchWaitsForNobody(t *testing.T) {
	var hangs atomic.Bool
	tavily := newTavily(t, func(p *provider, r *http.Request, _ string) {
		if hangs.Load() {
			p.hang(r)
		}
	})
	p := serve(t, setup{plugins: "search", tavily: tavily.url, cache: "1MiB", workers: 3, search: `cache: {ttl: 300ms, stale: 1h}`})
	first := p.search("q")
	hangs.Store(true)
	eventually(t, "the answer is stale", func() bool { return p.search("q").header.Get("X-Cache") == "stale" })
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			a, err := p.try(t.Context(), "POST", p.url+"/api/tools/search", searchBody("q"))
			if err != nil || a.status != 200 || a.header.Get("X-Cache") != "stale" || string(a.body) != string(first.body) {
				t.Errorf("%v %q %v", a, a.header.Get("X-Cache"), err)
			}
		})
	}
	all.Wait()
	eventually(t, "the background search is made", func() bool { return tavily.seen.Load() == 2 })
	if k, calls := p.kept(), tavily.seen.Load(); k.Refreshes != 1 || k.Misses != 1 || calls != 2 {
		t.Errorf("%d calls, %+v", calls, k)
	}
	tavily.release()
	eventually(t, "the answer is fresh", func() bool { return p.search("q").header.Get("X-Cache") == "hit" })
}

// TestSearcherLeaves: the one whose search is under way goes, and 50 wait for it: one more call.
func TestSearcherLeaves(t *testing.T) {
	tavily := newTavily(t, func(p *provider, r *http.Request, _ string) { p.hang(r) })
	p := serve(t, setup{plugins: "search", tavily: tavily.url, cache: "1MiB", workers: 3})
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := p.try(ctx, "POST", p.url+"/api/tools/search", searchBody("q")); err == nil {
			t.Error("who left was answered")
		}
	})
	eventually(t, "the provider is asked", func() bool { return tavily.seen.Load() == 1 })
	for range 50 {
		all.Go(func() {
			a, err := p.try(t.Context(), "POST", p.url+"/api/tools/search", searchBody("q"))
			if err != nil || a.status != 200 {
				t.Errorf("%v %v", a, err)
			}
		})
	}
	eventually(t, "all wait", func() bool { return p.kept().Waiting == 50 })
	leave()
	eventually(t, "the provider is asked again", func() bool { return tavily.seen.Load() == 2 })
	tavily.release()
	all.Wait()
	if calls, k := tavily.seen.Load(), p.kept(); calls != 2 || k.Takeovers != 1 {
		t.Errorf("%d calls, %+v", calls, k)
	}
}

// TestNoCacheNeedsLeave: a client's no-cache costs the operator money.
func TestNoCacheNeedsLeave(t *testing.T) {
	for _, c := range []struct {
		config string
		calls  int64
		state  string
	}{{"", 1, "hit"}, {"cache: {no_cache: true}", 2, "miss"}, {"cache: {ttl: 0s}", 3, "miss"}} {
		t.Run(c.config, func(t *testing.T) {
			tavily := newTavily(t, nil)
			p := serve(t, setup{plugins: "search", tavily: tavily.url, cache: "1MiB", search: c.config})
			p.search("q")
			p.search(" q ")
			a := p.do("POST", "/api/tools/search", searchBody("q"), "Cache-Control", "max-age=0, No-Cache")
			if calls := tavily.seen.Load(); calls != c.calls || a.header.Get("X-Cache") != c.state {
				t.Errorf("%d calls, %q", calls, a.header.Get("X-Cache"))
			}
		})
	}
}

// TestAnswersOutliveASwap: the cache is the plugin's, not its generation's; another configuration has other answers.
func TestAnswersOutliveASwap(t *testing.T) {
	tavily := newTavily(t, nil)
	s := setup{plugins: "search", tavily: tavily.url, cache: "1MiB"}
	p := serve(t, s)
	p.search("q")
	s.limits = "cpu: 9s"
	p.change(s)
	if a := p.search("q"); a.header.Get("X-Cache") != "hit" || a.header.Get("Age") == "" || tavily.seen.Load() != 1 {
		t.Errorf("%v, %d calls", a.header, tavily.seen.Load())
	}
	s.search = "max_results: 3"
	p.change(s)
	a := p.search("q")
	var got found
	if err := json.Unmarshal(a.body, &got); err != nil || a.header.Get("X-Cache") != "miss" || len(got.Result.Results) != 3 {
		t.Errorf("%v %v", a, err)
	}
	s.cache = ""
	p.change(s)
	p.search("q")
	if p.search("q"); tavily.seen.Load() != 4 {
		t.Errorf("%d calls", tavily.seen.Load())
	}
	if list := string(p.admins("/api/plugins/search").body); strings.Contains(list, `"cache": {`) || !strings.Contains(list, "cache: 16MiB") {
		t.Errorf("%s", list)
	}
}

// TestLimitedProviderRests: one 429 is enough for all workers, and for the generation after them. The next provider answers, and the operator reads why.
func TestLimitedProviderRests(t *testing.T) {
	tavily := newProvider(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "120")
		writeJSON(w, 429, `{"detail":{"error":"slow down"}}`)
	})
	s := setup{plugins: "search", tavily: tavily.url, cache: "1MiB", workers: 3, search: "providers: [tavily, demo]"}
	p := serve(t, s)
	ask := func(query string) {
		a, err := p.try(t.Context(), "POST", p.url+"/api/tools/search", searchBody(query))
		var got struct {
			Result struct {
				Provider string
				Skipped  []struct{ Provider, Why string }
			}
		}
		if err != nil || json.Unmarshal(a.body, &got) != nil || a.status != 200 || got.Result.Provider != "demo" || len(got.Result.Skipped) != 1 ||
			got.Result.Skipped[0].Provider != "tavily" || !strings.Contains(got.Result.Skipped[0].Why, "rate limited") {
			t.Errorf("%v %v", a, err)
		}
	}
	ask("first")
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() { ask(fmt.Sprint("query ", i)) })
	}
	all.Wait()
	s.limits = "cpu: 9s"
	p.change(s)
	ask("after the swap")
	if n := tavily.seen.Load(); n != 1 {
		t.Errorf("the provider was called %d times", n)
	}
	if status := p.kept().Status["provider/tavily"]; !strings.Contains(status, `"why":"rate limited"`) || !strings.Contains(status, `"seconds":120`) {
		t.Errorf("%q", status)
	}
}

// TestProvidersThatMisbehave: a clear error, or what had come, and flat memory.
func TestProvidersThatMisbehave(t *testing.T) {
	whole := results(3, page)
	half := whole[:len(whole)-60]
	for name, c := range map[string]struct {
		answer  http.HandlerFunc
		status  int
		partial bool
	}{
		"hangs before its head": {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 504, false},
		"hangs in its body": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(half))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, 200, true},
		"garbage":      {func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, "\x1f\x8b\x00\xff}{][") }, 502, false},
		"half a JSON":  {func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, half) }, 200, true},
		"another type": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(whole)) }, 502, false},
		"invalid UTF-8": {func(w http.ResponseWriter, _ *http.Request) {
			writeJSON(w, 200, strings.Replace(whole, "Title 1", "Title \xff\xfe", 1))
		}, 200, false},
		"chunks of a byte": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for i := range len(whole) {
				_, _ = w.Write([]byte(whole[i : i+1]))
				_ = http.NewResponseController(w).Flush()
			}
		}, 200, false},
		"no end": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"results":[`))
			for junk := []byte(`{"x":"` + strings.Repeat("x", 32<<10) + `"},`); r.Context().Err() == nil; {
				if _, err := w.Write(junk); err != nil {
					return
				}
			}
		}, 502, false},
		"a gigabyte": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", strconv.Itoa(1<<30))
			for spaces := bytes.Repeat([]byte(" "), 32<<10); r.Context().Err() == nil; {
				if _, err := w.Write(spaces); err != nil {
					return
				}
			}
		}, 502, false},
		"a bomb": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			for spaces := bytes.Repeat([]byte(" "), 1<<20); r.Context().Err() == nil; {
				if _, err := z.Write(spaces); err != nil {
					return
				}
			}
		}, 502, false},
	} {
		t.Run(name, func(t *testing.T) {
			tavily := newProvider(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // or the server would not see its client leave
				c.answer(w, r)
			})
			s := setup{plugins: "search", tavily: tavily.url}
			p := serve(t, s)
			var a answer
			ask := func() error {
				if peak := heapPeak(func() { a = p.search("q") }); peak > 64<<20 { // the provider's own in it
					t.Errorf("the heap grew by %d MiB", peak>>20)
				}
				if a.status != c.status || strings.Contains(string(a.body), `"partial":true`) != c.partial {
					return fmt.Errorf("%d %.300s", a.status, a.body)
				}
				return nil
			}
			if strings.HasPrefix(name, "hangs") {
				inTime(t, "what came before it hung", func(timeout time.Duration) error {
					s.search = fmt.Sprintf("timeout: %v", timeout)
					p.change(s)
					return ask()
				})
			} else if err := ask(); err != nil {
				t.Error(err)
			}
			if a.status != 200 {
				a.detail(t)
			} else if n := len(decode[found](t, a).Result.Results); n < 2 {
				t.Errorf("%d results", n)
			}
		})
	}
}
