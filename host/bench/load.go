package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
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
	Length  int    // of the body of each answer, whose status is 200
	Conns   int    // connections, each a closed loop
	PID     int    // of the server, whose CPU time is taken
	Warm    time.Duration
	For     time.Duration
}

// loadResult is what it says of the time after it was warm.
type loadResult struct {
	Answers int
	Took    time.Duration
	CPU     time.Duration // of the server
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
	}
	if len(took) == 0 {
		return r, fmt.Errorf("nothing was answered in %v", o.For)
	}
	slices.Sort(took)
	r.Answers, r.CPU = len(took), after-before
	r.P50, r.P99 = took[len(took)/2], took[len(took)*99/100]
	return r, nil
}

// client is one connection.
type client struct {
	order  *loadOrder
	conn   net.Conn
	reader *bufio.Reader
	took   []time.Duration // of the answers that came while they were counted
}

func (c *client) loop(counted, ended *atomic.Bool) error {
	request := []byte(c.order.Request)
	for !ended.Load() {
		began := time.Now()
		if _, err := c.conn.Write(request); err != nil {
			return err
		}
		status, length, err := readMessage(c.reader)
		if err != nil {
			return err
		}
		if status != 200 || length != c.order.Length {
			return fmt.Errorf("an answer has status %d and %d bytes, want 200 and %d", status, length, c.order.Length)
		}
		if counted.Load() {
			c.took = append(c.took, time.Since(began))
		}
	}
	return nil
}
