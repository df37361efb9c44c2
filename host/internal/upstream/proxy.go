package upstream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// A proxy is named by an upstream's setting and by nothing else. The names of the servers behind it are its to resolve, so the
// address that is checked is its own. TLS runs through it, as RFC 9110, 9.3.6 has it; plain calls are made to it in the
// absolute form of RFC 9112, 3.2.2.

const maxTunnelHead = 16 << 10 // bytes

// proxyAddr is host:port of a proxy's URL, which the configuration has checked; "" of none.
func proxyAddr(raw string) string {
	u, err := url.Parse(raw)
	if raw == "" || err != nil {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// absolute is a URL whose request line names the server too.
func absolute(u *url.URL) *url.URL {
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Opaque: "//" + u.Host + path, RawQuery: u.RawQuery, ForceQuery: u.ForceQuery}
}

// tunnel asks the proxy at the other end of c for a way to addr. It takes no byte that belongs to the server.
func tunnel(ctx context.Context, c net.Conn, proxy, addr string) error {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	head, err := ask(c, fmt.Sprintf("CONNECT %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: patchbay\r\n\r\n", addr, addr))
	if !stop() && err == nil {
		err = ctx.Err() // its deadline lies on the connection
	}
	if err != nil {
		return fmt.Errorf("proxy %s: ask for a tunnel to %s: %w", proxy, addr, err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return fmt.Errorf("proxy %s: its answer is no HTTP", proxy)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("proxy %s: it answered %d to a tunnel to %s", proxy, resp.StatusCode, addr)
	}
	return nil
}

// ask sends a request and reads the head of its answer, byte by byte: what follows is not ours.
func ask(c net.Conn, request string) ([]byte, error) {
	if _, err := c.Write([]byte(request)); err != nil {
		return nil, err
	}
	head := make([]byte, 0, 256)
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		if len(head) == maxTunnelHead {
			return nil, errors.New("the head of its answer has no end")
		}
		var b [1]byte
		if _, err := c.Read(b[:]); err != nil {
			return nil, err
		}
		head = append(head, b[0])
	}
	return head, nil
}
