package app_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/guesttest"
)

// fetcher serves the plugin that calls whatever it is asked to, with these lines of grant.fetch.
func fetcher(t *testing.T, top, client, limits string, grants ...string) *patchbay {
	t.Helper()
	guest := warm.keep(t, "host", "internal", "app", "testdata", "fetcher")
	file := filepath.Join(t.TempDir(), "patchbay.yaml")
	write(t, file, fmt.Sprintf(`server: {listen: "127.0.0.1:0"}
admin: {listen: "127.0.0.1:0"}
cache_dir: %s
client: {%s}
%s
plugins:
  - name: fetcher
    source: %s
    routes: ["POST /fetch", "POST /drain", "POST /pipe", "POST /tell", "POST /trap"]
    limits: {cpu: 10s%s}
    grant:
      fetch:
        - %s
`, filepath.Join(guesttest.Cache(t), "app"), client, top, guest, limits, strings.Join(grants, "\n        - ")))
	return serveAt(t, file)
}

// outcome is what the plugin tells of its call.
type outcome struct {
	Status          int
	Size            int64
	URL, Body, Code string
	Error           string
	Header          map[string]string
	answered        int // to the client
}

func (p *patchbay) fetches(path string, call map[string]any) outcome {
	p.Helper()
	b, _ := json.Marshal(call)
	a := p.do("POST", path, string(b))
	if a.status != 200 {
		return outcome{answered: a.status, Error: string(a.body)}
	}
	o := decode[outcome](p.T, a)
	o.answered = a.status
	return o
}

func lineFor(address string, more string) string {
	host, port, _ := net.SplitHostPort(strings.TrimPrefix(address, "http://"))
	return fmt.Sprintf("{host: %s, scheme: http, port: %s, methods: [GET, POST], paths: [/]%s}", host, port, more)
}

// TestNoWayInside asks a real plugin to reach a service of this machine, in the ways that need no name server of one's own; the rest
// are tried in the package of the capability.
func TestNoWayInside(t *testing.T) {
	var hits atomic.Int64
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			hits.Add(1)
			c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	var to atomic.Pointer[string]
	door := newProvider(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Location"] = []string{*to.Load()}
		w.WriteHeader(302)
	})
	grants := []string{lineFor(door.url, ", private: true"), "{host: '*.example.com', scheme: http, methods: [GET], paths: [/]}"}
	for _, host := range []string{"127.0.0.1", "127.0.0.2", "localhost", "0.0.0.0", "'::1'", "'::'", "'::ffff:127.0.0.1'", "'64:ff9b::7f00:1'", "'2002:7f00:1::'", "'::127.0.0.1'", "10.0.0.1"} {
		grants = append(grants, fmt.Sprintf("{host: %s, scheme: http, port: %s, methods: [GET], paths: [/]}", host, port))
	}
	grants = append(grants, "{host: 169.254.169.254, scheme: http, methods: [GET], paths: [/]}", "{host: 'fd00:ec2::254', scheme: http, methods: [GET], paths: [/]}")
	p := fetcher(t, "", "", "", grants...)
	for _, c := range []struct{ url, code string }{
		{"http://127.0.0.1:PORT/", "address refused"}, {"http://127.0.0.2:PORT/", "address refused"}, {"http://0.0.0.0:PORT/", "address refused"}, {"http://10.0.0.1:PORT/", "address refused"}, {"http://169.254.169.254/latest/", "address refused"},
		{"http://[::1]:PORT/", "address refused"}, {"http://[::]:PORT/", "address refused"}, {"http://[::ffff:7f00:1]:PORT/", "address refused"}, {"http://[::127.0.0.1]:PORT/", "address refused"}, {"http://[64:ff9b::127.0.0.1]:PORT/", "address refused"},
		{"http://[2002:7f00:1::]:PORT/", "address refused"}, {"http://[fd00:ec2::254]/", "address refused"}, {"http://localhost:PORT/", "address refused"}, {"http://LOCALHOST.:PORT/", "address refused"},
		{"http://127.1:PORT/", "invalid"}, {"http://2130706433:PORT/", "invalid"}, {"http://0x7f.1:PORT/", "invalid"}, {"http://0177.0.0.1:PORT/", "invalid"}, {"http://[::1%25lo]:PORT/", "invalid"},
		{"http://x.example.com@127.0.0.1:PORT/", "invalid"}, {`http://x.example.com\@127.0.0.1:PORT/`, "invalid"}, {"http://127。0。0。1:PORT/", "invalid"}, {"http://①②⑦.0.0.1:PORT/", "invalid"}, {"http://127.0.0.1:PORT/\r\nHost: x", "invalid"},
		{"file:///etc/passwd", "invalid"}, {"gopher://127.0.0.1:PORT/", "invalid"}, {"http://127.0.0.3:PORT/", "denied"}, {"https://127.0.0.1:PORT/", "denied"},
	} {
		url := strings.ReplaceAll(c.url, "PORT", port)
		if o := p.fetches("/fetch", map[string]any{"url": url}); o.Code != c.code || o.Status != 0 {
			t.Errorf("%s: %+v, want %s", url, o, c.code)
		}
		if strings.Contains(url, "\r") {
			continue
		}
		to.Store(&url)
		if o := p.fetches("/fetch", map[string]any{"url": door.url, "redirects": 5}); o.Code != "denied" && o.Code != "address refused" || o.Status != 0 {
			t.Errorf("a redirect to %s: %+v", url, o)
		}
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("%d connections got inside", n)
	}
	if shown := string(p.admins("/api/plugins/fetcher").body); !strings.Contains(shown, "private: true") || !strings.Contains(shown, "add to its grant.fetch") {
		t.Errorf("the admin listener does not show what was refused: %.2000s", shown)
	}
}

// heapPeak looks at what the heap holds while something runs, and gives its largest growth. Garbage does not count: how much of it there
// is says when it was collected.
func heapPeak(do func()) int64 {
	held := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, peak := held(), int64(0)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			peak = max(peak, held()-before)
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	do()
	close(stop)
	<-done
	return peak
}

// hostile is a path of a provider, and what a plugin sees that reads it to its end.
type hostile struct {
	path, code, text string
	status           int   // of what was read
	size             int64 // at most
}

// endures has the plugin read a path of the provider.
func (p *patchbay) endures(provider *provider, c hostile) error {
	p.Helper()
	o := p.fetches("/drain", map[string]any{"url": provider.url + c.path})
	if o.Code != c.code || !strings.Contains(o.Error, c.text) || o.Status != c.status && o.Status != 0 || o.Size > c.size || c.code == "" && o.Size != c.size {
		return fmt.Errorf("%s: %+v, want %+v", c.path, o, c)
	}
	return nil
}

// pipes has the plugin pass a path of the provider on.
func (p *patchbay) pipes(provider *provider, path string) (answer, error) {
	p.Helper()
	body, _ := json.Marshal(map[string]any{"url": provider.url + path})
	return p.try(p.Context(), "POST", p.url+"/pipe", string(body))
}

// TestHostileProviders: a clear error or what there is of an answer, and flat memory, whatever a provider does.
func TestHostileProviders(t *testing.T) {
	zeros := make([]byte, 64<<10)
	endless := func(w io.Writer, r *http.Request, piece []byte) {
		for r.Context().Err() == nil {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}
	var packed bytes.Buffer // a member of 8 MiB; many make one stream
	z := gzip.NewWriter(&packed)
	for range 128 {
		_, _ = z.Write(zeros)
	}
	_ = z.Close()
	raw := func(w http.ResponseWriter, send func(c net.Conn)) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		send(c)
		_ = c.Close()
	}
	say := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			raw(w, func(c net.Conn) { _, _ = io.WriteString(c, text) })
		}
	}
	answers := map[string]http.HandlerFunc{
		"/hang":       nil, // below
		"/hang-later": nil,
		"/garbage":    say("\x00\x01\x02 what is this?\r\n\r\n"),
		"/tls":        say("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
		"/nothing":    say(""),
		"/status":     say("HTTP/1.1 999999 Odd\r\n\r\n"),
		"/length":     say("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"),
		"/lengths":    say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
		"/short":      say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"half\": "),
		"/chunks":     say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx"),
		"/switch":     say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
		"/interim":    say(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 100000)),
		"/headers": func(w http.ResponseWriter, r *http.Request) {
			raw(w, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nA: "); endless(c, r, zeros) })
		},
		"/many": say("HTTP/1.1 200 OK\r\n" + strings.Repeat("a: b\r\n", 2000) + "Content-Length: 0\r\n\r\n"),
		"/gigabyte": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1073741824")
			endless(w, r, zeros)
		},
		"/endless": func(w http.ResponseWriter, r *http.Request) { endless(w, r, zeros) },
		"/bomb": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			endless(w, r, packed.Bytes())
		},
		"/no-gzip": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, "plain")
		},
		"/utf8": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, "{\"a\":\"\xff\xfe\xc3\x28\"}")
		},
		"/type": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "image/png")
			_, _ = io.WriteString(w, `{"a":1}`)
		},
		"/bytes": func(w http.ResponseWriter, _ *http.Request) {
			for range 5000 {
				_, _ = w.Write([]byte("x"))
				_ = http.NewResponseController(w).Flush()
			}
		},
	}
	provider := newProvider(t, nil)
	provider.answer = func(w http.ResponseWriter, r *http.Request) {
		switch answer := answers[r.URL.Path]; {
		case r.URL.Path == "/drip":
			for {
				if _, err := w.Write([]byte("x")); err != nil {
					return
				}
				_ = http.NewResponseController(w).Flush()
				time.Sleep(20 * time.Millisecond)
			}
		case answer == nil:
			if r.URL.Path == "/hang-later" {
				_, _ = io.WriteString(w, "first")
				_ = http.NewResponseController(w).Flush()
			}
			provider.hang(r)
		default:
			answer(w, r)
		}
	}
	const limit = 8 << 20
	// Who is never done meets a time-out; all others have time, or a slow machine would be taken for a slow provider.
	p := fetcher(t, "", "chunk_timeout: "+forever+", response_timeout: "+forever+", max_response: 8MiB, max_conns: 20", ", timeout: "+forever, lineFor(provider.url, ", private: true"))
	peak := heapPeak(func() {
		for _, c := range []hostile{
			{path: "/garbage", code: "connection broke off", text: "the answer is not acceptable HTTP"},
			{path: "/tls", code: "connection broke off", text: "the connection died"},
			{path: "/nothing", code: "connection broke off", text: "the connection died"},
			{path: "/status", code: "connection broke off", text: "not acceptable HTTP"},
			{path: "/length", code: "connection broke off", text: "not acceptable HTTP"},
			{path: "/lengths", code: "connection broke off", text: "not acceptable HTTP"},
			{path: "/short", status: 200, code: "connection broke off", text: "EOF", size: 9},
			{path: "/chunks", status: 200, code: "connection broke off", size: 1},
			{path: "/switch", code: "connection broke off", text: "switches to another protocol"},
			{path: "/interim", code: "connection broke off", text: "not acceptable HTTP"},
			{path: "/headers", code: "connection broke off", text: "headers exceeded"},
			{path: "/many", code: "too large", text: "headers of the answer"},
			{path: "/gigabyte", code: "too large", text: "over 8388608 bytes: raise client.max_response"},
			{path: "/endless", status: 200, code: "too large", text: "raise client.max_response", size: limit},
			{path: "/bomb", status: 200, code: "too large", text: "decompression bomb", size: 2 << 20},
			{path: "/no-gzip", status: 200, code: "connection broke off", text: "not the gzip that its headers say"},
			{path: "/utf8", status: 200, size: 12},
			{path: "/type", status: 200, size: 7},
			{path: "/bytes", status: 200, size: 5000},
		} {
			if err := p.endures(provider, c); err != nil {
				t.Error(err)
			}
		}
		// Straight through to the client, who sees an answer that is cut and never a whole one.
		for path, whole := range map[string]bool{"/endless": false, "/bomb": false, "/short": false, "/bytes": true} {
			a, err := p.pipes(provider, path)
			if (err == nil && a.status == 200) != whole || len(a.body) > limit {
				t.Errorf("%s piped: %d, %d bytes, %v", path, a.status, len(a.body), err)
			}
		}
		each(20, func(int) {
			_ = p.fetches("/drain", map[string]any{"url": provider.url + "/bomb"})
			_ = p.fetches("/drain", map[string]any{"url": provider.url + "/endless"})
		})
	})
	if peak > 128<<20 {
		t.Errorf("the heap grew by %d MiB", peak>>20)
	}
	t.Logf("the heap grew by %d MiB at most, the provider's own and the test's in it", peak>>20)
	eventually(t, "no connection is in use", func() bool {
		return strings.Contains(strings.ReplaceAll(string(p.admins("/api/upstreams").body), " ", ""), `"in_use":0`)
	})
	if o := p.fetches("/fetch", map[string]any{"url": provider.url + "/type"}); o.Body != `{"a":1}` {
		t.Errorf("after all that: %+v", o)
	}
	sc := bufio.NewScanner(strings.NewReader(p.log.String()))
	for sc.Scan() {
		if len(sc.Bytes()) > 4<<10 || strings.Contains(sc.Text(), "what is this") {
			t.Errorf("a line of the log: %.300s", sc.Text())
		}
	}
	inTime(t, "providers that hang", func(timeout time.Duration) error {
		p := fetcher(t, "", fmt.Sprintf("response_timeout: %v, chunk_timeout: %[1]v", timeout), fmt.Sprintf(", timeout: %v", 3*timeout), lineFor(provider.url, ", private: true"))
		for _, c := range []hostile{
			{path: "/hang", code: "out of time", text: fmt.Sprintf("client.response_timeout is %v", timeout)},
			{path: "/hang-later", status: 200, code: "out of time", text: fmt.Sprintf("client.chunk_timeout is %v", timeout), size: 5},
		} {
			if err := p.endures(provider, c); err != nil {
				return err
			}
		}
		if o := p.fetches("/drain", map[string]any{"url": provider.url + "/drip"}); o.answered != 504 {
			return fmt.Errorf("a drip without end: %+v", o)
		}
		if a, err := p.pipes(provider, "/hang-later"); err == nil && a.status == 200 {
			return fmt.Errorf("what hangs is piped as if it were whole: %v", a)
		}
		return nil
	})
}
