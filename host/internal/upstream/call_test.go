package upstream_test

import (
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
)

const soon = 30 * time.Millisecond

// silent accepts and says nothing until the test is over.
func silent(t *testing.T) string {
	return rawServer(t, func(_ int, c net.Conn) { io.Copy(io.Discard, c) })
}

// TestErrorsAreTold makes each failure happen and checks that it is that one and no other.
func TestErrorsAreTold(t *testing.T) {
	kinds := []error{
		upstream.ErrPoolTimeout, upstream.ErrConnect, upstream.ErrConnectTimeout, upstream.ErrResponseTimeout, upstream.ErrChunkTimeout,
		upstream.ErrReset, upstream.ErrProtocol, upstream.ErrBlocked, context.Canceled, context.DeadlineExceeded,
	}
	secure := httptest.NewTLSServer(http.HandlerFunc(hello))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(secure.Close)
	stalls := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "one")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	answer := func(s string) string {
		return rawServer(t, func(_ int, c net.Conn) {
			io.ReadAtLeast(c, make([]byte, 1024), 1)
			io.WriteString(c, s)
			io.Copy(io.Discard, c)
		})
	}
	reset := rawServer(t, func(_ int, c net.Conn) {
		io.ReadAtLeast(c, make([]byte, 1024), 1)
		c.(*net.TCPConn).SetLinger(0)
	})
	for _, c := range []struct {
		name   string
		change func(*config.Client)
		url    string
		ctx    time.Duration
		want   error
		says   string
	}{
		{"nobody listens", nil, "http://" + nobody(t), 0, upstream.ErrConnect, "refused"},
		{"unknown certificate", nil, secure.URL, 0, upstream.ErrConnect, "certificate"},
		{"no TLS there", nil, "https" + strings.TrimPrefix(stalls.URL, "http"), 0, upstream.ErrConnect, "TLS handshake"},
		{"silent handshake", func(c *config.Client) { c.ConnectTimeout = soon }, "https" + strings.TrimPrefix(silent(t), "http"), 0, upstream.ErrConnectTimeout, "client.connect_timeout is 30ms"},
		{"silent handshake, impatient caller", nil, "https" + strings.TrimPrefix(silent(t), "http"), soon, context.DeadlineExceeded, ""},
		{"no headers", func(c *config.Client) { c.ResponseTimeout = soon }, silent(t), 0, upstream.ErrResponseTimeout, "client.response_timeout is 30ms"},
		{"no headers, impatient caller", nil, silent(t), soon, context.DeadlineExceeded, ""},
		{"half a head", func(c *config.Client) { c.ResponseTimeout = soon }, answer("HTTP/1.1 200 OK\r\nA:"), 0, upstream.ErrResponseTimeout, ""},
		{"body stalls", func(c *config.Client) { c.ChunkTimeout = soon }, stalls.URL, 0, upstream.ErrChunkTimeout, "client.chunk_timeout is 30ms"},
		{"body stalls, impatient caller", nil, stalls.URL, soon, context.DeadlineExceeded, ""},
		{"reset", nil, reset, 0, upstream.ErrReset, ""},
		{"not HTTP", nil, answer("SSH-2.0-x\r\n\r\n"), 0, upstream.ErrProtocol, "malformed"},
		{"bad chunk", nil, answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), 0, upstream.ErrProtocol, ""},
		{"switches protocols", nil, answer("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), 0, upstream.ErrProtocol, "another protocol"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPool(t, c.change)
			for _, ctx := range []context.Context{t.Context(), upstream.Alone(t.Context())} {
				if c.ctx > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.ctx)
					defer cancel()
				}
				_, err := fetch(p, get(t, ctx, c.url), local)
				if err == nil {
					t.Fatal("no error")
				}
				for _, kind := range kinds {
					if errors.Is(err, kind) != (kind == c.want) {
						t.Errorf("%v: is %v: %v", err, kind, errors.Is(err, kind))
					}
				}
				host := c.url[strings.LastIndexByte(c.url, '/')+1:]
				if !strings.Contains(err.Error(), host) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%q does not say %q and %q", err, host, c.says)
				}
				eventually(t, "the place is free", func() bool { return p.Stats().Open == 0 })
			}
		})
	}
}

// TestFailedHandshakeHangsUp leaves no socket behind that only the server could close.
func TestFailedHandshakeHangsUp(t *testing.T) {
	hungUp := make(chan struct{})
	url := rawServer(t, func(_ int, c net.Conn) {
		io.WriteString(c, "this is no TLS\r\n")
		io.Copy(io.Discard, c)
		close(hungUp)
	})
	if _, err := fetch(newPool(t, nil), get(t, t.Context(), "https"+strings.TrimPrefix(url, "http")), local); !errors.Is(err, upstream.ErrConnect) {
		t.Errorf("%v, want ErrConnect", err)
	}
	select {
	case <-hungUp:
	case <-time.After(time.Minute):
		t.Error("the socket is still open")
	}
}

// TestSameHost shares a connection between two spellings of one address.
func TestSameHost(t *testing.T) {
	p := newPool(t, nil)
	s := newServer(t, hello)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	mustFetch(t, p, "http://localhost:"+port, local)
	mustFetch(t, p, "http://LocalHost:"+port, local)
	if st := p.Stats(); st.Dials != 1 {
		t.Errorf("%d dials, want 1", st.Dials)
	}
}

func TestHeaderLimit(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		w.Header().Set("X-Long", strings.Repeat("x", n))
		hello(w, r)
	})
	p := newPool(t, nil)
	mustFetch(t, p, s.URL+"?n=60000", local)
	if _, err := fetch(p, get(t, t.Context(), s.URL+"?n=70000"), local); !errors.Is(err, upstream.ErrProtocol) {
		t.Errorf("70000 bytes of headers: %v, want ErrProtocol", err)
	}
}

// TestEarlyClose shows that the upstream learns at once that nobody listens any more.
func TestEarlyClose(t *testing.T) {
	for name, leave := range map[string]func(resp *http.Response, cancel func()){
		"closed":    func(resp *http.Response, _ func()) { resp.Body.Close() },
		"cancelled": func(_ *http.Response, cancel func()) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			gone := make(chan struct{})
			s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "first")
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				close(gone)
			})
			p := newPool(t, nil)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			resp, err := p.Do(get(t, ctx, s.URL), local)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if _, err := io.ReadFull(resp.Body, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			leave(resp, cancel)
			<-gone
			eventually(t, "the place is free", func() bool { return p.Stats().Open == 0 })
			if _, err := resp.Body.Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.Errorf("a read afterwards: %v, want an error", err)
			}
		})
	}
}

// TestCloseWakesRead closes a body while somebody waits for its next byte.
func TestCloseWakesRead(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	p := newPool(t, nil)
	resp, err := p.Do(get(t, t.Context(), s.URL), local)
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan error)
	go func() {
		_, err := resp.Body.Read(make([]byte, 1))
		read <- err
	}()
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	if err := <-read; err == nil || errors.Is(err, upstream.ErrReset) || errors.Is(err, upstream.ErrProtocol) {
		t.Errorf("the read says %v, want an error that does not blame the upstream", err)
	}
	eventually(t, "the place is free", func() bool { return p.Stats().Open == 0 })
}

// TestSlowReader shows that the chunk time-out measures the upstream, not the caller.
func TestSlowReader(t *testing.T) { inBubble(t, testSlowReader) }

func testSlowReader(t *testing.T, m *memory) {
	s := m.backend(t, "s", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Repeat("x", 1<<20))
	})
	p := m.pool(t, func(c *config.Client) { c.ChunkTimeout = time.Second })
	resp, err := p.Do(get(t, t.Context(), s.url), local)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1300 * time.Millisecond) // a client that is slow to take what was read
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != 1<<20-10 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestStuckUpload sends a body that never comes to a server that waits for it.
func TestStuckUpload(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	for name, c := range map[string]struct {
		change func(*config.Client)
		ctx    time.Duration
		want   error
	}{
		"response time-out": {func(c *config.Client) { c.ResponseTimeout = soon }, time.Hour, upstream.ErrResponseTimeout},
		"caller's deadline": {nil, soon, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), c.ctx)
			defer cancel()
			body, feed := io.Pipe()
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, body)
			if err != nil {
				t.Fatal(err)
			}
			p := newPool(t, c.change)
			if _, err := fetch(p, req, local); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if _, err := feed.Write([]byte("x")); err != io.ErrClosedPipe {
				t.Errorf("the feeder is told %v, want a closed pipe", err)
			}
			eventually(t, "the place is free", func() bool { return p.Stats().Open == 0 })
		})
	}
}

// TestBrokenUpload has a body that fails; that is the caller's fault, not the upstream's.
func TestBrokenUpload(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	p := newPool(t, nil)
	broken := errors.New("disk on fire")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, io.MultiReader(strings.NewReader("x"), failing{broken}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fetch(p, req, local); !errors.Is(err, broken) || errors.Is(err, upstream.ErrReset) {
		t.Errorf("%v, want the body's own error", err)
	}
	eventually(t, "the place is free", func() bool { return p.Stats().Open == 0 })
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestBadRequests costs no connection, or gives it back, and closes the body.
func TestBadRequests(t *testing.T) {
	s := newServer(t, hello)
	p := newPool(t, nil)
	for name, spoil := range map[string]func(*http.Request){
		"scheme":        func(r *http.Request) { r.URL.Scheme = "ftp" },
		"no host":       func(r *http.Request) { r.URL.Host = "" },
		"host":          func(r *http.Request) { r.URL.Host = "bücher.example" },
		"no header map": func(r *http.Request) { r.Header = nil },
		"no URL":        func(r *http.Request) { r.URL = nil },
		"header name":   func(r *http.Request) { r.Header["a b"] = []string{"c"} },
		"header value":  func(r *http.Request) { r.Header.Set("a", "b\r\nc: d") },
		"method":        func(r *http.Request) { r.Method = "GE T" },
	} {
		t.Run(name, func(t *testing.T) {
			body := &closer{Reader: strings.NewReader("x")}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, body)
			if err != nil {
				t.Fatal(err)
			}
			spoil(req)
			if _, err := fetch(p, req, local); err == nil {
				t.Error("no error")
			}
			if !body.closed {
				t.Error("the body was not closed")
			}
			if st := p.Stats(); st.Open != st.Idle {
				t.Errorf("a place was lost: %+v", st)
			}
		})
	}
	mustFetch(t, p, s.URL, local)
}

// TestAsItIs shows that nothing is followed, decoded or added on the way.
func TestAsItIs(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/redirect":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case r.Header.Get("Accept-Encoding") != "":
			io.WriteString(w, "asked for compression")
		default:
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			io.WriteString(z, "hello")
			z.Close()
		}
	})
	p := newPool(t, nil)
	req := get(t, t.Context(), s.URL+"/redirect")
	resp, err := p.Do(req, local)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusFound || resp.Header.Get("Location") != "/elsewhere" || resp.Request != req {
		t.Errorf("status %d to %s for %p, want the redirect itself", resp.StatusCode, resp.Header.Get("Location"), resp.Request)
	}
	if resp, err = p.Do(get(t, t.Context(), s.URL), local); err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.Header.Get("Content-Encoding") != "gzip" || !strings.HasPrefix(string(b), "\x1f\x8b") {
		t.Errorf("%q, %v, want the bytes as sent", b, err)
	}
}

// TestNoProxyFromEnvironment runs itself in a process whose environment names a proxy from the
// start, and calls an address that a proxy would be taken for and that no packet leaves for.
func TestNoProxyFromEnvironment(t *testing.T) {
	if os.Getenv("HTTP_PROXY") == "" {
		called := make(chan struct{}, 1)
		proxy := newServer(t, func(http.ResponseWriter, *http.Request) { called <- struct{}{} })
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNoProxyFromEnvironment$")
		child.Env = append(os.Environ(), "HTTP_PROXY="+proxy.URL, "NO_PROXY=")
		if out, err := child.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		if len(called) != 0 {
			t.Error("the call went to the proxy")
		}
		return
	}
	if _, err := fetch(newPool(t, nil), get(t, t.Context(), "http://255.255.255.255/"), local); !errors.Is(err, upstream.ErrConnect) {
		t.Errorf("%v, want ErrConnect", err)
	}
}

// registry is a context that counts what waits for its end.
type registry struct {
	context.Context
	done    chan struct{}
	waiting atomic.Int64
}

func (r *registry) Done() <-chan struct{} { return r.done }

// AfterFunc is what package context calls for a derived context.
func (r *registry) AfterFunc(func()) func() bool {
	r.waiting.Add(1)
	return sync.OnceValue(func() bool { r.waiting.Add(-1); return true })
}

// TestNothingStaysInTheContext makes calls that end in every way under one context that lives on.
func TestNothingStaysInTheContext(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		case "/die":
			panic(http.ErrAbortHandler)
		case "/switch":
			w.Header().Set("Connection", "upgrade")
			w.Header().Set("Upgrade", "x")
			w.WriteHeader(http.StatusSwitchingProtocols)
		case "/long":
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			hello(w, r)
		}
	})
	p := newPool(t, nil)
	ctx := &registry{Context: context.Background(), done: make(chan struct{})}
	for _, path := range []string{"/", "/none", "/die", "/switch", "/long"} {
		resp, err := p.Do(get(t, ctx, s.URL+path), local)
		if err == nil {
			if path != "/long" {
				io.Copy(io.Discard, resp.Body)
			}
			if path != "/" { // to its end is enough
				resp.Body.Close()
			}
		}
		if n := ctx.waiting.Load(); n != 0 {
			t.Errorf("%s: %d still wait for the context's end", path, n)
		}
	}
}

// TestSlowUpload sends for longer than the response time-out: that starts with the last byte sent.
func TestSlowUpload(t *testing.T) { inBubble(t, testSlowUpload) }

func testSlowUpload(t *testing.T, m *memory) {
	s := m.backend(t, "s", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	})
	p := m.pool(t, func(c *config.Client) { c.ResponseTimeout = time.Second })
	body, feed := io.Pipe()
	go func() {
		for began := time.Now(); time.Since(began) < 1500*time.Millisecond; time.Sleep(20 * time.Millisecond) {
			feed.Write(make([]byte, 16<<10)) // more than a buffer's worth, so that it is sent
		}
		feed.Close()
	}()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url, body)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := fetch(p, req, local); err != nil || !strings.HasSuffix(got, "<nil>") {
		t.Errorf("%q, %v", got, err)
	}
}

// TestBodiless gives the connection back at once, even to a caller who forgets to close.
func TestBodiless(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/204" {
			w.WriteHeader(http.StatusNoContent)
		}
	})
	p := newPool(t, nil)
	for _, c := range []struct{ method, path string }{{"HEAD", "/"}, {"GET", "/204"}, {"GET", "/empty"}, {"DELETE", "/"}} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, s.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := p.Do(req, local)
		if err != nil {
			t.Fatal(err)
		}
		if st := p.Stats(); st.Idle != 1 || st.InUse != 0 {
			t.Errorf("%s %s: %+v, want the connection idle", c.method, c.path, st)
		}
		if b, err := io.ReadAll(resp.Body); len(b) != 0 || err != nil {
			t.Errorf("%s %s: body %q, %v", c.method, c.path, b, err)
		}
		resp.Body.Close()
	}
	if st := p.Stats(); st.Dials != 1 {
		t.Errorf("%d dials, want 1", st.Dials)
	}
}

// TestTLS calls a server that would rather speak HTTP/2, and survives its closing an idle connection.
func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	p := newPool(t, nil, upstream.Roots(roots))
	for range 2 {
		resp, err := p.Do(get(t, t.Context(), s.URL), local)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(b) != "HTTP/1.1" {
			t.Errorf("%q, %v, want HTTP/1.1", b, err)
		}
		if resp.TLS == nil || !resp.TLS.HandshakeComplete || len(resp.TLS.PeerCertificates) == 0 {
			t.Error("the response does not say that it came over TLS")
		}
	}
	if st := p.Stats(); st.Dials != 1 || st.Reused != 1 {
		t.Errorf("%+v, want one connection", st)
	}
	// The closing alert is a message of TLS, not a byte of the answer: the call is sent again.
	for range 20 {
		s.CloseClientConnections()
		if _, err := fetch(p, post(t, s.URL, "x"), local); err != nil {
			t.Fatal(err)
		}
	}
}
