package server_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/server"
)

// TestRefusalsAreToldAndHaveAnID: what no handler sees is told of all the same, with and without TLS, each once.
func TestRefusalsAreToldAndHaveAnID(t *testing.T) {
	cert, pool := certificate(t)
	for _, c := range []struct {
		name, sent string
		tls        config.TLS
		inside     bool // the client speaks TLS
		status     int
	}{
		{name: "words", sent: "hello there\r\n\r\n", status: 400},
		{name: "no host", sent: "GET / HTTP/1.1\r\n\r\n", status: 400},
		{name: "a large header", sent: "GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 300<<10) + "\r\n\r\n", status: 431},
		{name: "unknown coding", sent: "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: brotli\r\n\r\n", status: 501},
		{name: "HTTP/3", sent: "GET / HTTP/3.0\r\nHost: x\r\n\r\n", status: 505},
		{name: "plain HTTP on a TLS port", sent: getRequest, tls: cert, status: 400},
		{name: "words within TLS", sent: "hello there\r\n\r\n", tls: cert, inside: true, status: 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var told atomic.Int64
			s := settings()
			s.TLS = c.tls
			stop := serve(t, server.Options{Config: s, Handler: http.HandlerFunc(hello), Refused: func(status int) string {
				return fmt.Sprintf("refusal-%d-%d", status, told.Add(1))
			}}, ln)
			defer stop()
			cl := dial(t, ln.Addr().String())
			if c.inside {
				conn, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "localhost"})
				if err != nil {
					t.Fatal(err)
				}
				cl = newClient(t, conn)
			}
			go io.WriteString(cl, c.sent)
			resp, body := cl.answer()
			if want := fmt.Sprintf("refusal-%d-1", c.status); resp.StatusCode != c.status || resp.Header.Get("X-Request-Id") != want {
				t.Errorf("got %d %v %q, want %d with the id %s", resp.StatusCode, resp.Header, body, c.status, want)
			}
			cl.closed()
			if n := told.Load(); n != 1 {
				t.Errorf("it was told %d times", n)
			}
		})
	}
}
