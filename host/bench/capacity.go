package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"
)

// use is a kind of users, with a hundredth of the think time that they have by default.
type use struct {
	name  string
	think time.Duration
}

func uses() []use {
	return []use{{"light", 600 * time.Millisecond}, {"medium", 200 * time.Millisecond}, {"heavy", 50 * time.Millisecond}}
}

// bottleneck is a server with one thing that is scarce.
type bottleneck struct {
	name, title string
	workers     int
	conns       int    // to the upstream
	env         string // of the server
	ask         httpLoad
}

func bottlenecks() []bottleneck {
	chat := httpLoad{method: "POST", path: "/chat", body: chatRequest, length: len(chatAnswer)}
	work := httpLoad{method: "GET", path: "/work", length: len("12345678\n")}
	return []bottleneck{
		{name: "upstream", title: "16 connections to an upstream that takes 100 ms", workers: 1, conns: 16, ask: chat},
		{name: "workers", title: "one worker, which computes for each request", workers: 1, conns: 16, ask: work},
		{name: "cpu", title: "one processor (GOMAXPROCS=1) that three workers compute on", workers: 3, conns: 16, env: "GOMAXPROCS=1", ask: work},
	}
}

// The upstream is slow enough for the noise of a machine to be a small part of it.
const capacityDelay = 100 * time.Millisecond

func (b bottleneck) of(u use, what string) string {
	return "Capacity/" + b.name + "/" + u.name + " " + what
}

// carries finds out how many users a server carries, and what it says itself. Users are closed loops that think.
//
// A server carries N* = X(R + Z) users, the knee of the asymptotic bounds: X is the most that it answers in a second, with more users than
// it can bear, R the time of an answer when there is nobody else, and Z the think time.
type carries struct {
	lab
	upstream *process
	started  int
}

func (c *carries) open(ctx context.Context) (err error) {
	c.upstream, err = c.build(ctx, capacityDelay)
	return err
}

// round starts each server anew, so that what it says is of this round.
func (c *carries) round(ctx context.Context, n int, into samples) error {
	var failed error
	for i := range bottlenecks() {
		b := bottlenecks()[(i+n)%len(bottlenecks())]
		if err := c.measure(ctx, b, into); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", b.name, err))
		}
	}
	return failed
}

func (c *carries) measure(ctx context.Context, b bottleneck, into samples) error {
	binary, args, err := c.serve("capacity-"+b.name, c.config(b))
	if err != nil {
		return err
	}
	c.started++
	server, err := startProcess(ctx, fmt.Sprintf("%s-%d", b.name, c.started), c.r.temp, binary, args, b.env)
	if err != nil {
		return err
	}
	defer server.stop()
	if err := server.ready(true); err != nil {
		return err
	}
	sent := int64(0)
	loaded := func(users int, think time.Duration) (loadResult, error) {
		r, err := c.load(ctx, c.order(b, server, users, think))
		sent += r.All
		return r, err
	}
	// A few users show it what its work is.
	const pause = 50 * time.Millisecond
	alone, err := loaded(1, pause)
	if err != nil {
		return err
	}
	if _, err := loaded(3, pause); err != nil {
		return err
	}
	said, err := settled(server, sent)
	if err != nil {
		return err
	}
	most, err := loaded(64, 0)
	if err != nil {
		return err
	}
	rate := float64(most.Answers) / most.Took.Seconds()
	after, err := settled(server, sent)
	if err != nil {
		return err
	}
	for _, u := range uses() {
		real := rate * (alone.Mean + u.think).Seconds()
		into.add(b.of(u, "says"), float64(said.users(u)))
		into.add(b.of(u, "carries"), real)
		into.add(b.of(u, "error-%"), 100*abs(float64(said.users(u))/real-1))
		into.add(b.of(u, "full-error-%"), 100*abs(float64(after.users(u))/real-1))
		with, err := loaded(said.users(u), u.think)
		if err != nil {
			return err
		}
		into.add(b.of(u, "of-rate"), float64(with.Answers)/with.Took.Seconds()/rate)
		into.add(b.of(u, "slower"), with.Mean.Seconds()/alone.Mean.Seconds())
	}
	end, err := settled(server, sent)
	if err != nil {
		return err
	}
	into.add("Capacity/"+b.name+" miscounted", abs(float64(end.counted()-sent)))
	return nil
}

func (c *carries) order(b bottleneck, server *process, users int, think time.Duration) loadOrder {
	return loadOrder{
		Address: server.address, PID: server.cmd.Process.Pid, Request: b.ask.request(contender{}), Length: b.ask.length, Conns: users,
		Think: think, Warm: c.r.duration(500*time.Millisecond + think), For: c.r.duration(3 * time.Second),
	}
}

func (c *carries) config(b bottleneck) string {
	return fmt.Sprintf(`
cache_dir: %q
capacity: {light: %v, medium: %v, heavy: %v}
upstreams:
  mock: {endpoints: ["http://%s"], private: true, max_conns: %d, max_idle_conns: %[6]d}
plugins:
  - name: bench
    source: %[7]q
    routes: ["POST /chat", "GET /work"]
    workers: %[8]d
    limits: {in_flight: 2048, cpu: 10s}
    grant: {fetch: [{upstream: mock, methods: [POST], paths: [/v1/chat/completions]}]}
`, c.cache(), uses()[0].think, uses()[1].think, uses()[2].think, c.upstream.address, b.conns, c.plugin("bench"), b.workers)
}

// report is what of /api/metrics is compared.
type report struct {
	Capacity `json:"estimated_capacity"`
	Routes   []struct {
		Route  string `json:"route"`
		Status struct {
			Success int64 `json:"2xx"`
		} `json:"status"`
	} `json:"routes"`
}

// Capacity is its estimate.
type Capacity struct {
	Users map[string]int `json:"users"`
	Basis struct {
		Samples int64 `json:"samples"`
	} `json:"basis"`
}

func (r report) users(u use) int { return r.Users[u.name+"_usage"] }

// counted is the answers of the route that was asked.
func (r report) counted() (n int64) {
	for _, route := range r.Routes {
		if route.Route == "POST /chat" || route.Route == "GET /work" {
			n += route.Status.Success
		}
	}
	return n
}

// settled waits until the server has estimated with all that was sent: it does so once a second.
func settled(server *process, sent int64) (r report, err error) {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		resp, err := http.Get("http://" + server.address + "/api/metrics")
		if err != nil {
			return r, err
		}
		r = report{}
		err = json.NewDecoder(resp.Body).Decode(&r)
		resp.Body.Close()
		if err != nil {
			return r, fmt.Errorf("read /api/metrics: %w", err)
		}
		if r.Basis.Samples >= sent {
			return r, nil
		}
		if time.Now().After(deadline) {
			fmt.Fprintf(os.Stderr, "the server has counted %d of %d requests\n", r.Basis.Samples, sent)
			return r, nil
		}
	}
}

func abs(v float64) float64 { return max(v, -v) }

func capacitySection() section {
	s := section{name: "capacity", server: func(r *runner) servers { return &carries{lab: lab{r: r}} }}
	for _, b := range bottlenecks() {
		t := table{
			title: "Users that can be served: " + b.title,
			note: "Users ask, think and ask again. What is carried is the most that is answered in a second, times an answer's time alone and the think time. The last two are with as many users as " +
				"the server says: the part of that most, and how much longer an answer takes than alone.",
			head: []string{"", "the server says", "it carries", "off by", "off by, said when full", "of the most", "slower"},
		}
		for _, u := range uses() {
			t.lines = append(t.lines, line{fmt.Sprintf("%s, thinks %v", u.name, u.think), []cell{
				{name: b.of(u, "says")}, {name: b.of(u, "carries")}, {name: b.of(u, "error-%"), unit: " %"}, {name: b.of(u, "full-error-%"), unit: " %"},
				{name: b.of(u, "of-rate")}, {name: b.of(u, "slower"), unit: "×"},
			}})
			s.musts = append(s.musts, must{what: fmt.Sprintf("the estimate of %s users, bound by %s", u.name, b.name), cell: cell{name: b.of(u, "error-%"), unit: " %"}, most: 15})
		}
		s.tables = append(s.tables, t)
		s.musts = append(s.musts, must{what: "requests that were miscounted, bound by " + b.name, cell: cell{name: "Capacity/" + b.name + " miscounted"}})
	}
	return s
}
