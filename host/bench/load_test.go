package main

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// TestLoad: as many connections as ordered, each used again and again, and every answer is looked at.
func TestLoad(t *testing.T) {
	var conns, served, status atomic.Int64
	status.Store(http.StatusOK)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		served.Add(1)
		w.WriteHeader(int(status.Load()))
		w.Write([]byte("hello"))
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	order := loadOrder{
		Address: server.Listener.Addr().String(), Request: "GET / HTTP/1.1\r\nHost: x\r\n\r\n", Length: 5, Conns: 8,
		PID: os.Getpid(), Warm: 500 * time.Millisecond, For: time.Second,
	}
	var said strings.Builder
	r, err := atWork(order, func(o loadOrder) (r loadResult, err error) {
		conns.Store(0)
		served.Store(0)
		said.Reset()
		text, err := json.Marshal(o)
		if err == nil {
			err = load(strings.NewReader(string(text)), &said)
		}
		if err == nil {
			err = json.Unmarshal([]byte(said.String()), &r)
		}
		if err == nil && int64(r.Answers) == served.Load() {
			err = errors.New("nothing was answered before it was counted")
		}
		return r, err
	})
	if err != nil || r.Answers == 0 || int64(r.Answers) >= served.Load() || r.Took < order.For || r.P50 <= 0 || r.P99 < r.P50 || conns.Load() != 8 {
		t.Errorf("%+v of %d answers over %d connections, %v", r, served.Load(), conns.Load(), err)
	}
	run := func(o loadOrder) (loadResult, error) { return o.run() }
	paced := order
	paced.Every = 50 * time.Millisecond
	began := time.Now()
	if r, err := atWork(paced, run); err != nil || r.All == 0 || r.All > 8*int64(time.Since(began)/paced.Every+3) {
		t.Errorf("8 connections, each every %v: %+v, %v", paced.Every, r, err)
	}
	users := order
	users.Think = 50 * time.Millisecond
	if r, err := atWork(users, run); err != nil || r.Answers == 0 || r.Mean <= 0 || r.All < int64(r.Answers) || r.Answers > 8*200*int(1+r.Took/time.Second) {
		t.Errorf("8 users that think for %v: %+v, %v", users.Think, r, err)
	}
	order.Length = 4
	if _, err := order.run(); err == nil || !strings.Contains(err.Error(), "200 and 5 bytes") {
		t.Errorf("an answer of another length: %v", err)
	}
	order.Length = 5
	status.Store(http.StatusBadGateway)
	if _, err := order.run(); err == nil || !strings.Contains(err.Error(), "status 502") {
		t.Errorf("an answer that failed: %v", err)
	}
}

// atWork runs an order for longer when too little was answered: a machine may hesitate for all of a short time.
func atWork(o loadOrder, run func(loadOrder) (loadResult, error)) (r loadResult, err error) {
	for ; o.For <= time.Minute; o.For *= 7 {
		if r, err = run(o); err == nil || !strings.Contains(err.Error(), "nothing was answered") {
			break
		}
	}
	return r, err
}
