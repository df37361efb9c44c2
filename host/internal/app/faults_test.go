package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestFault01CountersAreOneTruth: after 300 requests, three workers of the original said 82 to 114.
func TestFault01CountersAreOneTruth(t *testing.T) {
	stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) {
		if !p.hang(r) {
			say(w, c, "Hello")
		}
	})
	p := serve(t, setup{plugins: "inference", gpustack: stack.url, workers: 3})
	const n = 300
	var answered atomic.Int64
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if a, err := p.try(t.Context(), "POST", p.url+"/api/inference/infer", chatBody("m", "hi")); err != nil || a.status != 200 {
				t.Errorf("%v %v", a, err)
				return
			}
			answered.Add(1)
		})
	}
	eventually(t, "all chats at the provider", func() bool { now, _ := stack.inFlight(); return now == n })
	if h := p.health(); h.Active != n+1 || h.Total != n+1 {
		t.Errorf("with %d chats open: %+v", n, h)
	}
	stack.release()
	all.Wait()
	if answered.Load() != n {
		t.Fatalf("%d of %d were answered", answered.Load(), n)
	}
	asked := 1
	eventually(t, "nobody in flight but the one who asks", func() bool { asked++; return p.health().Active == 1 })
	if h := p.health(); h.Total != n+asked+1 {
		t.Errorf("health counts %d requests, want %d", h.Total, n+asked+1)
	}
	m := decode[struct {
		Total      int `json:"total_requests"`
		Concurrent int `json:"concurrent_connections"`
		Peak       int `json:"peak_connections"`
		Status     map[string]int
	}](t, p.ok("GET", "/api/metrics", ""))
	if m.Total != n+asked+2 || m.Concurrent != 1 || m.Peak != n+1 {
		t.Errorf("metrics: %+v, want %d requests and a peak of %d", m, n+asked+2, n+1)
	}
	// The handler of the last answer may end after its client has read it.
	want := fmt.Sprintf(`patchbay_http_requests_total{code="200",method="POST",route="POST /api/inference/infer"} %d`, n)
	if prom := string(p.admins("/metrics").body); !strings.Contains(prom, want+"\n") {
		t.Errorf("/metrics has no line %s", want)
	}
}

// TestFault02HealthHoldsNobody: a health check of the original sampled the CPU for a second and blocked everybody.
func TestFault02HealthHoldsNobody(t *testing.T) {
	stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) { p.hang(r) })
	p := serve(t, setup{plugins: "inference", gpustack: stack.url})
	ctx, leave := context.WithCancel(t.Context())
	var open sync.WaitGroup
	defer open.Wait()
	defer leave()
	for range 20 {
		open.Go(func() { _, _ = p.try(ctx, "POST", p.url+"/api/inference/infer", chatBody("m", "hi")) })
	}
	eventually(t, "the chats hang", func() bool { now, _ := stack.inFlight(); return now == 20 })
	// One after the other: at a second each they would take five times our patience.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range 100 {
		for _, path := range []string{"/api/health", "/", "/api/metrics", "/livez"} {
			if a, err := p.try(ctx, "GET", p.url+path, ""); err != nil || a.status != 200 {
				t.Fatalf("%s: %v %v", path, a, err)
			}
		}
	}
	each(100, func(int) {
		if a, err := p.try(ctx, "GET", p.url+"/api/health", ""); err != nil || a.status != 200 {
			t.Errorf("%v %v", a, err)
		}
		if a, err := p.try(ctx, "GET", p.url+"/", ""); err != nil || a.status != 200 {
			t.Errorf("%v %v", a, err)
		}
	})
	if n := stack.seen.Load(); n != 20 {
		t.Errorf("health checks made %d calls", n-20)
	}
}

// TestFault03WaitingHoldsNobody: a search of the original froze its worker for as long as the provider took.
func TestFault03WaitingHoldsNobody(t *testing.T) {
	tavily := newTavily(t, func(p *provider, r *http.Request, query string) {
		if strings.HasPrefix(query, "slow") {
			p.hang(r)
		}
	})
	stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) {
		if c.Model == "slow" && p.hang(r) {
			return
		}
		say(w, c, "Hello")
	})
	other := newGPUStack(t, nil)
	p := serve(t, setup{gpustack: stack.url, tavily: tavily.url, models: other.url, workers: 1})
	var open sync.WaitGroup
	for i := range 150 {
		open.Go(func() {
			if a, err := p.try(t.Context(), "POST", p.url+"/api/tools/search", searchBody(fmt.Sprint("slow ", i))); err != nil || a.status != 200 {
				t.Errorf("%v %v", a, err)
			}
		})
		open.Go(func() {
			path := []string{"/api/inference/infer", "/api/inference/stream"}[i%2]
			if a, err := p.try(t.Context(), "POST", p.url+path, chatBody("slow", "hi")); err != nil || a.status != 200 {
				t.Errorf("%v %v", a, err)
			}
		})
	}
	eventually(t, "all hang", func() bool {
		chats, _ := stack.inFlight()
		searches, _ := tavily.inFlight()
		return chats == 150 && searches == 150
	})
	for range 20 {
		p.ok("GET", "/api/models", "")
		p.ok("POST", "/api/tools/search", searchBody("fast"))
		p.ok("POST", "/api/inference/infer", chatBody("fast", "hi"))
		p.ok("POST", "/api/inference/stream", chatBody("fast", "hi"))
	}
	for _, plugin := range p.app.Plugins() {
		if plugin.Workers != 1 {
			t.Errorf("plugin %s has %d workers, want 1", plugin.Name, plugin.Workers)
		}
	}
	stack.release()
	tavily.release()
	open.Wait()
}

// TestFault04StreamsCountToTheirLastByte: 5 open streams of the original showed as 1 request.
func TestFault04StreamsCountToTheirLastByte(t *testing.T) {
	next := make(chan struct{})
	stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) {
		begin(w)
		event(w, "Hel")
		select {
		case <-next:
		case <-r.Context().Done():
			return
		}
		event(w, "lo")
		done(w)
	})
	p := serve(t, setup{plugins: "inference", gpustack: stack.url})
	const n = 5
	streams := make([]*stream, n)
	for i := range streams {
		streams[i] = p.stream(chatBody("m", "hi"))
		streams[i].line("data: ")
	}
	for i := range streams {
		if h := p.health(); h.Active != n-i+1 {
			t.Fatalf("with %d open streams active_connections is %d", n-i, h.Active)
		}
		next <- struct{}{} // one of them, we do not know which
		eventually(t, "one stream less", func() bool { return p.health().Active == n-i })
	}
	for _, s := range streams {
		if rest := s.rest(); !strings.Contains(rest, `"lo"`) || !strings.HasSuffix(rest, "data: [DONE]\n\n") {
			t.Errorf("a stream ended with %q", rest)
		}
	}
}

// TestFault05OneConnectionForTwentyChats: the original opened a connection for each call.
func TestFault05OneConnectionForTwentyChats(t *testing.T) {
	stack := newGPUStack(t, nil)
	p := serve(t, setup{plugins: "inference", gpustack: stack.url, workers: 3})
	for i := range 20 {
		path := []string{"/api/inference/infer", "/api/inference/stream"}[i%2]
		if a := p.ok("POST", path, chatBody("m", "hi")); !strings.Contains(string(a.body), "Hello") {
			t.Fatal(a)
		}
	}
	if n := stack.conns.Load(); n != 1 || stack.seen.Load() != 20 {
		t.Errorf("%d chats took %d connections", stack.seen.Load(), n)
	}
}

// TestFault06MissingModelIs404BeforeTheFirstByte: a stream of a missing model was 200 and then a cut connection.
func TestFault06MissingModelIs404BeforeTheFirstByte(t *testing.T) {
	stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) {
		switch c.Model {
		case "missing":
			writeJSON(w, 404, `{"error":{"message":"Model missing not found","code":404,"type":"NotFound"}}`)
		case "first": // GPUStack says 200 and fails in the first event
			begin(w)
			fmt.Fprint(w, "data: {\"error\":{\"message\":\"Model first not found\",\"code\":404}}\n\n")
		case "cut":
			begin(w)
			event(w, "Hel")
			panic(http.ErrAbortHandler)
		case "later":
			begin(w)
			event(w, "Hel")
			fmt.Fprint(w, "data: {\"error\":{\"message\":\"out of memory\",\"code\":500}}\n\n")
			done(w)
		case "empty":
			begin(w)
		}
	})
	p := serve(t, setup{plugins: "inference", gpustack: stack.url})
	for _, model := range []string{"missing", "first"} {
		a := p.do("POST", "/api/inference/stream", chatBody(model, "hi"))
		if a.status != 404 || a.detail(t) != "Model "+model+" not found" {
			t.Errorf("%s: %v", model, a)
		}
	}
	for _, model := range []string{"cut", "later"} {
		s := p.stream(chatBody(model, "hi"))
		if line := s.line("data: "); !strings.Contains(line, "Hel") {
			t.Errorf("%s begins with %q", model, line)
		}
		rest, err := io.ReadAll(s.r)
		if err == nil {
			t.Errorf("%s: the stream ends as if it were whole, with %q", model, rest)
		}
		s = p.stream(chatBody(model, "hi"), "X-Stream-Events", "1")
		s.line("data: ")
		if rest := s.rest(); strings.Count(rest, "data: ") != 1 || !strings.HasPrefix(strings.TrimSpace(rest), `data: {"error":`) {
			t.Errorf("%s with events ends with %q", model, rest)
		}
	}
	if a := p.do("POST", "/api/inference/stream", chatBody("empty", "hi")); a.status == 200 && len(a.body) > 0 {
		t.Errorf("empty: %v", a)
	}
}

// TestFault07EachUpstreamStatusHasItsOwn: every upstream error of the original became 500.
func TestFault07EachUpstreamStatusHasItsOwn(t *testing.T) {
	var status atomic.Int64
	stack := newProvider(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Retry-After", "7")
		writeJSON(w, int(status.Load()), `{"error":{"message":"the upstream's own words","code":1}}`)
	})
	tavily := newProvider(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		writeJSON(w, int(status.Load()), `{"detail":{"error":"the upstream's own words"}}`)
	})
	s := setup{gpustack: stack.url, tavily: tavily.url, chats: "health: {failures: 0}, breaker: {failure_rate: 0}"}
	p := serve(t, s)
	for i, c := range []struct{ upstream, want, search int }{
		{400, 400, 400}, {404, 404, 404}, {409, 409, 409}, {413, 413, 413}, {422, 422, 422}, {429, 429, 503}, {503, 503, 503},
		{401, 502, 502}, {403, 502, 502}, {500, 502, 502}, {502, 502, 502}, {504, 502, 502}, {418, 502, 502},
		{432, 502, 503}, {433, 502, 503}, {301, 502, 502},
	} {
		status.Store(int64(c.upstream))
		s.search = fmt.Sprintf("max_results: %d", i+1) // another generation, which knows nothing of a provider that rests
		p.change(s)
		for _, ask := range []struct {
			method, path, body string
			want               int
		}{
			{"POST", "/api/inference/infer", chatBody("m", "hi"), c.want},
			{"POST", "/api/inference/stream", chatBody("m", "hi"), c.want},
			{"GET", "/api/models", "", c.want},
			{"POST", "/api/tools/search", searchBody("hi"), c.search},
		} {
			a := p.do(ask.method, ask.path, ask.body)
			if a.status != ask.want {
				t.Errorf("%d became on %s %v, want %d", c.upstream, ask.path, a, ask.want)
			}
			detail := a.detail(t)
			passes := ask.want == c.upstream && ask.want != 502 && ask.path != "/api/tools/search"
			if passes && detail != "the upstream's own words" {
				t.Errorf("%d on %s has the detail %q", c.upstream, ask.path, detail)
			}
			if ask.want == 502 && strings.Contains(detail, "own words") {
				t.Errorf("%d on %s tells what went wrong between us and the upstream: %q", c.upstream, ask.path, detail)
			}
			if retry := a.header.Get("Retry-After"); ask.want == 503 && ask.path == "/api/tools/search" && c.search != c.want && retry == "" {
				t.Errorf("%d on %s has no Retry-After", c.upstream, ask.path)
			} else if passes && retry != "7" {
				t.Errorf("%d on %s: Retry-After is %q, the upstream said 7", c.upstream, ask.path, retry)
			}
		}
	}
}

// TestFault07NoAnswerIs502Or504 is what an upstream does that gives no status at all.
func TestFault07NoAnswerIs502Or504(t *testing.T) {
	hang := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) {
		switch c.Model {
		case "hang":
			p.hang(r)
		case "cut":
			panic(http.ErrAbortHandler)
		case "half":
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"choices":`)
			panic(http.ErrAbortHandler)
		case "html":
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<h1>Welcome to nginx</h1>")
		case "nothing":
			w.Header().Set("Content-Type", "application/json")
		}
	})
	closed := newProvider(t, nil)
	dead := strings.Replace(closed.url, "127.0.0.1", "127.255.255.254", 1) // nobody listens there
	statuses := func(p *patchbay, model string, want int) {
		t.Helper()
		for _, path := range []string{"/api/inference/infer", "/api/inference/stream"} {
			if a := p.do("POST", path, chatBody(model, "hi")); a.status != want || a.detail(t) == "" {
				t.Errorf("%s on %s: %v, want %d", model, path, a, want)
			}
		}
	}
	t.Run("response_timeout", func(t *testing.T) {
		statuses(serve(t, setup{plugins: "inference", gpustack: hang.url, chats: "response_timeout: 100ms"}), "hang", 504)
	})
	t.Run("broken answers", func(t *testing.T) {
		p := serve(t, setup{plugins: "inference", gpustack: hang.url, chats: "health: {failures: 0}"})
		for _, model := range []string{"cut", "half", "html", "nothing"} {
			statuses(p, model, 502)
		}
	})
	t.Run("limits.timeout", func(t *testing.T) {
		statuses(serve(t, setup{plugins: "inference", gpustack: hang.url, limits: "timeout: 100ms, cpu: 10s"}), "hang", 504)
	})
	t.Run("nobody listens", func(t *testing.T) {
		statuses(serve(t, setup{plugins: "inference", gpustack: dead}), "m", 502)
	})
	t.Run("pool", func(t *testing.T) {
		p := serve(t, setup{plugins: "inference", gpustack: hang.url, chats: "max_conns: 1", limits: "timeout: 300ms, cpu: 10s"})
		each(3, func(int) { statuses(p, "hang", 504) })
	})
}

// TestFault08ModelsOfBothGenerations: the list was empty with GPUStack v2.
func TestFault08ModelsOfBothGenerations(t *testing.T) {
	for _, c := range []struct{ name, list string }{
		{"v0", `{"items":[
			{"id":1,"name":"qwen","categories":["llm"],"meta":{"n_params":7,"n_ctx":4096},"replicas":1,"ready_replicas":1},
			{"id":2,"name":"bge","categories":["embedding"],"meta":{},"replicas":1,"ready_replicas":1}],
			"pagination":{"page":1,"perPage":100,"total":2,"totalPage":1}}`},
		{"v2", `{"object":"list","data":[
			{"id":"qwen","object":"model","created":1,"owned_by":"gpustack","meta":{"n_params":7,"max_model_len":4096}}]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var query string
			stack := newProvider(t, func(w http.ResponseWriter, r *http.Request) {
				query = r.URL.RawQuery
				writeJSON(w, 200, c.list)
			})
			p := serve(t, setup{plugins: "models", gpustack: stack.url})
			got := decode[struct {
				Models []struct {
					Name  string
					Ready int `json:"ready_replicas"`
					Meta  struct {
						Params int `json:"n_params"`
						Ctx    int `json:"n_ctx"`
					}
				}
			}](t, p.ok("GET", "/api/models", ""))
			if len(got.Models) != 1 || got.Models[0].Name != "qwen" || got.Models[0].Ready != 1 || got.Models[0].Meta.Ctx != 4096 || got.Models[0].Meta.Params != 7 {
				t.Errorf("%+v", got)
			}
			if !strings.Contains(query, "categories=llm") || !strings.Contains(query, "with_meta=true") {
				t.Errorf("asked with %q", query)
			}
		})
	}
}

// TestFault09QueryAsTyped: "weather in Stockholm" became a stock-market query, and an empty one was searched.
func TestFault09QueryAsTyped(t *testing.T) {
	asked := make(chan string, 100)
	tavily := newTavily(t, func(_ *provider, _ *http.Request, query string) { asked <- query })
	p := serve(t, setup{plugins: "search", tavily: tavily.url})
	for _, query := range []string{"weather in Stockholm", "stock", "price of \"$3.50\" & more?", "Överraskning 天気 🌦", "a\tb\nc"} {
		got := decode[found](t, p.ok("POST", "/api/tools/search", searchBody(query)))
		if sent := receive(t, "the query", asked); sent != query || got.Result.Query != query {
			t.Errorf("%q was sent as %q and answered as %q", query, sent, got.Result.Query)
		}
	}
	before := tavily.seen.Load()
	for _, body := range []string{`{"q":""}`, `{"q":"  \t\n "}`, `{}`, `{"q":null}`, `{"q":7}`, `{"q":["a"]}`, `{"query":"a"}`, `[]`, `"a"`, `null`, `{"q":"a"`, `{"q":"a"}{"q":"b"}`} {
		if a := p.do("POST", "/api/tools/search", body); a.status != 422 || a.detail(t) == "" {
			t.Errorf("%s: %v", body, a)
		}
	}
	if n := tavily.seen.Load() - before; n != 0 {
		t.Errorf("%d bad queries were searched", n)
	}
}

// TestFault10PricesSurvive: the cleaner turned "$3.50 to $1.25" into "25", and an ordinary footer rejected a good page.
func TestFault10PricesSurvive(t *testing.T) {
	const text = "The fare went from $3.50 to $1.25 in 2019, says the city; a yearly pass costs 1,200.50 EUR (10% less than before) and has cost so since 1.1.2020."
	tavily := newProvider(t, func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, 200, results(1, text+"\n\nPrivacy policy | Terms of service | Contact\n© 2024 The City. All rights reserved."))
	})
	p := serve(t, setup{plugins: "search", tavily: tavily.url})
	got := decode[found](t, p.ok("POST", "/api/tools/search", searchBody("fares")))
	if len(got.Result.Results) != 1 || !strings.Contains(got.Result.Results[0].Content, text) {
		t.Errorf("%+v", got)
	}
}

// TestFault11AverageConcurrencyIsLittlesLaw: avg_concurrent_users was requests a second.
func TestFault11AverageConcurrencyIsLittlesLaw(t *testing.T) {
	stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) {
		if !p.hang(r) {
			say(w, c, "Hello")
		}
	})
	born := time.Now()
	p := serve(t, setup{plugins: "inference", gpustack: stack.url})
	started := time.Now()
	const n = 10
	var all sync.WaitGroup
	sent := time.Now()
	for range n {
		all.Go(func() { _, _ = p.try(t.Context(), "POST", p.url+"/api/inference/infer", chatBody("m", "hi")) })
	}
	eventually(t, "all hang", func() bool { now, _ := stack.inFlight(); return now == n })
	hang := time.Now()
	time.Sleep(2500 * time.Millisecond) // the load itself
	shortest := time.Since(hang).Seconds()
	stack.release()
	all.Wait()
	longest := time.Since(sent).Seconds()
	young := time.Since(started).Seconds()
	got := p.health().Performance
	old := time.Since(born).Seconds()
	// What is known is how long the requests took at least and at most, and how old the server is.
	low, high := n*shortest/old-0.05, n*longest/young+0.05
	if got.Users < low || got.Users > high {
		t.Errorf("avg_concurrent_users is %v, want %.2f to %.2f", got.Users, low, high)
	}
	low, high = n*60/old-0.1, (n+1)*60/young+0.1
	if got.PerMinute < low || got.PerMinute > high {
		t.Errorf("requests_per_minute is %v, want %.2f to %.2f", got.PerMinute, low, high)
	}
}

// stream is an open event stream.
type stream struct {
	t      testing.TB
	resp   *http.Response
	r      *bufio.Reader
	cancel context.CancelFunc
}

// stream opens a stream and fails when it is not one.
func (p *patchbay) stream(body string, headers ...string) *stream {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), patience)
	req, err := http.NewRequestWithContext(ctx, "POST", p.url+"/api/inference/stream", strings.NewReader(body))
	if err != nil {
		p.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := p.client.Do(req)
	if err != nil {
		p.Fatal(err)
	}
	s := &stream{p.T, resp, bufio.NewReader(resp.Body), cancel}
	p.Cleanup(s.close)
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || !strings.HasPrefix(kind, "text/event-stream") {
		p.Fatalf("no stream: %d %s %s", resp.StatusCode, kind, s.rest())
	}
	return s
}

// line waits for a line that begins with prefix.
func (s *stream) line(prefix string) string {
	s.t.Helper()
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			s.t.Fatalf("wait for a line %q: %v", prefix, err)
		}
		if strings.HasPrefix(line, prefix) {
			return line
		}
	}
}

// words are the tokens until the end of the stream.
func (s *stream) words() string {
	s.t.Helper()
	var text strings.Builder
	for line := range strings.SplitSeq(s.rest(), "\n") {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var e struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			s.t.Errorf("%q: %v", data, err)
		}
		for _, c := range e.Choices {
			text.WriteString(c.Delta.Content)
		}
	}
	return text.String()
}

func (s *stream) rest() string {
	s.t.Helper()
	b, err := io.ReadAll(s.r)
	if err != nil {
		s.t.Errorf("the stream broke off: %v after %q", err, b)
	}
	return string(b)
}

// close leaves without reading the rest.
func (s *stream) close() {
	s.cancel()
	_ = s.resp.Body.Close()
}
