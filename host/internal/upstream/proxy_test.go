package upstream_test

import (
	"bufio"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
)

// patience is for what is to succeed, however busy the machine.
const patience = 30 * time.Second

// newProxy is an HTTP proxy that finds every name at one address, and tells what it was asked.
func newProxy(t *testing.T, at string) (url string, asked func() string) {
	var mu sync.Mutex
	var lines []string
	url = rawServer(t, func(_ int, c net.Conn) {
		r := bufio.NewReader(c)
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		mu.Lock()
		lines = append(lines, req.Method+" "+req.RequestURI+" for "+req.Host)
		mu.Unlock()
		to, err := net.Dial("tcp", at)
		if err != nil {
			return
		}
		defer to.Close()
		if req.Method == http.MethodConnect {
			io.WriteString(c, "HTTP/1.1 200 Connection established\r\nProxy-Agent: test\r\n\r\n")
		} else {
			req.URL.Scheme, req.URL.Host = "", ""
			_ = req.Write(to)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.Copy(to, r)
			_ = to.(*net.TCPConn).CloseWrite()
		}()
		_, _ = io.Copy(c, to)
		_ = c.Close()
		<-done
	})
	return url, func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(lines, "\n")
	}
}

// proxied makes an upstream that stands behind a proxy.
func proxied(t *testing.T, endpoint, proxy string, private bool, connect time.Duration, opts ...upstream.Option) *upstream.Upstream {
	t.Helper()
	set, err := upstream.New(client(nil), map[string]config.Upstream{"far": {
		Endpoints: addresses(endpoint), Proxy: proxy, Private: private, MaxConns: 2,
		IdleTimeout: time.Minute, ConnectTimeout: connect, ResponseTimeout: patience, ChunkTimeout: patience,
	}}, nil, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	u, _ := set.Named("far")
	return u
}

func callFar(t *testing.T, u *upstream.Upstream) (string, error) {
	t.Helper()
	at, err := u.URL("/v1/a%20b", "q=1")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := u.Do(get(t, t.Context(), at.String()), upstream.Policy{})
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func TestProxy(t *testing.T) {
	// Nothing of the environment counts.
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
	echo := func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s %s", r.Host, r.RequestURI) }
	t.Run("plain", func(t *testing.T) {
		s := newServer(t, echo)
		proxy, asked := newProxy(t, s.Listener.Addr().String())
		u := proxied(t, "http://api.far.invalid:8080/base", proxy, true, patience)
		for range 2 { // the second on the connection of the first, which this proxy passes on as it is
			got, err := callFar(t, u)
			if err != nil || !strings.HasPrefix(got, "api.far.invalid:8080 ") || !strings.HasSuffix(got, "/base/v1/a%20b?q=1") {
				t.Fatalf("%q, %v", got, err)
			}
		}
		if got, want := asked(), "GET http://api.far.invalid:8080/base/v1/a%20b?q=1 for api.far.invalid:8080"; got != want {
			t.Errorf("the proxy was asked\n%s\nwant\n%s", got, want)
		}
	})
	t.Run("TLS", func(t *testing.T) {
		s := httptest.NewTLSServer(http.HandlerFunc(echo))
		defer s.Close()
		roots := x509.NewCertPool()
		roots.AddCert(s.Certificate())
		proxy, asked := newProxy(t, s.Listener.Addr().String())
		u := proxied(t, "https://example.com/base", proxy, true, patience, upstream.Roots(roots))
		for range 2 {
			if got, err := callFar(t, u); err != nil || got != "example.com /base/v1/a%20b?q=1" {
				t.Fatalf("%q, %v", got, err)
			}
		}
		if got, want := asked(), "CONNECT example.com:443 for example.com:443"; got != want {
			t.Errorf("the proxy was asked\n%s\nwant\n%s", got, want)
		}
		// The certificate is the server's, whoever stands between.
		u = proxied(t, "https://api.far.invalid", proxy, true, patience, upstream.Roots(roots))
		if got, err := callFar(t, u); err == nil || !errors.Is(err, upstream.ErrConnect) || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("its address is checked", func(t *testing.T) {
		proxy, asked := newProxy(t, "127.0.0.1:1")
		for _, endpoint := range []string{"http://api.far.invalid", "https://api.far.invalid", "https://8.8.8.8"} {
			if _, err := callFar(t, proxied(t, endpoint, proxy, false, patience)); !errors.Is(err, upstream.ErrBlocked) {
				t.Errorf("%s: %v", endpoint, err)
			}
		}
		if asked() != "" {
			t.Errorf("the proxy was asked %s", asked())
		}
	})
	for name, c := range map[string]struct {
		answer string
		kind   error
		text   string
	}{
		"refuses":   {"HTTP/1.1 407 Give me the key 4711\r\n\r\n", upstream.ErrConnect, "it answered 407 to a tunnel to api.far.invalid:443"},
		"garbage":   {"garbage 4711\r\n\r\n", upstream.ErrConnect, "no HTTP"},
		"closes":    {"HTTP/1.1 200", upstream.ErrConnect, "EOF"},
		"no end":    {"HTTP/1.1 200 OK\r\n" + strings.Repeat("a: b\r\n", 4000), upstream.ErrConnect, "has no end"},
		"says none": {"", upstream.ErrConnectTimeout, "upstreams.far.connect_timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			stop := make(chan struct{})
			proxy := rawServer(t, func(_ int, conn net.Conn) {
				_, _ = http.ReadRequest(bufio.NewReader(conn))
				if c.answer == "" {
					<-stop
				}
				_, _ = io.WriteString(conn, c.answer)
			})
			defer close(stop)
			connect := patience
			if c.answer == "" {
				connect = 50 * time.Millisecond
			}
			u := proxied(t, "https://api.far.invalid", proxy, true, connect)
			_, err := callFar(t, u)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "4711") {
				t.Errorf("%v", err)
			}
			if st := u.Pool().Stats(); st.Open != 0 {
				t.Errorf("places were lost: %+v", st)
			}
		})
	}
}

// TestChecksGoThroughTheProxy looks at the endpoint's health and queue as calls would: the proxy alone knows its name.
func TestChecksGoThroughTheProxy(t *testing.T) {
	page := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/base/healthz":
		case "/metrics":
			fmt.Fprintln(w, "waiting 7")
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}
	for name, c := range map[string]struct {
		start  func(*testing.T) *httptest.Server
		origin string
		asked  []string
	}{
		"plain": {func(t *testing.T) *httptest.Server { return newServer(t, page) }, "http://far.example.com:8080", []string{
			"GET http://far.example.com:8080/base/healthz for far.example.com:8080", "GET http://far.example.com:8080/metrics for far.example.com:8080",
		}},
		"TLS": {func(*testing.T) *httptest.Server { return httptest.NewTLSServer(http.HandlerFunc(page)) }, "https://example.com", []string{
			"CONNECT example.com:443 for example.com:443",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.start(t)
			defer s.Close()
			roots := x509.NewCertPool()
			if cert := s.Certificate(); cert != nil {
				roots.AddCert(cert)
			}
			for _, private := range []bool{true, false} {
				proxy, asked := newProxy(t, s.Listener.Addr().String())
				far := config.DefaultUpstream()
				far.Endpoints = []config.Endpoint{{URL: c.origin + "/base", Metrics: c.origin + "/metrics"}}
				far.Proxy, far.Private, far.Health.Path, far.Health.Failures = proxy, private, "/healthz", 1
				far.Health.Timeout = patience
				far.Queue = config.Queue{Metric: "waiting", Interval: time.Minute}
				set, err := upstream.New(client(nil), map[string]config.Upstream{"far": far}, nil, upstream.Roots(roots))
				if err != nil {
					t.Fatal(err)
				}
				defer set.Close()
				endpoint := func() upstream.EndpointStats { return set.Stats()[1].Upstream.Endpoints[0] }
				if !private { // the proxy's address is
					eventually(t, "it is down", func() bool { return endpoint().State == upstream.StateDown })
					if got := endpoint().Problem; asked() != "" || !strings.Contains(got, "is refused") {
						t.Errorf("the proxy was asked %q; %s", asked(), got)
					}
					continue
				}
				eventually(t, "seven wait", func() bool { return endpoint().Queued == 7 })
				for _, want := range c.asked {
					eventually(t, want, func() bool { return strings.Contains(asked(), want) })
				}
				if got := endpoint(); got.State != upstream.StateUp {
					t.Errorf("%+v", got)
				}
			}
		})
	}
}
