package capability_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func code(err error) abi.Code {
	var coded *abi.Error
	if errors.As(err, &coded) {
		return coded.Code
	}
	return abi.OK
}

func TestRequestAndAnswer(t *testing.T) {
	s := record(t)
	g := setup{grant: []config.Fetch{grant(t, s.URL, nil)}}.guest(t)
	in := ask("POST", s.URL+"/x?q=1", "content-type", "application/json", "x-two", "a", "x-two", "b\tc")
	in.Body = []byte(`{"a":1}`)
	reply, body := g.must(t, in)
	if reply.Status != 200 || body != "hello" || reply.Length != 5 {
		t.Errorf("status %d, %q, length %d", reply.Status, body, reply.Length)
	}
	if abi.Get(reply.Fields, "x-answer") != "yes" || abi.Get(reply.Fields, "connection") != "" {
		t.Errorf("fields %v", reply.Fields)
	}
	got := s.last(t)
	sent, _ := io.ReadAll(got.Body)
	if string(sent) != `{"a":1}` || got.ContentLength != 7 || got.Header.Get("Content-Type") != "application/json" || fmt.Sprint(got.Header["X-Two"]) != "[a b\tc]" || got.UserAgent() != "patchbay" {
		t.Errorf("the server saw %q and %v", sent, got.Header)
	}
	for name := range got.Header {
		if strings.HasPrefix(name, ":") {
			t.Errorf("a field of the host's was sent: %s", name)
		}
	}
	g.must(t, ask("GET", s.URL, "user-agent", "mine/1"))
	if s.last(t).UserAgent() != "mine/1" {
		t.Errorf("User-Agent %q", s.last(t).UserAgent())
	}
}

func TestHeadersThatAreRefused(t *testing.T) {
	s := record(t)
	g := setup{grant: []config.Fetch{grant(t, s.URL, nil)}}.guest(t)
	for _, h := range [][2]string{
		{"host", "evil.example"}, {"connection", "close"}, {"keep-alive", "1"}, {"transfer-encoding", "chunked"}, {"te", "trailers"}, {"trailer", "x"}, {"upgrade", "h2c"},
		{"content-length", "3"}, {"expect", "100-continue"}, {"forwarded", "for=1.2.3.4"}, {"via", "x"}, {"x-real-ip", "1.2.3.4"}, {"http2-settings", "x"},
		{"proxy-authorization", "x"}, {"proxy-anything", "x"}, {"x-forwarded-for", "1.2.3.4"}, {"x-forwarded-host", "x"},
		// No other spelling gets through.
		{"Host", "evil.example"}, {"Connection", "close"}, {"X-Forwarded-For", "1.2.3.4"}, {"Transfer-Encoding", "chunked"}, {"X-Mine", "x"},
		{"", "x"}, {"a b", "x"}, {"a:b", "x"}, {"a\r\nb", "x"}, {"é", "x"}, {"a\x00", "x"}, {"host ", "x"}, {"x(y", "x"},
		{"x-a", "a\r\nx-b: c"}, {"x-a", "a\nb"}, {"x-a", "a\rb"}, {"x-a", "\x00"}, {"x-a", "a\x7f"},
	} {
		text := g.refuses(t, ask("GET", s.URL, h[0], h[1]), abi.Invalid)
		if strings.ContainsAny(text, "\r\n\x00") || h[1] != "x" && strings.Contains(text, h[1]) {
			t.Errorf("%q: text %q", h, text)
		}
	}
	if s.count() != 0 {
		t.Errorf("%d refused calls were sent", s.count())
	}
}

// TestHead has an answer whose Content-Length is that of another one.
func TestHead(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "1234") })
	g := setup{grant: []config.Fetch{grant(t, s.URL, nil)}}.guest(t)
	reply, body := g.must(t, ask("HEAD", s.URL))
	if reply.Length != 0 || body != "" || abi.Get(reply.Fields, "content-length") != "1234" {
		t.Errorf("length %d, body %q, fields %v", reply.Length, body, reply.Fields)
	}
}

func TestRedirectIsAnAnswer(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://169.254.169.254/", 302) })
	g := setup{grant: []config.Fetch{grant(t, s.URL, nil)}}.guest(t)
	if reply, _ := g.must(t, ask("GET", s.URL)); reply.Status != 302 || abi.Get(reply.Fields, "location") == "" {
		t.Errorf("status %d, fields %v", reply.Status, reply.Fields)
	}
}

// hanging is a server that answers nothing until a call is given up, which it tells.
type hanging struct {
	url  string
	came atomic.Int64 // calls
	gone chan struct{}
}

func hangs(t *testing.T) *hanging {
	h := &hanging{gone: make(chan struct{}, 16)}
	h.url = serve(t, func(_ http.ResponseWriter, r *http.Request) {
		h.came.Add(1)
		<-r.Context().Done()
		h.gone <- struct{}{}
	}).URL
	return h
}

func TestTimeouts(t *testing.T) {
	const query = "/?q=what+a+person+typed"
	quiet := func(t *testing.T, g *guest, text string) {
		t.Helper()
		if strings.Contains(text+g.log.String(), "person") {
			t.Errorf("the query is told: %s\n%s", text, g.log)
		}
		if !strings.Contains(g.log.String(), "a call failed") {
			t.Error("the failure is not logged")
		}
	}
	t.Run("of the call, until the head", func(t *testing.T) {
		h := hangs(t)
		g := setup{grant: []config.Fetch{grant(t, h.url, nil)}}.guest(t)
		for timeout := 20 * time.Millisecond; h.came.Load() == 0; timeout *= 4 { // on a slow machine it may not get as far as to the server
			in := ask("GET", h.url+query)
			in.Timeout = timeout
			quiet(t, g, g.refuses(t, in, abi.Timeout))
		}
		<-h.gone
	})
	t.Run("of the pool's settings, until the head", func(t *testing.T) {
		h := hangs(t)
		g := setup{grant: []config.Fetch{grant(t, h.url, nil)}, client: func(c *config.Client) { c.ResponseTimeout = 20 * time.Millisecond }}.guest(t)
		text := g.refuses(t, ask("GET", h.url+query), abi.Timeout)
		quiet(t, g, text)
		if !strings.Contains(text, "client.response_timeout") {
			t.Errorf("text %q does not name the setting", text)
		}
		<-h.gone
	})
	t.Run("in the pool's queue", func(t *testing.T) {
		h := hangs(t)
		g := setup{grant: []config.Fetch{grant(t, h.url, nil)}, client: func(c *config.Client) { c.MaxConns = 1 }}.guest(t)
		first, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := g.fetch(first, ask("GET", h.url))
			done <- err
		}()
		for h.came.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		in := ask("GET", h.url+query)
		in.Timeout = 20 * time.Millisecond
		text := g.refuses(t, in, abi.Pool)
		quiet(t, g, text)
		if !strings.Contains(text, "client.max_conns") {
			t.Errorf("text %q does not name the setting", text)
		}
		if n := g.host.Parts().Upstreams.Stats()[0].PoolTimeouts; n != 1 {
			t.Errorf("the pool counted %d time-outs", n)
		}
		stop()
		if err := <-done; code(err) != abi.Cancelled {
			t.Errorf("the first call ended with %v", err)
		}
		<-h.gone
	})
	t.Run("not of the body", func(t *testing.T) {
		release := make(chan struct{})
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			<-release
			io.WriteString(w, "late")
		})
		g := setup{grant: []config.Fetch{grant(t, s.URL, nil)}}.guest(t)
		in := ask("GET", s.URL)
		in.Timeout = time.Minute // far more than a head takes
		reply, err := g.fetch(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		defer reply.Body.Close()
		close(release)
		if b, err := io.ReadAll(reply.Body); err != nil || string(b) != "late" {
			t.Errorf("%q, %v", b, err)
		}
	})
	t.Run("between two chunks", func(t *testing.T) {
		release := make(chan struct{})
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "first")
			_ = http.NewResponseController(w).Flush()
			<-release
		})
		defer close(release)
		g := setup{grant: []config.Fetch{grant(t, s.URL, nil)}, client: func(c *config.Client) { c.ChunkTimeout = 50 * time.Millisecond }}.guest(t)
		if _, body, err := g.do(t.Context(), ask("GET", s.URL)); code(err) != abi.Timeout || body != "" && body != "first" {
			t.Errorf("%q, %v", body, err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		url := hangs(t).url
		g := setup{grant: []config.Fetch{grant(t, url, nil)}}.guest(t)
		if _, _, err := g.do(ended(), ask("GET", url)); code(err) != abi.Cancelled {
			t.Error(err)
		}
		if s := g.log.String(); s != "" {
			t.Errorf("a cancel is no failure to log: %s", s)
		}
	})
}

func TestBrokenCalls(t *testing.T) {
	const nobody = "http://127.0.0.1:1" // a port that was let go may be another test's by now
	reset := serve(t, func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) })
	half := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "half")
	})
	for name, c := range map[string]struct {
		url  string
		code abi.Code
	}{
		"nobody listens": {nobody, abi.Connect}, "before the head": {reset.URL, abi.Reset}, "within the body": {half.URL, abi.Reset},
	} {
		t.Run(name, func(t *testing.T) {
			g := setup{grant: []config.Fetch{grant(t, c.url, nil)}}.guest(t)
			if text := g.refuses(t, ask("GET", c.url+"/?q=typed"), c.code); strings.Contains(text+g.log.String(), "typed") {
				t.Error(text)
			}
		})
	}
}

// TestLargeBodyStreams has an answer that no buffer holds, and a server that waits until its first bytes were read.
func TestLargeBodyStreams(t *testing.T) {
	const size = 32 << 20
	read := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		piece := make([]byte, 64<<10)
		_, _ = w.Write(piece)
		_ = http.NewResponseController(w).Flush()
		<-read
		for n := len(piece); n < size; n += len(piece) {
			_, _ = w.Write(piece)
		}
	})
	g := setup{grant: []config.Fetch{grant(t, s.URL, nil)}}.guest(t)
	reply, err := g.fetch(t.Context(), ask("GET", s.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	if _, err := io.ReadFull(reply.Body, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	close(read)
	if n, err := io.Copy(io.Discard, reply.Body); err != nil || n != size-1 || reply.Length != -1 {
		t.Errorf("%d bytes, length %d, %v", n, reply.Length, err)
	}
}

// TestClosingTheBodyCancels wants the server to learn that nobody listens.
func TestClosingTheBodyCancels(t *testing.T) {
	gone := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	})
	g := setup{grant: []config.Fetch{grant(t, s.URL, nil)}}.guest(t)
	reply, err := g.fetch(t.Context(), ask("GET", s.URL))
	if err != nil {
		t.Fatal(err)
	}
	reply.Body.Close()
	<-gone
	if n := g.host.Parts().Upstreams.Stats()[0].InUse; n != 0 {
		t.Errorf("%d connections are in use", n)
	}
}

// stalled is a guest that began to send and never goes on. Its Read ends as the engine ends it: when the capability has returned.
type stalled struct {
	first io.Reader
	end   chan struct{}
}

func (s *stalled) Read(p []byte) (int, error) {
	if n, err := s.first.Read(p); err == nil {
		return n, nil
	}
	<-s.end
	return 0, io.ErrClosedPipe
}

func streaming(in *wasm.Operation, r io.Reader) *wasm.Operation {
	in.Stream = r
	return in
}

func TestStreamedRequest(t *testing.T) {
	s := record(t)
	g := setup{grant: []config.Fetch{grant(t, s.URL, nil)}}.guest(t)
	g.must(t, streaming(ask("POST", s.URL), io.MultiReader(strings.NewReader("one "), strings.NewReader("two"))))
	if b, _ := io.ReadAll(s.last(t).Body); string(b) != "one two" || s.last(t).ContentLength != -1 {
		t.Errorf("the server saw %q", b)
	}
	_, _, err := g.do(t.Context(), streaming(ask("POST", s.URL), io.MultiReader(strings.NewReader("one"), &failing{})))
	if code(err) == abi.OK {
		t.Errorf("a stream that fails: %v", err)
	}
}

type failing struct{}

func (*failing) Read([]byte) (int, error) { return 0, errors.New("on purpose") }

// TestStalledRequestCanBeGivenUp would hang for ever if only the guest could end a Read of its own stream.
func TestStalledRequestCanBeGivenUp(t *testing.T) {
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	g := setup{grant: []config.Fetch{grant(t, s.URL, nil)}}.guest(t)
	guest := &stalled{strings.NewReader("first"), make(chan struct{})}
	in := streaming(ask("POST", s.URL), guest)
	in.Timeout = 20 * time.Millisecond
	_, _, err := g.do(t.Context(), in)
	close(guest.end)
	if code(err) != abi.Timeout {
		t.Error(err)
	}
	if n := g.host.Parts().Upstreams.Stats()[0].InUse; n != 0 {
		t.Errorf("%d connections are in use", n)
	}
}
