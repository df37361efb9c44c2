package server_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// A client that never reads is cut after the write time-out, however the answer is written.
func TestAClientThatNeverReadsIsCut(t *testing.T) {
	big := strings.Repeat("x", 1<<20)
	for name, write := range map[string]func(w http.ResponseWriter) error{
		"one large write": func(w http.ResponseWriter) error { _, err := io.WriteString(w, big); return err },
		"flushed events": func(w http.ResponseWriter) (err error) {
			for err == nil {
				if _, err = io.WriteString(w, "data: x\n\n"); err == nil {
					err = http.NewResponseController(w).Flush()
				}
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			var (
				mu   sync.Mutex
				err  error
				over time.Time
			)
			bubble(t, settings(), func(w http.ResponseWriter, r *http.Request) {
				failed := write(w)
				if r.Context().Err() == nil {
					t.Error("the request goes on")
				}
				mu.Lock()
				defer mu.Unlock()
				err, over = failed, time.Now()
			}, func(t *testing.T, c *client) {
				start := time.Now()
				c.send(getRequest)
				time.Sleep(time.Minute)
				mu.Lock()
				defer mu.Unlock()
				if !errors.Is(err, os.ErrDeadlineExceeded) || over.Sub(start) < 30*time.Second || over.Sub(start) > 32*time.Second {
					t.Errorf("the write ended with %v after %v, want the deadline after 30s to 32s", err, over.Sub(start))
				}
				c.closed()
			})
		})
	}
}

// The handler is long gone when its last bytes go out.
func TestTheLastFlushHasADeadlineOfItsOwn(t *testing.T) {
	bubble(t, settings(), func(w http.ResponseWriter, r *http.Request) {
		hello(w, r)
		time.Sleep(time.Hour) // the deadline of that write is over
	}, func(t *testing.T, c *client) {
		c.send(getRequest)
		if resp, body := c.answer(); resp.StatusCode != 200 || body != "hello" {
			t.Errorf("%d %q", resp.StatusCode, body)
		}
		c.send(getRequest) // and is not read
		start := time.Now()
		time.Sleep(time.Hour + time.Minute)
		if n, err := c.Conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("%d bytes %v after the end", n, time.Since(start))
		}
	})
}

func TestASlowStreamThatMovesLivesOn(t *testing.T) {
	big := strings.Repeat("x", 1<<20)
	bubble(t, settings(), func(w http.ResponseWriter, _ *http.Request) {
		if n, err := io.WriteString(w, big); n != len(big) || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
	}, func(t *testing.T, c *client) {
		start := time.Now()
		c.send(getRequest)
		n, buf := 0, make([]byte, 8<<10)
		for n < len(big) {
			time.Sleep(5 * time.Second)
			m, err := c.Conn.Read(buf)
			if err != nil {
				t.Fatalf("after %d bytes and %v: %v", n, time.Since(start), err)
			}
			n += m
		}
		if took := time.Since(start); took < 5*time.Minute {
			t.Errorf("took only %v: this tests nothing", took)
		}
	})
}

func TestASilentStreamLivesOn(t *testing.T) {
	bubble(t, settings(), func(w http.ResponseWriter, r *http.Request) {
		for range 3 {
			io.WriteString(w, "data: x\n\n")
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			time.Sleep(10 * time.Minute)
		}
	}, func(t *testing.T, c *client) {
		for range 2 {
			c.send(getRequest)
			if resp, body := c.answer(); resp.StatusCode != 200 || body != strings.Repeat("data: x\n\n", 3) {
				t.Errorf("%d %q", resp.StatusCode, body)
			}
		}
	})
}

func TestSilentClientsAreClosed(t *testing.T) {
	for name, tc := range map[string]struct {
		sent string
		took time.Duration
	}{
		"no byte":   {"", 10 * time.Second},
		"half head": {"GET / HTTP/1.1\r\nHos", 10 * time.Second},
		"idle":      {getRequest, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, settings(), hello, func(t *testing.T, c *client) {
				start := time.Now()
				c.send(tc.sent)
				c.closed()
				if took := time.Since(start); took < tc.took || took > tc.took+time.Second {
					t.Errorf("closed after %v, want %v", took, tc.took)
				}
			})
		})
	}
}

// The same over a real socket, whose buffers take a while to fill.
func TestAClientThatNeverReadsIsCutOverTCP(t *testing.T) {
	c := settings()
	c.WriteTimeout = 200 * time.Millisecond
	failed := make(chan error, 1)
	addr, _ := listen(t, c, func(w http.ResponseWriter, _ *http.Request) {
		var err error
		for block := strings.Repeat("x", 1<<20); err == nil; {
			_, err = io.WriteString(w, block)
		}
		failed <- err
	})
	cl := dial(t, addr)
	cl.send(getRequest)
	select {
	case err := <-failed:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("the handler still writes")
	}
	cl.closed()
}

// net/http takes the deadlines of an answer off at its end: the next one needs its own, however soon it comes.
func TestEveryAnswerHasADeadline(t *testing.T) {
	big := strings.Repeat("x", 1<<20)
	failed := make(chan error, 1)
	bubble(t, settings(), func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			hello(w, r)
			return
		}
		_, err := io.WriteString(w, big)
		failed <- err
	}, func(t *testing.T, c *client) {
		c.send(getRequest)
		c.answer()
		c.send(post(0)) // and is not read
		time.Sleep(time.Minute)
		select {
		case err := <-failed:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
			}
		default:
			t.Error("the handler still writes")
		}
		c.closed()
	})
}
