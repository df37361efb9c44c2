package main

import (
	"bytes"
	"context"
	"net"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// clients are those of one server.
type clients struct {
	all  []*reader
	said atomic.Pointer[string] // goroutines, as the topic system tells it
}

// reader is one of them.
type reader struct {
	conn *websocket.Conn
	mute atomic.Bool

	mu     sync.Mutex
	frames int
	last   time.Time // of a frame of http
	gaps   []time.Duration
}

// connect opens n connections, some at a time.
func connect(ctx context.Context, address string, n int) (*clients, error) {
	c := &clients{all: make([]*reader, n)}
	dialer := websocket.Dialer{ReadBufferSize: 512, WriteBufferPool: &sync.Pool{}, NetDialContext: (&net.Dialer{}).DialContext}
	var group sync.WaitGroup
	var failed atomic.Pointer[error]
	const atOnce = 20
	for part := range atOnce {
		group.Go(func() {
			for i := part; i < n && failed.Load() == nil; i += atOnce {
				conn, _, err := dialer.DialContext(ctx, "ws://"+address+"/api/live", nil)
				if err != nil {
					failed.Store(&err)
					return
				}
				c.all[i] = &reader{conn: conn}
				go c.all[i].read(c)
			}
		})
	}
	group.Wait()
	if err := failed.Load(); err != nil {
		c.close()
		return nil, *err
	}
	return c, nil
}

func (r *reader) read(c *clients) {
	goroutines := regexp.MustCompile(`"goroutines":(\d+)`)
	for n := 0; ; n++ {
		for r.mute.Load() {
			time.Sleep(time.Hour) // until the program ends
		}
		_, frame, err := r.conn.ReadMessage()
		if err != nil {
			return
		}
		now := time.Now()
		if r == c.all[0] {
			if m := goroutines.FindSubmatch(frame); m != nil {
				text := string(m[1])
				c.said.Store(&text)
			}
		}
		r.mu.Lock()
		r.frames++
		if bytes.Contains(frame[:min(len(frame), 64)], []byte(`"topic":"http"`)) {
			if !r.last.IsZero() {
				r.gaps = append(r.gaps, now.Sub(r.last))
			}
			r.last = now
		}
		r.mu.Unlock()
	}
}

// silence has the last n stop to read.
func (c *clients) silence(n int) {
	for _, r := range c.all[max(len(c.all)-n, 0):] {
		r.mute.Store(true)
	}
}

func (c *clients) reset() {
	for _, r := range c.all {
		r.mu.Lock()
		r.frames, r.gaps = 0, nil
		r.mu.Unlock()
	}
}

// gaps are the times between two frames of http, of all who read.
func (c *clients) gaps() (frames int, p99, longest time.Duration) {
	var all []time.Duration
	for _, r := range c.all {
		r.mu.Lock()
		if frames += r.frames; !r.mute.Load() {
			all = append(all, r.gaps...)
		}
		r.mu.Unlock()
	}
	if len(all) == 0 {
		return frames, 0, 0
	}
	slices.Sort(all)
	return frames, all[len(all)*99/100], all[len(all)-1]
}

func (c *clients) told() string {
	if s := c.said.Load(); s != nil {
		return *s
	}
	return "?"
}

func (c *clients) close() {
	for _, r := range c.all {
		if r != nil {
			_ = r.conn.Close()
		}
	}
}
