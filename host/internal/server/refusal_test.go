package server_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// What is no request, or too large a one, is answered by net/http itself; the shape must be ours.
func TestWhatIsNoRequestIsRefusedAsJSON(t *testing.T) {
	addr, _ := listen(t, settings(), hello)
	for _, tc := range []struct {
		name, sent string
		status     int
		detail     string
	}{
		{"words", "hello there\r\n\r\n", 400, "Bad Request"},
		{"a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "Bad Request"},
		{"no host", "GET / HTTP/1.1\r\n\r\n", 400, "Bad Request: missing required Host header"},
		{"a bad host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "Bad Request: malformed Host header"},
		{"a bad header", "GET / HTTP/1.1\r\nHost: x\r\nA B: c\r\n\r\n", 400, "Bad Request: invalid header name"},
		{"a bad length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400, "Bad Request"},
		{"unknown coding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: brotli\r\n\r\n", 501, "Unsupported transfer encoding"},
		{"HTTP/3", "GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505, "HTTP Version Not Supported: unsupported protocol version"},
		{"HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/2 is served over TLS only"},
		{"a large header", "GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 32<<10) + "\r\n\r\n", 431, "Request Header Fields Too Large"},
		{"many headers", "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: b\r\n", 8<<10) + "\r\n", 431, "Request Header Fields Too Large"},
		{"a header without end", "GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 300<<10), 431, "Request Header Fields Too Large"},
		{"a long path", "GET /" + strings.Repeat("a", 32<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", 431, "Request Header Fields Too Large"},
		{"an expectation with half a body", "POST / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\nContent-Length: 9\r\n\r\nhalf", 417, "Expectation Failed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := dial(t, addr)
			go io.WriteString(c, tc.sent) // the server may close before all is sent
			resp, body := c.answer()
			if resp.StatusCode != tc.status || !isDetail(resp, body, tc.detail) || !resp.Close {
				t.Errorf("got %d %v %q, want %d %q and close", resp.StatusCode, resp.Header, body, tc.status, tc.detail)
			}
			c.closed()
		})
	}
}

func TestHeadersUpToTheLimitPass(t *testing.T) {
	addr, _ := listen(t, settings(), hello)
	c := dial(t, addr)
	c.send("GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 16<<10) + "\r\n\r\n")
	if resp, body := c.answer(); resp.StatusCode != 200 || body != "hello" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}

func TestGarbageAfterGoodRequests(t *testing.T) {
	addr, _ := listen(t, settings(), hello)
	c := dial(t, addr)
	c.send(getRequest + getRequest + "garbage\r\n\r\n") // in one packet: nothing is read in between
	for range 2 {
		if resp, body := c.answer(); resp.StatusCode != 200 || body != "hello" {
			t.Errorf("good request: %d %q", resp.StatusCode, body)
		}
	}
	if resp, body := c.answer(); resp.StatusCode != 400 || !isDetail(resp, body, "Bad Request") {
		t.Errorf("garbage: %d %q", resp.StatusCode, body)
	}
	c.closed()
}

// A body may hold the very bytes that net/http writes, at the start of a packet of their own.
func TestAnswersThatLookLikeARefusalPassUntouched(t *testing.T) {
	const look = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request"
	addr, _ := listen(t, settings(), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(look)))
		w.(http.Flusher).Flush()
		io.WriteString(w, look)
		w.(http.Flusher).Flush()
	})
	c := dial(t, addr)
	for range 2 {
		c.send(getRequest)
		if _, body := c.answer(); body != look {
			t.Errorf("got %q", body)
		}
	}
}
