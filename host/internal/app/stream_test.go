package app_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestStreamFirstByteIsOutWhileTheUpstreamHoldsTheRest is why people stream at all.
func TestStreamFirstByteIsOutWhileTheUpstreamHoldsTheRest(t *testing.T) {
	stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) {
		begin(w)
		event(w, "Hel")
		if p.hang(r) {
			return
		}
		event(w, "lo")
		done(w)
	})
	p := serve(t, setup{plugins: "inference", gpustack: stack.url})
	s := p.stream(chatBody("m", "hi"))
	if line := s.line("data: "); !strings.Contains(line, `"Hel"`) {
		t.Errorf("the first event is %q", line)
	}
	if now, _ := stack.inFlight(); now != 1 {
		t.Errorf("the upstream is done: it should hold the rest")
	}
	for name, want := range map[string]string{"X-Accel-Buffering": "no", "Cache-Control": "no-cache", "Content-Encoding": "", "Content-Length": ""} {
		if got := s.resp.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	stack.release()
	if got := s.words(); got != "lo" {
		t.Errorf("the rest is %q", got)
	}
}

// TestStreamHeartbeatPasses: a comment keeps proxies from giving up before the first token.
func TestStreamHeartbeatPasses(t *testing.T) {
	stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) {
		begin(w)
		_, _ = io.WriteString(w, ": wait\n\n")
		_ = http.NewResponseController(w).Flush()
		if p.hang(r) {
			return
		}
		event(w, "Hello")
		done(w)
	})
	p := serve(t, setup{plugins: "inference", gpustack: stack.url})
	s := p.stream(chatBody("m", "hi"))
	if line := s.line(":"); line != ": wait\n" {
		t.Errorf("the heartbeat is %q", line)
	}
	stack.release()
	if got := s.words(); got != "Hello" {
		t.Error(got)
	}
}

// TestStreamOneEventPerChunk: the browser page decodes each network chunk alone, with no carry-over, and takes only
// lines that begin exactly "data: ".
func TestStreamOneEventPerChunk(t *testing.T) {
	stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) {
		begin(w)
		flush := http.NewResponseController(w).Flush
		_, _ = io.WriteString(w, "data: {\"a\":1}\n\ndata:{\"a\":2}\r\n\r\ndata: {\"a\":\"å🌦\"}\n\nda") // three at once, and the start of a fourth
		_ = flush()
		_, _ = io.WriteString(w, "ta: {\"a\":\n")
		_ = flush()
		_, _ = io.WriteString(w, "data: 4}\n\nid: 5\nevent: message\ndata: {\"a\":5}\n\ndata: [DO")
		_ = flush()
		_, _ = io.WriteString(w, "NE]\n\n")
	})
	p := serve(t, setup{plugins: "inference", gpustack: stack.url})
	conn := p.dial()
	body := chatBody("m", "hi")
	fmt.Fprintf(conn, "POST /api/inference/stream HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	r := bufio.NewReader(conn)
	for { // the head
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\r\n" {
			break
		}
	}
	want := []string{
		"data: {\"a\":1}\n\n", "data: {\"a\":2}\n\n", "data: {\"a\":\"\\u00e5\\ud83c\\udf26\"}\n\n",
		"data: {\"a\":\ndata: 4}\n\n", "id: 5\nevent: message\ndata: {\"a\":5}\n\n", "data: [DONE]\n\n", "",
	}
	for i, want := range want {
		if got := chunk(t, r); got != want {
			t.Fatalf("chunk %d is %q, want %q", i, got, want)
		}
	}
}

// chunk reads one chunk of a chunked body.
func chunk(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	size, err := strconv.ParseUint(strings.TrimSpace(line), 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size+2)
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatal(err)
	}
	return string(b[:size])
}

// dial opens a raw connection, which ends with the test.
func (p *patchbay) dial() net.Conn {
	p.Helper()
	conn, err := net.Dial("tcp", p.app.Addr().String())
	if err != nil {
		p.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	p.Cleanup(func() { conn.Close() })
	return conn
}

// TestClientThatLeavesEndsTheUpstreamCall: stop buttons must stop the GPU. Nothing else would end these calls in the time of the test.
func TestClientThatLeavesEndsTheUpstreamCall(t *testing.T) {
	left := make(chan string, 10)
	stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) {
		switch c.Model {
		case "begun":
			begin(w)
			event(w, "Hel")
		case "half":
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"choices":[`)
			_ = http.NewResponseController(w).Flush()
		case "endless":
			begin(w)
			for i := 0; r.Context().Err() == nil; i++ {
				event(w, strconv.Itoa(i))
				time.Sleep(time.Millisecond)
			}
		}
		if p.hang(r) {
			left <- c.Model
		}
	})
	tavily := newTavily(t, func(p *provider, r *http.Request, query string) {
		if p.hang(r) {
			left <- query
		}
	})
	p := serve(t, setup{plugins: "inference search", gpustack: stack.url, tavily: tavily.url, chats: "chunk_timeout: " + forever})
	for _, c := range []struct{ name, path, body string }{
		{"wait", "/api/inference/stream", chatBody("wait", "hi")},
		{"begun", "/api/inference/stream", chatBody("begun", "hi")},
		{"endless", "/api/inference/stream", chatBody("endless", "hi")},
		{"wait", "/api/inference/infer", chatBody("wait", "hi")},
		{"half", "/api/inference/infer", chatBody("half", "hi")},
		{"query", "/api/tools/search", searchBody("query")},
	} {
		seen := stack.seen.Load() + tavily.seen.Load()
		ctx, leave := context.WithCancel(t.Context())
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			_, _ = p.try(ctx, "POST", p.url+c.path, c.body)
		}()
		eventually(t, "the upstream is asked", func() bool { return stack.seen.Load()+tavily.seen.Load() == seen+1 })
		leave()
		<-gone
		if who := receive(t, c.name+" on "+c.path+": the end of the upstream call", left); who != c.name {
			t.Errorf("%s: %s left", c.name, who)
		}
		eventually(t, "nothing in flight", func() bool { return p.health().Active == 1 })
	}
	eventually(t, "no connection in use", func() bool {
		for _, pool := range p.app.Upstreams() {
			if pool.InUse != 0 || pool.Waiting != 0 {
				return false
			}
		}
		return true
	})
}

// TestClientThatClosesItsHalfOnly: one that has said everything and reads on gets its answer or a closed connection, and nothing is left behind.
func TestClientThatClosesItsHalfOnly(t *testing.T) {
	stack := newGPUStack(t, nil)
	p := serve(t, setup{plugins: "inference", gpustack: stack.url})
	conn := p.dial()
	body := chatBody("m", "hi")
	fmt.Fprintf(conn, "POST /api/inference/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	_ = conn.(*net.TCPConn).CloseWrite()
	b, _ := io.ReadAll(conn)
	if len(b) > 0 && !strings.HasPrefix(string(b), "HTTP/1.1 200 ") {
		t.Errorf("%q", b)
	}
	eventually(t, "nothing in flight", func() bool { return p.health().Active == 1 })
}

// TestOpenChatsDelayNoSearch: 300 chats that stream for long are the normal state.
func TestOpenChatsDelayNoSearch(t *testing.T) {
	stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) {
		begin(w)
		event(w, "Hel")
		if p.hang(r) {
			return
		}
		event(w, "lo")
		done(w)
	})
	tavily := newTavily(t, nil)
	p := serve(t, setup{plugins: "inference search", gpustack: stack.url, tavily: tavily.url, workers: 1})
	const n = 300
	streams := make([]*stream, n)
	var open sync.WaitGroup
	for i := range streams {
		open.Go(func() {
			streams[i] = p.stream(chatBody("m", "hi"))
			streams[i].line("data: ")
		})
	}
	open.Wait()
	if t.Failed() {
		return
	}
	for range 20 {
		p.ok("POST", "/api/tools/search", searchBody("hi"))
	}
	if now, _ := stack.inFlight(); now != n {
		t.Errorf("%d of %d chats are open", now, n)
	}
	stack.release()
	for _, s := range streams {
		if got := s.words(); got != "lo" {
			t.Fatalf("a stream ended with %q", got)
		}
	}
}

// TestStreamsStayApart: no token of one chat in another's, with all of them at once.
func TestStreamsStayApart(t *testing.T) {
	stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) {
		words := make([]string, 30)
		for i := range words {
			words[i] = c.Messages[0].Content + ";"
		}
		say(w, c, words...)
	})
	p := serve(t, setup{plugins: "inference", gpustack: stack.url, workers: 3})
	each(100, func(i int) {
		name := fmt.Sprint("chat-", i)
		path := []string{"/api/inference/infer", "/api/inference/stream"}[i%2]
		a, err := p.try(t.Context(), "POST", p.url+path, chatBody("m", name))
		if err != nil || a.status != 200 || strings.Count(string(a.body), name+";") != 30 || strings.Count(string(a.body), "chat-") != 30 {
			t.Errorf("%s: %v %v", name, a, err)
		}
	})
}
