package main

import (
	"bufio"
	"strings"
	"testing"
)

func TestReadMessage(t *testing.T) {
	for name, c := range map[string]struct {
		text           string
		status, length int
		fails          bool
	}{
		"no body":           {text: "HTTP/1.1 200 OK\r\nDate: x\r\n\r\n", status: 200},
		"a body":            {text: "HTTP/1.1 502 Bad\r\ncontent-length: 3\r\n\r\nabc", status: 502, length: 3},
		"chunks":            {text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n", status: 200, length: 19},
		"a request":         {text: "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", length: 2},
		"cut in its head":   {text: "HTTP/1.1 200 OK\r\nDate", fails: true},
		"cut in its body":   {text: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", fails: true},
		"cut in a chunk":    {text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", fails: true},
		"a wrong status":    {text: "HTTP/1.1 2x0 OK\r\n\r\n", fails: true},
		"a negative length": {text: "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", fails: true},
		"a wrong chunk":     {text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", fails: true},
	} {
		r := bufio.NewReader(strings.NewReader(c.text + "next"))
		if strings.HasPrefix(name, "cut") {
			r = bufio.NewReader(strings.NewReader(c.text))
		}
		status, length, err := readMessage(r)
		if (err != nil) != c.fails || err == nil && (status != c.status || length != c.length) {
			t.Errorf("%s: %d, %d, %v", name, status, length, err)
		}
		if rest, _ := r.Peek(4); err == nil && string(rest) != "next" {
			t.Errorf("%s: %q is left", name, rest)
		}
	}
}
