package server_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/logtest"
	"github.com/patchbay-run/patchbay/host/internal/server"
)

func explode() { panic("boom") }

func TestPanics(t *testing.T) {
	var logged logtest.Buffer
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/early", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Request-Id", "id-1")
		w.Header().Set("Content-Length", "5000")
		w.Header().Set("Content-Type", "text/event-stream")
		explode()
	})
	mux.HandleFunc("/late", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		explode()
	})
	mux.HandleFunc("/abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	serve(t, server.Options{Config: settings(), Handler: mux, Log: slog.New(slog.NewTextHandler(&logged, nil))}, ln)
	get := func(path string) *client {
		c := dial(t, ln.Addr().String())
		c.send("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")
		return c
	}

	resp, body := get("/early").answer()
	if resp.StatusCode != 500 || !isDetail(resp, body, "Internal Server Error") || resp.Header.Get("X-Request-Id") != "id-1" {
		t.Errorf("early: %d %v %q", resp.StatusCode, resp.Header, body)
	}
	if got := logged.String(); !strings.Contains(got, "id=id-1") || !strings.Contains(got, "boom") || !strings.Contains(got, "server_test.explode") {
		t.Errorf("logged %q, want the id, the value and the stack", got)
	}

	c := get("/late")
	resp, err = http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("late: half an answer looks whole: %q", b)
	}
	lines := strings.Count(logged.String(), "\n")
	get("/abort").closed()
	if got := strings.Count(logged.String(), "\n"); got != lines {
		t.Errorf("an abort was logged: %s", logged.String())
	}
}

func TestErrorsInAnotherShape(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, server.Options{Config: settings(), Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { explode() }),
		Error: func(w http.ResponseWriter, r *http.Request, status int, detail string) {
			w.WriteHeader(status)
			fmt.Fprint(w, r.URL.Path, ": ", detail)
		}}, ln)
	c := dial(t, ln.Addr().String())
	c.send("GET /v1/x HTTP/1.1\r\nHost: x\r\n\r\n")
	if resp, body := c.answer(); resp.StatusCode != 500 || body != "/v1/x: Internal Server Error" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
}

func TestClientAddr(t *testing.T) {
	const loopback = "127.0.0.1"
	for _, tc := range []struct {
		name    string
		trusted []string
		sent    []string // X-Forwarded-For lines
		want    string
	}{
		{"nobody is trusted", nil, []string{"192.0.2.1"}, loopback},
		{"another is trusted", []string{"10.0.0.0/8"}, []string{"192.0.2.1"}, loopback},
		{"no header", []string{loopback}, nil, loopback},
		{"one hop", []string{loopback}, []string{"192.0.2.1"}, "192.0.2.1"},
		{"the left is a stranger's word", []string{loopback}, []string{"6.6.6.6, 192.0.2.1"}, "192.0.2.1"},
		{"two proxies", []string{loopback, "10.0.0.0/8"}, []string{"6.6.6.6, 192.0.2.1, 10.1.2.3"}, "192.0.2.1"},
		{"two lines", []string{loopback, "10.0.0.0/8"}, []string{"6.6.6.6, 192.0.2.1", "10.1.2.3"}, "192.0.2.1"},
		{"only proxies", []string{loopback, "10.0.0.0/8"}, []string{"10.9.9.9,10.1.2.3"}, "10.9.9.9"},
		{"nonsense", []string{loopback}, []string{"192.0.2.1, unknown"}, loopback},
		{"nonsense behind a proxy", []string{loopback, "10.0.0.1"}, []string{"x,10.0.0.1"}, "10.0.0.1"},
		{"empty", []string{loopback}, []string{""}, loopback},
		{"with a port", []string{loopback}, []string{"192.0.2.1:4711"}, "192.0.2.1"},
		{"IPv6", []string{loopback}, []string{"2001:db8::1"}, "2001:db8::1"},
		{"IPv6 with a port", []string{loopback}, []string{"[2001:db8::1]:4711"}, "2001:db8::1"},
		{"IPv6 in brackets", []string{loopback, "2001:db8::/32"}, []string{"192.0.2.7, [2001:db8::1]"}, "192.0.2.7"},
		{"IPv4 in IPv6", []string{loopback, "10.0.0.0/8"}, []string{"192.0.2.7, ::ffff:10.1.1.1"}, "192.0.2.7"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := settings()
			c.TrustedProxies = tc.trusted
			addr, _ := listen(t, c, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, server.ClientAddr(r)) })
			cl := dial(t, addr)
			head := "GET / HTTP/1.1\r\nHost: x\r\n"
			for _, line := range tc.sent {
				head += "X-Forwarded-For: " + line + "\r\n"
			}
			cl.send(head + "\r\n")
			if _, got := cl.answer(); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
	if got := server.ClientAddr(httptest.NewRequest("GET", "/", nil)).String(); got != "192.0.2.1" {
		t.Errorf("without a server: %s", got)
	}
}

func TestNewReportsAllMistakes(t *testing.T) {
	c := settings()
	c.TrustedProxies = []string{"10.0.0.0/8", "proxy.example", "10.0.0.0/99"}
	c.TLS.Cert = "missing.pem"
	_, err := server.New(server.Options{Config: c, Handler: http.HandlerFunc(hello)})
	for _, want := range []string{"trusted_proxies[1]", "proxy.example", "trusted_proxies[2]", "cert is set and key is not"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
	c = settings()
	c.TLS.Cert, c.TLS.Key = "missing.pem", "missing.key"
	if _, err := server.New(server.Options{Config: c}); err == nil || !strings.Contains(err.Error(), `"missing.pem"`) {
		t.Errorf("error %v", err)
	}
}
