package app_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestPoolCapAnswersAllInOrder: callers beyond the cap wait their turn. The default cap is 200; 5 shows the same.
func TestPoolCapAnswersAllInOrder(t *testing.T) {
	const limit, n = 5, 40
	var mu sync.Mutex
	var order []string
	next := make(chan struct{})
	tavily := newTavily(t, func(p *provider, r *http.Request, query string) {
		mu.Lock()
		order = append(order, query)
		mu.Unlock()
		<-next
	})
	p := serve(t, setup{plugins: "search", tavily: tavily.url, client: fmt.Sprintf("max_conns: %d", limit)})
	var all sync.WaitGroup
	var want []string
	for i := range n {
		query := fmt.Sprintf("query %02d", i)
		want = append(want, query)
		all.Go(func() {
			a, err := p.try(t.Context(), "POST", p.url+"/api/tools/search", searchBody(query))
			if err != nil || a.status != 200 {
				t.Errorf("%s: %v %v", query, a, err)
			}
		})
		eventually(t, "the search is under way or in the queue", func() bool {
			shared := p.app.Upstreams()[0]
			mu.Lock()
			defer mu.Unlock()
			return len(order)+shared.Waiting == i+1
		})
	}
	if shared := p.app.Upstreams()[0]; shared.Waiting != n-limit || shared.Open != limit {
		t.Errorf("%+v", shared)
	}
	for i := range n {
		next <- struct{}{}
		eventually(t, "the next search is under way", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(order) == min(n, limit+i+1)
		})
	}
	all.Wait()
	if !slices.Equal(order, want) {
		t.Errorf("the provider saw %v", order)
	}
	if _, peak := tavily.inFlight(); peak != limit {
		t.Errorf("the provider saw %d at once, want %d", peak, limit)
	}
	if conns := tavily.conns.Load(); conns != limit {
		t.Errorf("%d connections", conns)
	}
}

// TestPoolDefaultIs200: the seed's figure, with more searches than that at once.
func TestPoolDefaultIs200(t *testing.T) {
	tavily := newTavily(t, func(p *provider, r *http.Request, query string) { p.hang(r) })
	p := serve(t, setup{plugins: "search", tavily: tavily.url})
	const n = 260
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			a, err := p.try(t.Context(), "POST", p.url+"/api/tools/search", searchBody(fmt.Sprint(i)))
			if err != nil || a.status != 200 {
				t.Errorf("%v %v", a, err)
			}
		})
	}
	eventually(t, "200 at the provider and 60 in the queue", func() bool {
		now, _ := tavily.inFlight()
		return now == 200 && p.app.Upstreams()[0].Waiting == 60
	})
	tavily.release()
	all.Wait()
	if _, peak := tavily.inFlight(); peak != 200 {
		t.Errorf("the provider saw %d at once", peak)
	}
}

// TestPoolsOfUpstreamsAreApart: chats that fill their pool must not take the searches'.
func TestPoolsOfUpstreamsAreApart(t *testing.T) {
	stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) {
		if !p.hang(r) {
			say(w, c, "Hello")
		}
	})
	tavily := newTavily(t, nil)
	p := serve(t, setup{plugins: "search inference", gpustack: stack.url, chats: "max_conns: 3", tavily: tavily.url})
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if a, err := p.try(t.Context(), "POST", p.url+"/api/inference/infer", chatBody("m", "hi")); err != nil || a.status != 200 {
				t.Errorf("%v %v", a, err)
			}
		})
	}
	eventually(t, "the chats fill their pool", func() bool {
		for _, pool := range p.app.Upstreams() {
			if pool.Pool == "gpustack" {
				return pool.InUse == 3 && pool.Waiting == 7
			}
		}
		return false
	})
	p.ok("POST", "/api/tools/search", searchBody("hi"))
	stack.release()
	all.Wait()
}

// TestCPULimitIsNotSharedByABatch: many answers that come at one moment are worked off in one go. Each takes some
// milliseconds; together they take more than the limit, and must not look like a guest that runs wild.
func TestCPULimitIsNotSharedByABatch(t *testing.T) {
	text := strings.Repeat("Patch bays route signals between the machines of a studio, and cost $3.50 to $1.25 a piece. ", 300)
	const n = 50
	tavily := newProvider(t, nil)
	tavily.answer = func(w http.ResponseWriter, r *http.Request) {
		tavily.hang(r)
		writeJSON(w, 200, results(20, text))
	}
	p := serve(t, setup{plugins: "search", tavily: tavily.url, search: "max_results: 20, max_chars: 20000", limits: "cpu: 500ms, memory: 512MiB, timeout: " + forever})
	var all sync.WaitGroup
	var failed atomic.Int64
	for i := range n {
		all.Go(func() {
			a, err := p.try(t.Context(), "POST", p.url+"/api/tools/search", searchBody(fmt.Sprint(i)))
			if err != nil || a.status != 200 {
				failed.Add(1)
			}
		})
	}
	eventually(t, "all are at the provider", func() bool { now, _ := tavily.inFlight(); return now == n })
	tavily.release()
	all.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d searches failed: %s", failed.Load(), n, p.app.Plugins()[0].LastError)
	}
	t.Logf("the plugin has computed for %s s", p.metric(`patchbay_plugin_cpu_seconds_total{plugin="search"}`))
}
