package route_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/plugin"
	"github.com/patchbay-run/patchbay/host/internal/route"
)

func TestOutOfTime(t *testing.T) {
	s := plugged(t, func(c *config.Plugin) { c.Limits.Timeout = 20 * time.Millisecond })
	s.must("GET /hang").isDetail(t, 504, `Plugin "probe" did not answer in time`)
	if !strings.Contains(s.log.String(), "a request failed") {
		t.Error("it is not logged")
	}
}

func TestTrap(t *testing.T) {
	s := plugged(t, nil)
	a := s.must("GET /exit", "X-Request-Id", "trap-1")
	a.isDetail(t, 502, `Plugin "probe" failed (id trap-1)`)
	if log := s.log.String(); !strings.Contains(log, "request=trap-1") || !strings.Contains(log, `route="GET /exit"`) {
		t.Errorf("the log does not tell which request it was:\n%s", log)
	}
	if a := s.must("GET /word"); a.body != "hello" { // of a new worker
		t.Errorf("then: %d %s", a.StatusCode, a.body)
	}
}

// TestTrapsOnEverything: nobody is let in for a while, with a time to come back; an answer ends that.
func TestTrapsOnEverything(t *testing.T) {
	s := open(t, nil)
	g := s.load(func(c *config.Plugin) { c.Isolation = "fresh" })
	s.swap(g)
	if got := g.Stats().Mode; got != "fresh" {
		t.Fatalf("isolation: fresh serves %s", got)
	}
	var a *answer
	eventually(t, "nobody is let in", func() bool { // it ends after a second: a machine that hesitates may miss it
		for range 10 {
			s.must("GET /exit").isDetail(t, 502, `Plugin "probe" failed (id `)
		}
		mode := g.Stats().Mode
		a = s.must("GET /word")
		return mode == "open" && a.StatusCode == 503
	})
	a.isDetail(t, 503, `Plugin "probe" fails on every request`)
	if a.Header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", a.Header.Get("Retry-After"))
	}
	eventually(t, "an answer", func() bool { return s.must("GET /word").body == "hello" })
	if got := g.Stats().Mode; got != "fresh" {
		t.Errorf("after an answer it is %s", got)
	}
}

// TestComputingOverItsLimit: the client learns which limit it was.
func TestComputingOverItsLimit(t *testing.T) {
	s := plugged(t, func(c *config.Plugin) { c.Limits.CPU = 50 * time.Millisecond })
	s.must("GET /loop", "X-Request-Id", "cpu-1").isDetail(t, 502, `Plugin "probe" was over its CPU limit (id cpu-1)`)
	if log := s.log.String(); !strings.Contains(log, "limits.cpu") {
		t.Errorf("the log does not name the setting:\n%s", log)
	}
	s = plugged(t, nil) // to take all that memory takes time
	s.must("GET /memory", "X-Request-Id", "memory-1").isDetail(t, 502, `Plugin "probe" was over its memory limit (id memory-1)`)
	if log := s.log.String(); !strings.Contains(log, "limits.memory") {
		t.Errorf("the log does not name the setting:\n%s", log)
	}
}

func TestAnswerOverItsLimit(t *testing.T) {
	s := plugged(t, func(c *config.Plugin) { c.Limits.Answer = 10 })
	s.must("GET /answer?body=12345678901").isDetail(t, 502, `Plugin "probe" gave an answer over its limit (id `)
	if a := s.must("GET /answer?body=1234567890"); a.StatusCode != 200 {
		t.Errorf("an answer at the limit: %d %s", a.StatusCode, a.body)
	}
	s = plugged(t, func(c *config.Plugin) { c.Limits.Headers = 1 << 10 })
	s.must("GET /answer?h=x:"+strings.Repeat("v", 1024)).isDetail(t, 502, `Plugin "probe" gave headers over its limit (id `)
	if log := s.log.String(); !strings.Contains(log, "limits.headers (1024 bytes)") {
		t.Errorf("the log does not name the setting:\n%s", log)
	}
	// Half of one must not look whole.
	s = plugged(t, func(c *config.Plugin) { c.Limits.Answer = 1 << 20 })
	if a, err := s.ask("GET /big", nil); err == nil {
		t.Errorf("an answer that broke off looks whole: %d, %d bytes", a.StatusCode, len(a.body))
	}
}

func TestFull(t *testing.T) {
	s := open(t, nil)
	g := s.load(func(c *config.Plugin) { c.Limits.InFlight = 1 })
	s.swap(g)
	conn, _ := s.dial()
	fmt.Fprint(conn, "GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
	eventually(t, "the first is in flight", func() bool { return g.Stats().InFlight == 1 })
	a := s.must("GET /word")
	a.isDetail(t, 503, `Plugin "probe" has as many requests as it may`)
	if a.Header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", a.Header.Get("Retry-After"))
	}
	conn.Close() // a client that leaves makes room
	eventually(t, "room again", func() bool { return g.Stats().InFlight == 0 })
	if a := s.must("GET /word"); a.body != "hello" {
		t.Errorf("then: %d %s", a.StatusCode, a.body)
	}
}

func TestDrained(t *testing.T) {
	s := open(t, nil)
	g := s.load(nil)
	s.swap(g)
	retire(g)
	a := s.must("GET /word")
	a.isDetail(t, 503, `Plugin "probe" is restarting`)
	if a.Header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", a.Header.Get("Retry-After"))
	}
}

// TestStreamThatFails must not look whole: no last chunk, and the connection ends.
func TestStreamThatFails(t *testing.T) {
	s := plugged(t, nil)
	conn, r := s.dial()
	fmt.Fprint(conn, "GET /half HTTP/1.1\r\nHost: x\r\n\r\n")
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(b); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.Contains(got, "firstfirst") || strings.HasSuffix(got, "\r\n0\r\n\r\n") {
		t.Errorf("the wire ends in %q", got[max(0, len(got)-100):])
	}
	if !strings.Contains(s.log.String(), "a request failed") {
		t.Error("it is not logged")
	}
}

func TestBodies(t *testing.T) {
	s := plugged(t, nil)
	for _, n := range []int{0, 1, 64 << 10, 64<<10 + 1, 1 << 20} {
		for name, body := range map[string]io.Reader{"declared": strings.NewReader(strings.Repeat("x", n)), "chunked": io.MultiReader(strings.NewReader(strings.Repeat("x", n)))} {
			a, err := s.ask("POST /count", body)
			if err != nil || a.body != fmt.Sprint(n) {
				t.Errorf("%s body of %d: %v %v", name, n, a, err)
			}
		}
	}
	text := strings.Repeat("0123456789abcdef", 1<<15)
	if a, err := s.ask("POST /echo", strings.NewReader(text)); err != nil || a.body != text {
		t.Errorf("an echo while it is sent: %v", err)
	}
}

func TestBodyOverTheLimit(t *testing.T) {
	for limit, want := range map[config.Bytes]string{1 << 10: "", 128 << 10: ""} {
		s := openPlugged(t, func(c *config.Server) { c.MaxBody = limit }, nil)
		text := strings.Repeat("x", int(limit)+1)
		// Declared: before a byte is read.
		conn, r := s.dial()
		fmt.Fprintf(conn, "POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(text), want)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		(&answer{resp, string(b)}).with("POST /count").isDetail(t, 413, fmt.Sprintf("Request body over the limit of %d bytes", limit))
		// Chunked: when it is found out, by the host or, with some of the body delivered, by the guest.
		conn, r = s.dial()
		fmt.Fprintf(conn, "POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(text), text)
		if resp, err = http.ReadResponse(r, nil); err != nil {
			t.Fatal(err)
		}
		b, _ = io.ReadAll(resp.Body)
		(&answer{resp, string(b)}).with("POST /count").isDetail(t, 413, "")
	}
}

// with gives an answer that was read by hand its request, for messages.
func (a *answer) with(target string) *answer {
	method, path, _ := strings.Cut(target, " ")
	a.Request, _ = http.NewRequest(method, path, nil)
	return a
}

func TestHalfABody(t *testing.T) {
	for name, head := range map[string]string{
		"short":   "POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
		"long":    "POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n" + strings.Repeat("x", 100_000),
		"chunked": "POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha",
	} {
		t.Run("then nothing: "+name, func(t *testing.T) {
			s := openPlugged(t, func(c *config.Server) { c.ReadTimeout = 50 * time.Millisecond }, nil)
			conn, r := s.dial()
			io.WriteString(conn, head)
			b, err := io.ReadAll(r) // until the connection ends
			if err != nil || len(b) > 0 {
				t.Errorf("an answer to half a request: %q, %v", b, err)
			}
		})
		t.Run("then the client leaves: "+name, func(t *testing.T) {
			s := open(t, nil)
			g := s.load(nil)
			s.swap(g)
			for _, leave := range []func(c interface{ CloseWrite() error }){func(c interface{ CloseWrite() error }) { c.CloseWrite() }, nil} {
				before := g.Stats().Requests
				conn, r := s.dial()
				io.WriteString(conn, head)
				eventually(t, "it arrived", func() bool { return g.Stats().Requests > before })
				if leave != nil {
					leave(conn.(interface{ CloseWrite() error }))
					_, _ = io.Copy(io.Discard, r)
				} else {
					_ = conn.(interface{ SetLinger(int) error }).SetLinger(0) // a reset
					conn.Close()
				}
				eventually(t, "it is over", func() bool { return g.Stats().InFlight == 0 })
			}
			s.must("GET /word")
			if strings.Contains(s.log.String(), "a request failed") {
				t.Errorf("a client that leaves is no failure of the plugin:\n%s", s.log)
			}
		})
	}
	t.Run("malformed", func(t *testing.T) {
		s := plugged(t, nil)
		conn, r := s.dial()
		io.WriteString(conn, "POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		(&answer{resp, string(b)}).with("POST /count").isDetail(t, 400, "Request body could not be read")
	})
}

// TestAnswerBeforeTheBody has a guest that does not wait for a body that never comes whole. The client gets its answer at once, not
// when the body is out of time.
func TestAnswerBeforeTheBody(t *testing.T) {
	s := openPlugged(t, func(c *config.Server) { c.ReadTimeout = time.Hour }, nil)
	conn, r := s.dial()
	fmt.Fprintf(conn, "POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n%s", strings.Repeat("x", 100_000))
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "early" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestClientThatLeaves(t *testing.T) {
	s := open(t, nil)
	g := s.load(nil)
	s.swap(g)
	for range 3 {
		conn, _ := s.dial()
		fmt.Fprint(conn, "GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
		eventually(t, "it is in flight", func() bool { return g.Stats().InFlight == 1 })
		conn.Close()
		eventually(t, "it is over", func() bool { return g.Stats().InFlight == 0 })
	}
	if a := s.must("GET /word"); a.body != "hello" || strings.Contains(s.log.String(), "a request failed") {
		t.Errorf("%q, log:\n%s", a.body, s.log)
	}
}

// TestSwapUnderLoad replaces the table and its generation again and again; nobody may notice.
func TestSwapUnderLoad(t *testing.T) {
	const clients, swaps = 6, 8
	s := open(t, nil)
	current := s.load(func(c *config.Plugin) { c.Config = map[string]any{"word": "0"} })
	s.swap(current)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]bool{}
	text := strings.Repeat("0123456789abcdef", 6<<10) // more than comes with the request
	for i := range clients {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				var a *answer
				var err error
				word := ""
				switch (i + n) % 3 {
				case 0:
					a, err = s.ask("POST /echo", strings.NewReader(text))
					if err == nil && a.body != text {
						err = errors.New("the echo is another")
					}
				default:
					if a, err = s.ask("GET /word", nil); err == nil {
						word = a.body
					}
				}
				if err != nil || a.StatusCode != 200 {
					t.Errorf("a request failed: %v %v", a, err)
					return
				}
				mu.Lock()
				seen[word] = true
				mu.Unlock()
			}
		})
	}
	for i := 1; i <= swaps; i++ {
		next := s.load(func(c *config.Plugin) { c.Config = map[string]any{"word": fmt.Sprint(i)} })
		table, err := route.NewTable(s.handler, s.host, []*plugin.Generation{next}, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.handler.Swap(table)
		current.Retire(t.Context()) // waits for what is in flight
		current = next
		if a := s.must("GET /word"); a.body != fmt.Sprint(i) {
			t.Errorf("after swap %d: %q", i, a.body)
		}
		eventually(t, "the clients see it", func() bool { mu.Lock(); defer mu.Unlock(); return seen[fmt.Sprint(i)] || t.Failed() })
	}
	close(stop)
	wg.Wait()
}
