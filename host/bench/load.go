package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// loadOrder is what the process that makes load is told, as JSON.
type loadOrder struct {
	Address string // host:port
	Request string // sent again and again
	Length  int    // of the body of each answer, whose status is 200; below 0 it may be any
	Conns   int    // connections, each a closed loop
	PID     int    // of the server, whose CPU time is taken
	// Think is how long a connection's user thinks between an answer and the next question, on average; exponentially distributed.
	Think time.Duration
	// Every is the time between two questions of a connection, whatever answers take; times are of the moment that a question was due, so
	// that a server that is late does not hide it. It excludes Think.
	Every time.Duration
	Warm  time.Duration
	For   time.Duration
}

// loadResult is what it says of the time after it was warm.
type loadResult struct {
	Answers int
	All     int64 // answers, those before and after that time included
	Took    time.Duration
	CPU     time.Duration // of the server
	Mean    time.Duration
	P50     time.Duration
	P99     time.Duration
}

// load makes load as it is ordered by in.
func load(in io.Reader, out io.Writer) error {
	var o loadOrder
	if err := json.NewDecoder(in).Decode(&o); err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	r, err := o.run()
	if err != nil {
		return fmt.Errorf("make load: %w", err)
	}
	return json.NewEncoder(out).Encode(r)
}

func (o *loadOrder) run() (r loadResult, err error) {
	clients := make([]*client, o.Conns)
	for i := range clients {
		conn, err := net.Dial("tcp", o.Address)
		if err != nil {
			return r, err
		}
		defer conn.Close()
		clients[i] = &client{order: o, conn: conn, reader: bufio.NewReader(conn), took: make([]time.Duration, 0, 1<<10)}
	}
	var counted, ended atomic.Bool
	failed := make(chan error, o.Conns)
	var all sync.WaitGroup
	for _, c := range clients {
		all.Go(func() {
			if err := c.loop(&counted, &ended); err != nil {
				failed <- err
			}
		})
	}
	wait := func(d time.Duration) error {
		select {
		case err := <-failed:
			return err
		case <-time.After(d):
			return nil
		}
	}
	defer func() { // what failed does not leave the others behind
		ended.Store(true)
		for _, c := range clients {
			c.conn.Close()
		}
		all.Wait()
	}()
	if err := wait(o.Warm); err != nil {
		return r, err
	}
	before, err := cpuOf(o.PID)
	if err != nil {
		return r, err
	}
	began := time.Now()
	counted.Store(true)
	if err := wait(o.For); err != nil {
		return r, err
	}
	counted.Store(false)
	r.Took = time.Since(began)
	after, err := cpuOf(o.PID)
	if err != nil {
		return r, err
	}
	ended.Store(true)
	all.Wait()
	select {
	case err := <-failed:
		return r, err
	default:
	}
	var took []time.Duration
	for _, c := range clients {
		took = append(took, c.took...)
		r.All += c.answered
	}
	if len(took) == 0 {
		return r, fmt.Errorf("nothing was answered in %v", o.For)
	}
	slices.Sort(took)
	r.Answers, r.CPU = len(took), after-before
	for _, t := range took {
		r.Mean += t / time.Duration(len(took))
	}
	r.P50, r.P99 = took[len(took)/2], took[len(took)*99/100]
	return r, nil
}

// client is one connection.
type client struct {
	order  *loadOrder
	conn   net.Conn
	reader *bufio.Reader
	took   []time.Duration // of the answers that came while they were counted

	answered int64
}

// first spreads the first questions of connections evenly, so that they do not all come at once.
func (c *client) first() time.Duration {
	return time.Duration(rand.Float64() * float64(max(c.order.Think, c.order.Every)))
}

// due waits until the next question is, and gives the moment that it was.
func (c *client) due(last time.Time, ended *atomic.Bool) time.Time {
	next := time.Now()
	switch {
	case c.order.Every > 0:
		next = last.Add(c.order.Every)
	case c.order.Think > 0:
		next = next.Add(time.Duration(rand.ExpFloat64() * float64(c.order.Think)))
	default:
		return next
	}
	for wait := time.Until(next); wait > 0 && !ended.Load(); wait = time.Until(next) {
		time.Sleep(min(wait, 100*time.Millisecond))
	}
	if c.order.Every == 0 {
		return time.Now()
	}
	return next
}

func (c *client) loop(counted, ended *atomic.Bool) error {
	request := []byte(c.order.Request)
	time.Sleep(c.first())
	for began := time.Now(); !ended.Load(); began = c.due(began, ended) {
		if _, err := c.conn.Write(request); err != nil {
			return err
		}
		status, length, err := readMessage(c.reader)
		if err != nil {
			return err
		}
		if status != 200 || c.order.Length >= 0 && length != c.order.Length {
			return fmt.Errorf("an answer has status %d and %d bytes, want 200 and %d", status, length, c.order.Length)
		}
		c.answered++
		if counted.Load() {
			c.took = append(c.took, time.Since(began))
		}
	}
	return nil
}
