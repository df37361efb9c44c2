package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// crowd is clients of all kinds, with what the server must say of them afterwards.
type crowd struct {
	*patchbay
	stack *provider // of chats
	held  sync.Map  // the query of a search that its provider holds -> chan struct{}, closed when it has come

	mu    sync.Mutex // guards what follows
	all   int
	codes map[int]int // the statuses that they have, or should have
	left  int         // clients that left before the end of their answer
}

// newCrowd serves a configuration whose upstreams do what their callers ask for.
func newCrowd(t *testing.T) *crowd {
	c := &crowd{codes: map[int]int{}}
	tavily := newTavily(t, func(p *provider, r *http.Request, query string) {
		if came, ok := c.held.Load(query); ok {
			close(came.(chan struct{}))
			p.hang(r)
		}
	})
	c.stack = newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) {
		switch c.Messages[0].Content {
		case "fail":
			writeJSON(w, 500, `{"error":{"message":"no","code":500}}`)
		case "late":
			p.hang(r)
		case "hold":
			begin(w)
			event(w, "Hel")
			p.hang(r)
			event(w, "lo")
			done(w)
		default:
			say(w, c, "Hello")
		}
	})
	// What fails on purpose must not have others refused. On a slow machine other chats are late too.
	c.patchbay = serve(t, setup{
		gpustack: c.stack.url, models: c.stack.url, tavily: tavily.url, server: "max_body: 8KiB",
		chats: "response_timeout: 1s, health: {failures: 0}, breaker: {failure_rate: 0}, queue: {interval: 1h}",
	})
	return c
}

// note is what became of one request; 499 is the status of a client that left before any.
func (c *crowd) note(status int, left bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all++
	c.codes[status]++
	if left {
		c.left++
	}
}

// whole sends a request that must be answered with one of the statuses.
func (c *crowd) whole(method, path, body string, statuses ...int) {
	a, err := c.try(context.Background(), method, c.url+path, body)
	if err != nil {
		c.Errorf("%s %s: %v", method, path, err)
		return
	}
	for _, s := range statuses {
		if a.status == s {
			c.note(s, false)
			return
		}
	}
	c.Errorf("%s %s: %v, want %v", method, path, a, statuses)
}

// kinds are what a client may do. n is another one each time.
func (c *crowd) kinds() []func(n int) {
	chatOf := func(text string) string { return chatBody("m", text) }
	return []func(n int){
		func(int) { c.whole("GET", "/api/models", "", 200) },
		func(int) { c.whole("GET", "/config.js", "", 200) },
		func(int) { c.whole("GET", "/livez", "", 200) },
		func(int) { c.whole("GET", "/nowhere", "", 404) },
		func(int) { c.whole("GET", "/api/tools/search", "", 405) },
		func(int) { c.whole("POST", "/api/tools/search", searchBody("a"), 200) },
		func(int) { c.whole("POST", "/api/tools/search", searchBody(strings.Repeat("a", 9<<10)), 413) },
		func(int) { c.whole("POST", "/api/inference/infer", chatOf("hi"), 200, 504) },
		func(int) { c.whole("POST", "/api/inference/stream", chatOf("hi"), 200, 504) },
		func(int) { c.whole("POST", "/api/inference/infer", chatOf("fail"), 502, 504) },
		func(int) { c.whole("POST", "/api/inference/infer", chatOf("late"), 504) },
		func(int) { // no request at all
			if conn := c.send("hello\r\n\r\n"); conn != nil {
				defer conn.Close()
				a := readAnswer(c.patchbay, conn)
				if a.status != 400 {
					c.Errorf("words are answered with %v", a)
				}
				c.note(a.status, false)
			}
		},
		func(n int) { // it leaves before the head
			query, came := fmt.Sprint("held ", n), make(chan struct{})
			c.held.Store(query, came)
			body := searchBody(query)
			if conn := c.send(post("/api/tools/search", body)); conn != nil {
				receive(c, "a search at its provider", came)
				_ = conn.Close()
				c.note(499, true)
			}
		},
		func(int) { // it leaves in the middle of the answer
			if conn, stream := c.hold(); stream != nil {
				_ = conn.Close()
				c.note(200, true)
			}
		},
		func(int) { // it leaves in the middle of its own request
			if conn := c.send("POST /api/inference/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"model\":"); conn != nil {
				_ = conn.Close()
				c.note(499, true)
			}
		},
	}
}

// send opens a connection and writes to it; nil is a failure that was reported.
func (c *crowd) send(text string) net.Conn {
	conn, err := net.Dial("tcp", c.app.Addr().String())
	if err != nil {
		c.Errorf("dial: %v", err)
		return nil
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, text); err != nil {
		c.Errorf("send: %v", err)
	}
	return conn
}

// hold opens a stream that has begun and goes on. On a slow machine its head may be late; then it is an answer as others, and nil.
func (c *crowd) hold() (net.Conn, io.Reader) {
	conn := c.send(post("/api/inference/stream", chatBody("m", "hold")))
	if conn == nil {
		return nil, nil
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	switch {
	case err != nil:
		c.Errorf("a stream that is held: %v", err)
	case resp.StatusCode == 504:
		_, _ = io.Copy(io.Discard, resp.Body)
		c.note(504, false)
	case resp.StatusCode != 200:
		c.Errorf("a stream that is held: %d", resp.StatusCode)
	default:
		body := bufio.NewReader(resp.Body)
		if _, err := body.ReadString('}'); err != nil {
			c.Errorf("a stream that is held: %v", err)
		}
		return conn, body
	}
	_ = conn.Close()
	return nil, nil
}

// run has n clients come, so many at a time, each of the kind that next says.
func (c *crowd) run(n, atOnce int, next func(i int) int) {
	kinds, work := c.kinds(), make(chan func())
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for f := range work {
				f()
			}
		})
	}
	for i := range n {
		kind := kinds[next(i)%len(kinds)]
		work <- func() { kind(i) }
	}
	close(work)
	all.Wait()
}

// metric is the sum of all samples of a metric, on the admin listener, which counts no request, by the value of one of its labels.
func (c *crowd) metric(name, label string) map[string]int {
	sums := map[string]int{}
	find := regexp.MustCompile(label + `="([^"]*)"`)
	for line := range strings.Lines(string(c.admins("/metrics").body)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		fields := strings.Fields(rest)
		n, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			c.Fatalf("%q: %v", line, err)
		}
		value := ""
		if m := find.FindStringSubmatch(line); m != nil {
			value = m[1]
		}
		sums[value] += int(n)
	}
	return sums
}

// agree wants every surface to say of all requests so far what their clients know. None of the ways to look counts as a request, but
// the last.
func (c *crowd) agree() {
	c.Helper()
	const inFlight = "patchbay_http_in_flight_requests"
	eventually(c, "nobody is in flight", func() bool { return c.metric(inFlight, "none")[""] == 0 })

	want := map[string]int{}
	for status, n := range c.codes {
		want[strconv.Itoa(status)] = n
	}
	if got := c.metric("patchbay_http_requests_total", "code"); !maps.Equal(got, want) {
		c.Errorf("Prometheus has %v, want %v", got, want)
	}

	lines, left := map[string]int{}, map[string]int{}
	for line := range strings.Lines(c.log.String()) {
		var l struct {
			Msg, Left, ID string
			Status        int
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			c.Fatalf("%q: %v", line, err)
		}
		if l.Msg == "request" {
			lines[strconv.Itoa(l.Status)]++
			left[l.Left]++
			if l.ID == "" {
				c.Errorf("a line without an id: %s", line)
			}
		}
	}
	if !maps.Equal(lines, want) {
		c.Errorf("the log has lines of %v, want %v", lines, want)
	}
	if want := map[string]int{"server": c.all - c.left, "client": c.left}; !maps.Equal(left, want) {
		c.Errorf("by the log those left first: %v, want %v", left, want)
	}

	type state struct {
		Total    int `json:"total_requests"`
		InFlight int `json:"in_flight"`
		Left     int `json:"client_left"`
		Aborted  int
		Status   map[string]int
	}
	classes := map[string]int{"1xx": 0, "2xx": 0, "3xx": 0, "4xx": 0, "5xx": 0}
	for status, n := range c.codes {
		classes[fmt.Sprintf("%dxx", status/100)] += n
	}
	var feed state
	c.feed("http", func(data json.RawMessage) bool {
		feed = state{}
		if err := json.Unmarshal(data, &feed); err != nil {
			c.Fatalf("%s: %v", data, err)
		}
		return feed.InFlight == 0 && feed.Total >= c.all
	})
	if feed.Total != c.all || feed.Left != c.left || feed.Aborted != 0 || !maps.Equal(feed.Status, classes) {
		c.Errorf("the feed has %+v, want %d requests, %d left by their clients, %v", feed, c.all, c.left, classes)
	}

	document := decode[struct {
		Concurrent int `json:"concurrent_connections"`
		Total      int `json:"total_requests"`
		Status     map[string]int
	}](c, c.ok("GET", "/api/metrics", ""))
	c.note(200, false)
	if document.Total != c.all || document.Concurrent != 1 || !maps.Equal(document.Status, classes) {
		c.Errorf("the document has %+v, want %d requests, this one in flight, and of those before it %v", document, c.all, classes)
	}
}

// feed reads the admin listener's live feed until done says that a state of the topic is the one.
func (c *crowd) feed(topic string, done func(data json.RawMessage) bool) {
	c.Helper()
	conn, _, err := websocket.DefaultDialer.DialContext(c.Context(), "ws"+strings.TrimPrefix(c.admin, "http")+"/api/live", http.Header{"Authorization": {"Bearer " + c.token}})
	if err != nil {
		c.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	for {
		var f struct {
			Type, Topic string
			Data        json.RawMessage
		}
		if err := conn.ReadJSON(&f); err != nil {
			c.Fatalf("wait for a state of %s: %v", topic, err)
		}
		if f.Type == "state" && f.Topic == topic && done(f.Data) {
			return
		}
	}
}

// TestEverySurfaceSaysTheSame: after exactly n requests the documents, Prometheus, the feed and the log say n, of each status.
func TestEverySurfaceSaysTheSame(t *testing.T) {
	c := newCrowd(t)
	c.run(300, 16, func(i int) int { return i })
	c.agree()

	// Five streams, each to its last byte.
	var streams []io.Reader
	for len(streams) < 5 && !t.Failed() {
		if conn, stream := c.hold(); stream != nil {
			defer conn.Close()
			streams = append(streams, stream)
		}
	}
	if h := c.health(); h.Active != 5+1 || h.Total != c.all+5+1 {
		t.Errorf("with 5 open streams: %+v after %d requests", h, c.all)
	}
	c.note(200, false)
	c.feed("http", func(data json.RawMessage) bool { return strings.Contains(string(data), `"in_flight":5,`) })
	c.stack.release()
	for _, s := range streams {
		if _, err := io.Copy(io.Discard, s); err != nil { // to the last chunk
			t.Fatal(err)
		}
		c.note(200, false)
	}
	if h := c.health(); h.Active != 1 {
		t.Errorf("after their last byte: %+v", h)
	}
	c.note(200, false)
	c.agree()
}

// TestTenThousandRequests is a random mixture of clients. The seed is fixed: so is the mixture, though not its order in time.
func TestTenThousandRequests(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 1000
	}
	c := newCrowd(t)
	random := rand.New(rand.NewPCG(1, 2))
	kinds := slices.Repeat([]int{0, 1, 2, 3, 4, 5, 7, 8}, 8) // most are answered
	for kind := range c.kinds() {
		kinds = append(kinds, kind)
	}
	began := time.Now()
	c.run(n, 64, func(int) int { return kinds[random.IntN(len(kinds))] })
	t.Logf("%d requests in %v: %v, %d left by their clients", c.all, time.Since(began).Round(time.Millisecond), c.codes, c.left)
	if c.all != n {
		t.Errorf("%d of %d came to an end", c.all, n)
	}
	c.agree()
}
