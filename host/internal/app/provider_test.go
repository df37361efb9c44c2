package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// provider is an upstream under the test's control. It counts connections and requests.
type provider struct {
	url   string
	conns atomic.Int64 // opened so far
	seen  atomic.Int64 // requests so far
	gone  atomic.Int64 // requests whose client left before the answer

	answer http.HandlerFunc // set before the first request

	mu      sync.Mutex // guards what follows
	running int
	peak    int
	free    chan struct{} // closed by release
}

// newProvider serves answer until the test ends. A request that hangs must do it in hang.
func newProvider(t *testing.T, answer http.HandlerFunc) *provider {
	t.Helper()
	p := &provider{free: make(chan struct{}), answer: answer}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.seen.Add(1)
		p.mu.Lock()
		p.running++
		p.peak = max(p.peak, p.running)
		p.mu.Unlock()
		defer func() {
			p.mu.Lock()
			p.running--
			p.mu.Unlock()
		}()
		p.answer(w, r)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			p.conns.Add(1)
		}
	}
	s.Start()
	p.url = s.URL
	t.Cleanup(func() {
		p.release()
		s.Close()
	})
	return p
}

// hang waits until the test releases all, or the client leaves, which it says.
func (p *provider) hang(r *http.Request) (left bool) {
	p.mu.Lock()
	free := p.free
	p.mu.Unlock()
	select {
	case <-free:
		return false
	case <-r.Context().Done():
		p.gone.Add(1)
		return true
	}
}

// release ends what hangs, now and later.
func (p *provider) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.free:
	default:
		close(p.free)
	}
}

// inFlight is how many requests run now, and how many did at most.
func (p *provider) inFlight() (now, peak int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running, p.peak
}

// chat is what a client of the model asks.
type chat struct {
	Model    string
	Stream   bool
	Messages []struct{ Role, Content string }
}

func chatBody(model, content string) string {
	return fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":%q}]}`, model, content)
}

func searchBody(query string) string {
	b, _ := json.Marshal(map[string]string{"q": query})
	return string(b)
}

// newGPUStack serves chats. Its answer to a chat may be left out: then it is "Hello".
func newGPUStack(t *testing.T, answer func(p *provider, w http.ResponseWriter, r *http.Request, c chat)) *provider {
	t.Helper()
	p := newProvider(t, nil)
	p.answer = func(w http.ResponseWriter, r *http.Request) {
		switch r.Method + " " + r.URL.Path {
		case "GET /v1/models":
			writeJSON(w, 200, `{"object":"list","data":[{"id":"m1","object":"model"}]}`)
		case "POST /v1/chat/completions":
			b, _ := io.ReadAll(r.Body)
			var c chat
			if err := json.Unmarshal(b, &c); err != nil {
				writeJSON(w, 400, `{"error":{"message":"the body is no JSON","code":400}}`)
				return
			}
			if answer != nil {
				answer(p, w, r, c)
				return
			}
			say(w, c, "Hello")
		default:
			writeJSON(w, 404, `{"error":{"message":"no such path","code":404}}`)
		}
	}
	return p
}

// say answers a chat, word by word when it is a stream.
func say(w http.ResponseWriter, c chat, words ...string) {
	if !c.Stream {
		writeJSON(w, 200, fmt.Sprintf(`{"id":"c1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}]}`, strings.Join(words, "")))
		return
	}
	begin(w)
	for _, word := range words {
		event(w, word)
	}
	done(w)
}

func begin(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(200)
}

// event sends one token.
func event(w http.ResponseWriter, word string) {
	fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":%q}}]}\n\n", word)
	_ = http.NewResponseController(w).Flush()
}

func done(w http.ResponseWriter) {
	_, _ = io.WriteString(w, "data: [DONE]\n\n")
	_ = http.NewResponseController(w).Flush()
}

func writeJSON(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// page is a text that is worth showing.
const page = "Patch bays route signals between the machines of a studio. Engineers use them because cables are easier to move than walls, and because nobody wants to crawl behind a rack."

// newTavily serves searches. hold is called before each answer, with the query; it may wait. A nil one does nothing.
func newTavily(t *testing.T, hold func(p *provider, r *http.Request, query string)) *provider {
	t.Helper()
	p := newProvider(t, nil)
	p.answer = func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Query      string
			MaxResults int `json:"max_results"`
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || r.Method+" "+r.URL.Path != "POST /search" {
			writeJSON(w, 400, `{"detail":{"error":"no search"}}`)
			return
		}
		if hold != nil {
			hold(p, r, in.Query)
		}
		writeJSON(w, 200, results(in.MaxResults, page))
	}
	return p
}

// results is Tavily's answer with n pages of the same text.
func results(n int, text string) string {
	type hit struct {
		Title   string  `json:"title"`
		URL     string  `json:"url"`
		Content string  `json:"content"`
		Score   float64 `json:"score"`
	}
	hits := make([]hit, n)
	for i := range hits {
		hits[i] = hit{fmt.Sprintf("Title %d", i+1), fmt.Sprintf("https://example.com/%d", i+1), text, 0.9}
	}
	b, _ := json.Marshal(map[string]any{"results": hits})
	return string(b)
}
