package server_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/pipetest"
	"github.com/patchbay-run/patchbay/host/internal/server"
)

// bubble serves handler in memory with a clock of its own, so that time-outs are exact.
func bubble(t *testing.T, c config.Server, handler http.HandlerFunc, test func(t *testing.T, c *client)) {
	synctest.Test(t, func(t *testing.T) {
		ln := pipetest.New()
		end := serve(t, server.Options{Config: c, Handler: handler}, ln)
		conn, err := ln.Dial()
		if err != nil {
			t.Fatal(err)
		}
		cl := newClient(t, conn)
		_ = cl.SetDeadline(time.Now().Add(24 * time.Hour))
		test(t, cl)
		cl.Close()
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// echo answers 408, 413 or 200 as a route does.
func echo(w http.ResponseWriter, r *http.Request) {
	var tooLarge *http.MaxBytesError
	switch b, err := io.ReadAll(r.Body); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		server.WriteDetail(w, http.StatusRequestTimeout, "time-out")
	case errors.As(err, &tooLarge):
		server.WriteDetail(w, http.StatusRequestEntityTooLarge, fmt.Sprint(tooLarge.Limit))
	case err != nil:
		server.WriteDetail(w, http.StatusBadRequest, err.Error())
	default:
		w.Write(b)
	}
}

func TestHalfABodyTimesOut(t *testing.T) {
	for name, sent := range map[string]string{
		"declared": post(10) + "half",
		"chunked":  "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, settings(), echo, func(t *testing.T, c *client) {
				start := time.Now()
				c.send(sent)
				resp, _ := c.answer()
				if took := time.Since(start); resp.StatusCode != 408 || took != 30*time.Second || !resp.Close {
					t.Errorf("%d after %v, want 408 after 30s and close", resp.StatusCode, took)
				}
				c.closed()
				if took := time.Since(start); took > 31*time.Second {
					t.Errorf("closed after %v", took)
				}
			})
		})
	}
}

func TestASlowBodyThatMovesIsRead(t *testing.T) {
	bubble(t, settings(), echo, func(t *testing.T, c *client) {
		c.send(post(10))
		for i := range 10 {
			time.Sleep(20 * time.Second)
			c.send(fmt.Sprint(i))
		}
		if resp, body := c.answer(); resp.StatusCode != 200 || body != "0123456789" {
			t.Errorf("%d %q", resp.StatusCode, body)
		}
	})
}

// net/http reads the rest of a body before it answers, and would wait for it for ever.
func TestHalfABodyThatNobodyReads(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"answer":       hello,
		"empty answer": func(http.ResponseWriter, *http.Request) {},
		"body closed":  func(w http.ResponseWriter, r *http.Request) { r.Body.Close(); hello(w, r) },
		"late answer":  func(w http.ResponseWriter, r *http.Request) { time.Sleep(time.Hour); hello(w, r) },
		"partly read":  func(w http.ResponseWriter, r *http.Request) { r.Body.Read(make([]byte, 2)); hello(w, r) },
		"two writes":   func(w http.ResponseWriter, r *http.Request) { hello(w, r); time.Sleep(time.Hour); hello(w, r) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, settings(), handler, func(t *testing.T, c *client) {
				start := time.Now()
				c.send(post(10) + "half")
				if resp, _ := c.answer(); resp.StatusCode != 200 || !resp.Close {
					t.Errorf("%d, close %v", resp.StatusCode, resp.Close)
				}
				c.closed()
				if took := time.Since(start); took > time.Hour+31*time.Second {
					t.Errorf("closed after %v", took)
				}
			})
		})
	}
}

func TestAnAbortDoesNotWaitForTheBody(t *testing.T) {
	bubble(t, settings(), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, func(t *testing.T, c *client) {
		start := time.Now()
		c.send(post(10) + "half")
		c.closed()
		if took := time.Since(start); took > time.Second {
			t.Errorf("closed after %v", took)
		}
	})
}

// The deadline of a body must not outlive it: net/http goes on reading to learn whether the client
// is there, and a deadline would look like its leaving.
func TestAHandlerMayThinkForLong(t *testing.T) {
	think := func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Hour)
		if err := r.Context().Err(); err != nil {
			server.WriteDetail(w, 500, err.Error())
			return
		}
		hello(w, r)
	}
	for name, tc := range map[string]struct {
		sent    string
		handler http.HandlerFunc
	}{
		"no body":        {getRequest, think},
		"body read":      {post(4) + "whole"[:4], func(w http.ResponseWriter, r *http.Request) { io.ReadAll(r.Body); think(w, r) }},
		"body in chunks": {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwhol\r\n0\r\n\r\n", func(w http.ResponseWriter, r *http.Request) { io.ReadAll(r.Body); think(w, r) }},
		"body ignored":   {post(4) + "whol", func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush(); think(w, r) }},
		"body half read": {post(4) + "whol", func(w http.ResponseWriter, r *http.Request) {
			r.Body.Read(make([]byte, 2))
			time.Sleep(time.Hour)
			hello(w, r)
			w.(http.Flusher).Flush()
			think(w, r)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, settings(), tc.handler, func(t *testing.T, c *client) {
				for range 2 { // the connection must be as good as new
					c.send(tc.sent)
					if resp, body := c.answer(); resp.StatusCode != 200 || !strings.HasSuffix(body, "hello") || resp.Close {
						t.Errorf("%d %q close %v", resp.StatusCode, body, resp.Close)
					}
				}
			})
		})
	}
}

func TestAClientThatLeavesCancelsTheRequest(t *testing.T) {
	for name, sent := range map[string]string{"no body": getRequest, "body read": post(4) + "whol"} {
		t.Run(name, func(t *testing.T) {
			left := make(chan error, 1)
			addr, _ := listen(t, settings(), func(w http.ResponseWriter, r *http.Request) {
				io.ReadAll(r.Body)
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				left <- r.Context().Err()
			})
			c := dial(t, addr)
			c.send(sent)
			if _, err := c.r.ReadByte(); err != nil {
				t.Fatal(err)
			}
			c.Close()
			select {
			case <-left:
			case <-time.After(30 * time.Second):
				t.Error("the handler never learned that the client left")
			}
		})
	}
}

func TestBodyOverTheLimit(t *testing.T) {
	c := settings()
	c.MaxBody = 1000
	read := make(chan int64, 1)
	addr, _ := listen(t, c, func(w http.ResponseWriter, r *http.Request) {
		var tooLarge *http.MaxBytesError
		n, err := io.Copy(io.Discard, r.Body)
		read <- n
		if errors.As(err, &tooLarge) {
			server.WriteDetail(w, 413, fmt.Sprint("limit ", tooLarge.Limit))
		}
	})
	big := strings.Repeat("x", 4<<20)
	for _, tc := range []struct {
		name, sent string
		status     int
		read       int64
	}{
		{"at the limit", post(1000) + big[:1000], 200, 1000},
		{"one more, declared", post(1001) + big[:1001], 413, 0},
		{"one more, chunked", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + big[:1001] + "\r\n0\r\n\r\n", 413, 1000},
		{"more than the buffers, declared", post(100<<10) + big[:100<<10], 413, 0},
		{"far more, declared", post(len(big)) + big, 413, 0},
		{"far more, chunked", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n400000\r\n" + big + "\r\n0\r\n\r\n", 413, 1000},
		{"asks first", "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100000000\r\n\r\n", 413, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := dial(t, addr)
			go io.WriteString(c, tc.sent) // the server may close before all is sent
			resp, body := c.answer()
			if resp.StatusCode != tc.status || resp.Close != (tc.status == 413) {
				t.Errorf("%d close %v, want %d", resp.StatusCode, resp.Close, tc.status)
			}
			if tc.status == 413 && !isDetail(resp, body, "limit 1000") {
				t.Errorf("body %q", body)
			}
			if n := <-read; n != tc.read {
				t.Errorf("the handler read %d bytes, want %d", n, tc.read)
			}
			if tc.status == 413 {
				c.closed()
			}
		})
	}
}

func TestContinueIsSaidWhenTheBodyIsRead(t *testing.T) {
	addr, _ := listen(t, settings(), echo)
	c := dial(t, addr)
	c.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	if line, err := c.r.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q %v", line, err)
	}
	_, _ = c.r.ReadString('\n')
	c.send("whol")
	if resp, body := c.answer(); resp.StatusCode != 200 || body != "whol" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
}

// A body that is not worth reading ends the connection, a small one does not.
func TestUnreadBodies(t *testing.T) {
	addr, _ := listen(t, settings(), hello)
	for _, size := range []int{1, 100, 200 << 10, 300 << 10} {
		c := dial(t, addr)
		go io.WriteString(c, post(size)+strings.Repeat("x", size))
		resp, body := c.answer()
		if body != "hello" || resp.Close != (size > 256<<10) {
			t.Errorf("%d unread bytes: %q, close %v", size, body, resp.Close)
		}
		if !resp.Close {
			c.send(getRequest)
			if resp, body := c.answer(); resp.StatusCode != 200 || body != "hello" {
				t.Errorf("next request after %d unread bytes: %d %q", size, resp.StatusCode, body)
			}
		}
	}
}

func TestReadingOnceTheAnswerHasBegun(t *testing.T) {
	for _, duplex := range []bool{false, true} {
		addr, _ := listen(t, settings(), func(w http.ResponseWriter, r *http.Request) {
			if duplex {
				if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
					t.Error(err)
				}
			}
			io.WriteString(w, "begun ")
			w.(http.Flusher).Flush()
			b, err := io.ReadAll(r.Body)
			fmt.Fprint(w, string(b), " ", err)
		})
		c := dial(t, addr)
		for range 2 {
			c.send(post(4) + "whol")
			want := "begun  " + http.ErrBodyReadAfterClose.Error()
			if duplex {
				want = "begun whol <nil>"
			}
			if _, body := c.answer(); body != want {
				t.Errorf("duplex %v: %q, want %q", duplex, body, want)
			}
		}
	}
}

// net/http would answer "OPTIONS *" itself, and wait for its body for ever.
func TestOptionsStarIsTheHandlers(t *testing.T) {
	bubble(t, settings(), hello, func(t *testing.T, c *client) {
		start := time.Now()
		c.send("OPTIONS * HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
		if _, body := c.answer(); body != "hello" || time.Since(start) != 30*time.Second {
			t.Errorf("%q after %v", body, time.Since(start))
		}
		c.closed()
	})
}

// net/http panics in a read of a hijacked request's body.
func TestReadingTheBodyOnceHijacked(t *testing.T) {
	failed := make(chan error, 1)
	addr, _ := listen(t, settings(), func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, err = r.Body.Read(make([]byte, 1))
		failed <- err
	})
	c := dial(t, addr)
	c.send(post(4) + "whol")
	if err := <-failed; !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("read: %v", err)
	}
	c.closed()
}
