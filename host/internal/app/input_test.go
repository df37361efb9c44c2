package app_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// exchange sends raw bytes, not caring whether all are taken, and reads one answer. A closed connection without an
// answer has the status 0.
func (p *patchbay) exchange(send io.Reader) answer {
	p.Helper()
	conn := p.dial()
	defer conn.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.Copy(conn, send)
	}()
	a := readAnswer(p, conn)
	conn.Close()
	<-sent
	return a
}

func readAnswer(p *patchbay, conn net.Conn) answer {
	p.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			p.Fatalf("neither an answer nor a closed connection: %v", err)
		}
		return answer{}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.Errorf("the answer %d breaks off: %v", resp.StatusCode, err)
	}
	return answer{resp.StatusCode, resp.Header, b}
}

// post is a raw request with a body.
func post(path, body string, headers ...string) string {
	head := ""
	for _, h := range headers {
		head += h + "\r\n"
	}
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n%s", path, head, len(body), body)
}

// TestBadInputHasItsStatus: whatever a client sends, it gets the status of the table in the one shape, or a closed connection.
func TestBadInputHasItsStatus(t *testing.T) {
	tavily, stack := newTavily(t, nil), newGPUStack(t, nil)
	s := setup{tavily: tavily.url, gpustack: stack.url}
	big := strings.Repeat("a", 9<<10)
	const searches, infer, stream = "/api/tools/search", "/api/inference/infer", "/api/inference/stream"
	type input struct {
		name, send string
		want       []int
	}
	inputs := []input{
		{"no body", post(searches, ""), []int{422}},
		{"no body and no length", "POST " + searches + " HTTP/1.1\r\nHost: x\r\n\r\n", []int{422}},
		{"no JSON", post(searches, "q=hello"), []int{422}},
		{"half JSON", post(searches, `{"q":"hel`), []int{422}},
		{"two documents", post(searches, `{"q":"a"} {"q":"b"}`), []int{422}},
		{"wrong type", post(searches, `{"q":1}`), []int{422}},
		{"an array", post(searches, `[{"q":"a"}]`), []int{422}},
		{"no UTF-8", post(searches, "{\"q\":\"\xff\xfe\"}"), []int{200, 422}},
		{"very deep", post(searches, `{"q":`+strings.Repeat("[", 4000)), []int{422}},
		{"deep and whole", post(searches, `{"x":`+strings.Repeat("[", 3000)+strings.Repeat("]", 3000)+`,"q":"a"}`), []int{200, 422}},
		{"infer without a body", post(infer, ""), []int{422, 400}},
		{"infer no JSON", post(infer, "hello"), []int{422}},
		{"infer an array", post(infer, "[1]"), []int{422}},
		{"stream without a body", post(stream, ""), []int{422, 400}},
		{"stream no JSON", post(stream, "{"), []int{422}},
		{"stream an array", post(stream, "[]"), []int{422}},
		{"stream wrong type", post(stream, `"a"`), []int{422}},
		{"body over the limit, declared", post(searches, `{"q":"`+big+`"}`), []int{413}},
		{"infer over the limit, declared", post(infer, chatBody("m", big)), []int{413}},
		{"declared only", "POST " + searches + " HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n", []int{413}},
		{"declared and asked for", "POST " + searches + " HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 104857600\r\n\r\n", []int{413}},
		{"body over the limit, chunked", "POST " + searches + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2400\r\n" + big + "\r\n0\r\n\r\n", []int{413}},
		{"infer over the limit, chunked", "POST " + infer + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2400\r\n" + big + "\r\n0\r\n\r\n", []int{413}},
		{"stream over the limit, chunked", "POST " + stream + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2400\r\n" + big + "\r\n0\r\n\r\n", []int{413}},
		{"body over the limit nowhere", post("/nowhere", big), []int{404, 413}},
		{"broken chunks", "POST " + searches + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", []int{0, 400, 422}},
		{"two lengths", "POST " + searches + " HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", []int{400}},
		{"length and chunks", "POST " + searches + " HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", []int{400, 422}},
		{"negative length", "POST " + searches + " HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", []int{400}},
		{"unknown coding", "POST " + searches + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", []int{400, 501}},
		{"unknown path", post("/api/tools/find", "{}"), []int{404}},
		{"wrong method", "GET " + searches + " HTTP/1.1\r\nHost: x\r\n\r\n", []int{405}},
		{"wrong method of the models", post("/api/models", "{}"), []int{405}},
		{"unheard-of method", "BREW " + searches + " HTTP/1.1\r\nHost: x\r\n\r\n", []int{405}},
		{"connect", "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", []int{400, 404, 405}},
		{"options of all", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", []int{200, 204, 400, 404, 405}},
		{"trace", "TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", []int{405}},
		{"a header of 70 KiB", "GET /api/models HTTP/1.1\r\nHost: x\r\nX-Big: " + strings.Repeat("a", 70<<10) + "\r\n\r\n", []int{431}},
		{"a granted header of 60 KiB", "GET /api/models HTTP/1.1\r\nHost: x\r\nAccept: " + strings.Repeat("a", 60<<10) + "\r\n\r\n", []int{200, 431}},
		{"10,000 headers", "GET /api/models HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-Many: b\r\n", 10000) + "\r\n", []int{431}},
		{"many headers below the limit", "GET /api/models HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("a:\r\n", 10000) + "\r\n", []int{200, 431}},
		{"many headers for the plugin", "GET /api/models HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("Accept:\r\n", 6500) + "\r\n", []int{431}},
		{"a long path", "GET /" + strings.Repeat("a", 60<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", []int{404}},
		{"a longer path", "GET /" + strings.Repeat("a", 80<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", []int{431}},
		{"a long query", "GET /api/models?" + strings.Repeat("a", 63<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", []int{200, 431}},
		{"garbage", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hello\r\n\r\n", []int{400}},
		{"words", "hello\r\n\r\n", []int{400}},
		{"zeros", strings.Repeat("\x00", 1000) + "\r\n\r\n", []int{400}},
		{"no host", "GET / HTTP/1.1\r\n\r\n", []int{400}},
		{"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", []int{400}},
		{"a header without a name", "GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n", []int{400}},
		{"a space before the colon", "GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", []int{400}},
		{"a control character", "GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n", []int{400}},
		{"HTTP of another age", "GET / HTTP/3.0\r\nHost: x\r\n\r\n", []int{505}},
		{"HTTP/2 in the clear", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{505}},
		{"escaped path", "GET /api%2Fmodels HTTP/1.1\r\nHost: x\r\n\r\n", []int{404}},
		{"upwards", "GET /api/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", []int{301, 307, 308, 404}},
		{"a broken escape", "GET /api/%zz HTTP/1.1\r\nHost: x\r\n\r\n", []int{400}},
	}
	// What is not all there ends with a time-out. A server whose time-outs are short is late with others too.
	halves := []input{
		{"half a body", "POST " + searches + " HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"q\":", []int{0, 408}},
		{"half a chat", "POST " + infer + " HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"model\":", []int{0, 408}},
		{"half a chunk", "POST " + stream + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n100\r\n{\"model\":", []int{0, 408}},
		{"half a head", "POST " + searches + " HTTP/1.1\r\nHost: x\r\nContent-", []int{0, 400, 408}},
		{"nothing", "", []int{0, 400, 408}},
	}
	try := func(p *patchbay, inputs []input) {
		for _, c := range inputs {
			t.Run(c.name, func(t *testing.T) {
				p.T = t
				a := p.exchange(strings.NewReader(c.send))
				if !slices.Contains(c.want, a.status) {
					t.Fatalf("%.300v, want %v", a, c.want)
				}
				if a.status >= 400 {
					a.detail(t)
				}
				if a.status != 0 && a.header.Get("X-Request-Id") == "" {
					t.Error("the answer has no X-Request-Id")
				}
			})
		}
		p.T = t
	}
	s.server = "max_body: 8KiB\nread_timeout: 2m\nread_header_timeout: 2m"
	patient := serve(t, s)
	try(patient, inputs)
	patient.unharmed(t)
	s.server = "max_body: 8KiB\nread_timeout: 200ms\nread_header_timeout: 200ms"
	hasty := serve(t, s)
	try(hasty, halves)
	hasty.atRest(t)
}

// atRest wants that nothing is left of what was. It asks nothing of the public listener.
func (p *patchbay) atRest(t *testing.T) {
	t.Helper()
	eventually(t, "nothing in flight", func() bool { return p.metric("patchbay_http_in_flight_requests") == "0" })
	for _, plugin := range p.app.Plugins() {
		if plugin.Traps != 0 || plugin.InFlight != 0 || plugin.LastError != "" {
			t.Errorf("%s: %+v", plugin.Name, plugin.Stats)
		}
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

// unharmed wants that a server answers as before, with nothing left of what was.
func (p *patchbay) unharmed(t *testing.T) {
	t.Helper()
	p.atRest(t)
	for _, plugin := range p.app.Plugins() {
		switch plugin.Name {
		case "models":
			p.ok("GET", "/api/models", "")
		case "inference":
			p.ok("POST", "/api/inference/infer", chatBody("m", "hi"))
			p.ok("POST", "/api/inference/stream", chatBody("m", "hi"))
		case "search":
			if n := p.resultCount(); n != 8 {
				t.Errorf("%d results", n)
			}
		}
	}
	p.atRest(t)
}

// TestBadInputHundredMiB: real uploads of that size, with the default limit of 64 MiB.
func TestBadInputHundredMiB(t *testing.T) {
	tavily, stack := newTavily(t, nil), newGPUStack(t, nil)
	p := serve(t, setup{plugins: "search inference", tavily: tavily.url, gpustack: stack.url})
	const size = 100 << 20
	for _, path := range []string{"/api/tools/search", "/api/inference/infer", "/api/inference/stream", "/nowhere"} {
		want := 413
		if path == "/nowhere" {
			want = 404
		}
		declared := io.MultiReader(strings.NewReader(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", path, size)), sparse(size))
		if a := p.exchange(declared); a.status != want || a.detail(t) == "" {
			t.Errorf("%s, declared: %v", path, a)
		}
		if path == "/api/inference/stream" {
			continue // as infer
		}
		// Valid as far as it goes, so that it is the size that is refused.
		begin := `{"model":"m","q":"`
		chunks := io.MultiReader(
			strings.NewReader(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", path, len(begin), begin)),
			chunked(size))
		if a := p.exchange(chunks); a.status != want || a.detail(t) == "" {
			t.Errorf("%s, chunked: %v", path, a)
		}
	}
	eventually(t, "the upstream has nothing left to do", func() bool { now, _ := stack.inFlight(); return now == 0 })
	p.unharmed(t)
}

// sparse is a file of n bytes that takes no room.
func sparse(n int64) io.Reader { return io.LimitReader(zeros{}, n) }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// chunked is n letters in chunks, and the end of the body.
func chunked(n int) io.Reader {
	const size = 64 << 10
	one := []byte(fmt.Sprintf("%x\r\n%s\r\n", size, bytes.Repeat([]byte("a"), size)))
	parts := make([]io.Reader, 0, n/size+1)
	for range n / size {
		parts = append(parts, bytes.NewReader(one))
	}
	return io.MultiReader(append(parts, strings.NewReader("0\r\n\r\n"))...)
}

// TestBadInputClientThatNeverReads: it is cut when its write makes no progress, and the upstream with it.
func TestBadInputClientThatNeverReads(t *testing.T) {
	tavily := newTavily(t, nil)
	stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) {
		if c.Model != "endless" {
			say(w, c, "Hello")
			return
		}
		begin(w)
		for r.Context().Err() == nil {
			event(w, strings.Repeat("a", 32<<10))
		}
		p.gone.Add(1)
	})
	p := serve(t, setup{plugins: "inference", tavily: tavily.url, gpustack: stack.url, server: "write_timeout: 200ms"})
	for range 3 {
		conn := p.dial()
		if _, err := io.WriteString(conn, post("/api/inference/stream", chatBody("endless", "hi"))); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the upstream calls are closed", func() bool { return stack.gone.Load() == 3 })
	p.atRest(t)
	eventually(t, "who reads is answered", func() bool { // within the time-out, or the next time
		a, err := p.try(t.Context(), "POST", p.url+"/api/inference/stream", chatBody("m", "hi"))
		return err == nil && a.status == 200
	})
}

// TestBadInputSlowStreamIsWhole: a stream may take longer than the write time-out, which is that of a write.
func TestBadInputSlowStreamIsWhole(t *testing.T) {
	inTime(t, "the stream", func(timeout time.Duration) error {
		const events = 13 // a tenth of the time-out each
		next := make(chan struct{}, events)
		stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) {
			begin(w)
			for range events {
				event(w, "word")
				select {
				case <-next:
				case <-r.Context().Done():
					return
				}
			}
			done(w)
		})
		p := serve(t, setup{plugins: "inference", gpustack: stack.url, server: fmt.Sprintf("write_timeout: %v", timeout)})
		s := p.stream(chatBody("m", "hi"))
		for i := range events {
			for range 2 { // its line, and the empty one after it
				if _, err := s.r.ReadString('\n'); err != nil {
					return fmt.Errorf("event %d: %w", i, err)
				}
			}
			time.Sleep(timeout / 10) // the reader is slow
			next <- struct{}{}
		}
		rest, err := io.ReadAll(s.r)
		if err == nil && !strings.Contains(string(rest), "[DONE]") {
			err = fmt.Errorf("it ended with %q", rest)
		}
		return err
	})
}

// TestBadInputDrip: a body that comes byte by byte is slow, and whole in the end.
func TestBadInputDrip(t *testing.T) {
	tavily, stack := newTavily(t, nil), newGPUStack(t, nil)
	p := serve(t, setup{plugins: "search", tavily: tavily.url, gpustack: stack.url})
	conn := p.dial()
	for _, b := range []byte(post("/api/tools/search", searchBody("hi"))) {
		if _, err := conn.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if a := readAnswer(p, conn); a.status != 200 {
		t.Errorf("%v", a)
	}
}

// TestBadInputPipelined: two requests in one packet are two answers, and what follows a refused body is none.
func TestBadInputPipelined(t *testing.T) {
	tavily, stack := newTavily(t, nil), newGPUStack(t, nil)
	p := serve(t, setup{plugins: "search", tavily: tavily.url, gpustack: stack.url, server: "max_body: 1KiB"})
	conn := p.dial()
	_, _ = io.WriteString(conn, post("/api/tools/search", searchBody("one"))+post("/api/tools/search", searchBody("two")))
	r := bufio.NewReader(conn)
	for _, query := range []string{"one", "two"} {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := decode[found](t, answer{resp.StatusCode, resp.Header, b}); got.Result.Query != query {
			t.Errorf("%s: %s", query, b)
		}
	}
	before := p.health().Total
	smuggled := "GET /api/models HTTP/1.1\r\nHost: x\r\n\r\n"
	conn = p.dial()
	_, _ = io.WriteString(conn, "POST /api/tools/search HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n"+smuggled)
	a := readAnswer(p, conn)
	if rest, _ := io.ReadAll(conn); a.status != 413 || len(rest) > 0 {
		t.Errorf("%v, and then %q", a, rest)
	}
	if n := p.health().Total - before; n != 2 {
		t.Errorf("%d requests were counted, want the refused one and ours", n)
	}
}
