package upstream_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
)

const (
	ok  = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
	cut = "<cut>" // at the end of an answer: the server closes the connection after it
)

// script is a server that knows what to send for each request of each connection; a connection
// whose script is over is closed after the request that found it so.
type script struct {
	url  string
	mu   sync.Mutex
	seen []string // "connection: method body" of every request
}

func newScript(t *testing.T, conns ...[]string) *script {
	s := &script{}
	s.url = rawServer(t, func(n int, c net.Conn) {
		in := bufio.NewReader(c)
		for i := 0; ; i++ {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			body, err := io.ReadAll(req.Body)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.seen = append(s.seen, strings.TrimSpace(string(rune('0'+n))+": "+req.Method+" "+string(body)))
			s.mu.Unlock()
			if n > len(conns) || i >= len(conns[n-1]) {
				return
			}
			answer, last := strings.CutSuffix(conns[n-1][i], cut)
			io.WriteString(c, answer)
			if last {
				return
			}
		}
	})
	return s
}

func (s *script) check(t *testing.T, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.seen, want) {
		t.Errorf("the server saw %q, want %q", s.seen, want)
	}
}

// TestRetry closes a connection that has served before just as the next POST arrives on it.
func TestRetry(t *testing.T) {
	s := newScript(t, []string{ok}, []string{ok})
	p := newPool(t, nil)
	mustFetch(t, p, s.url, local)
	if got, err := fetch(p, post(t, s.url, "one"), local); err != nil || got != "hello" {
		t.Fatalf("%q, %v, want the second connection's answer", got, err)
	}
	s.check(t, "1: GET", "1: POST one", "2: POST one")
	if st := p.Stats(); st.Retries != 1 || st.Dials != 2 || st.Open != 1 {
		t.Errorf("%+v, want one retry on a second connection", st)
	}
}

// TestRetryNeedsAFreshConnection leaves two idle connections that are both about to die.
func TestRetryNeedsAFreshConnection(t *testing.T) {
	g := make(chan struct{})
	var calls sync.WaitGroup
	calls.Add(2)
	var mu sync.Mutex
	posts := 0
	url := rawServer(t, func(n int, c net.Conn) {
		in := bufio.NewReader(c)
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
		if n <= 2 { // both are in use at once
			calls.Done()
			<-g
		}
		io.WriteString(c, ok)
		if _, err := http.ReadRequest(in); err == nil {
			mu.Lock()
			posts++
			mu.Unlock()
		}
	})
	p := newPool(t, nil)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() { mustFetch(t, p, url, local) })
	}
	calls.Wait()
	close(g)
	all.Wait()
	if st := p.Stats(); st.Idle != 2 {
		t.Fatalf("%+v, want 2 idle", st)
	}
	if got, err := fetch(p, post(t, url, "x"), local); err != nil || got != "hello" {
		t.Fatalf("%q, %v", got, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if st := p.Stats(); st.Dials != 3 || posts != 1 {
		t.Errorf("%d dials and %d deaths, want the retry on a third connection", st.Dials, posts)
	}
}

// TestRetryInAFullPool has one place: the dead connection gives it up before the retry dials.
func TestRetryInAFullPool(t *testing.T) {
	s := newScript(t, []string{ok}, []string{ok})
	p := newPool(t, func(c *config.Client) { c.MaxConns = 1 })
	mustFetch(t, p, s.url, local)
	if got, err := fetch(p, post(t, s.url, "one"), local); err != nil || got != "hello" {
		t.Fatalf("%q, %v", got, err)
	}
	if st := p.Stats(); st.Retries != 1 || st.Open != 1 {
		t.Errorf("%+v", st)
	}
}

func TestNoRetry(t *testing.T) {
	for name, c := range map[string]struct {
		conns [][]string
		req   func(url string) *http.Request
		seen  []string
		want  error
	}{
		"a second time": {
			conns: [][]string{{ok}, {}},
			seen:  []string{"1: GET", "1: POST x", "2: POST x"},
			want:  upstream.ErrReset,
		},
		"after the first byte": {
			conns: [][]string{{ok, "H" + cut}},
			seen:  []string{"1: GET", "1: POST x"},
			want:  upstream.ErrReset,
		},
		"in the middle of the body": {
			conns: [][]string{{ok, ok[:len(ok)-1] + cut}},
			seen:  []string{"1: GET", "1: POST x"},
			want:  upstream.ErrReset,
		},
		"of an answer that is no HTTP": {
			conns: [][]string{{ok, "220 mail ready\r\n\r\n"}},
			seen:  []string{"1: GET", "1: POST x"},
			want:  upstream.ErrProtocol,
		},
		"of a body that is gone": {
			conns: [][]string{{ok}},
			req: func(url string) *http.Request {
				req := post(t, url, "x")
				req.GetBody = nil
				return req
			},
			seen: []string{"1: GET", "1: POST x"},
			want: upstream.ErrReset,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, c.conns...)
			p := newPool(t, nil)
			mustFetch(t, p, s.url, local)
			req := post(t, s.url, "x")
			if c.req != nil {
				req = c.req(s.url)
			}
			if got, err := fetch(p, req, local); !errors.Is(err, c.want) {
				t.Errorf("%q, %v, want %v", got, err, c.want)
			}
			s.check(t, c.seen...)
			eventually(t, "the place is free", func() bool { return p.Stats().Open == 0 })
		})
	}
	t.Run("of a fresh connection", func(t *testing.T) {
		s := newScript(t)
		p := newPool(t, nil)
		if _, err := fetch(p, get(t, t.Context(), s.url), local); !errors.Is(err, upstream.ErrReset) {
			t.Errorf("%v, want ErrReset", err)
		}
		s.check(t, "1: GET")
		if st := p.Stats(); st.Retries != 0 || st.Open != 0 {
			t.Errorf("%+v", st)
		}
	})
}
