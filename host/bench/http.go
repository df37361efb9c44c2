package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const poolSize = 1024 // connections to the upstream, of each server

const chatRequest = `{"model":"m","messages":[{"role":"user","content":"What is the answer to everything?"}],"stream":false}`

// contender is a server that is compared: plain Go, or ours with so many workers.
type contender struct {
	name, title string
	server      string // the process that it is
	load, path  string // it has this load alone, at another path; "" is all
}

func contenders() []contender {
	return []contender{
		{name: "plain", title: "plain Go net/http", server: "plain"},
		{name: "1", title: "1 worker", server: "1"},
		{name: "2", title: "2 workers", server: "2"},
		{name: "3", title: "3 workers", server: "3"},
		{name: "shipped", title: "1 worker, the shipped plugin inference", server: "1", load: "chat", path: "/api/inference/infer"},
	}
}

// httpLoad is what is asked.
type httpLoad struct {
	name, title, method, path, body string
	length                          int // of the answer's body
	least                           float64
}

func httpLoads() []httpLoad {
	return []httpLoad{
		{"noop", "a no-op", "GET", "/noop", "", 0, 0.8},
		{"chat", "a proxied chat of 20 ms", "POST", "/chat", chatRequest, len(chatAnswer), 0.95},
	}
}

// request is what goes over the wire.
func (l httpLoad) request(c contender) string {
	path := l.path
	if c.path != "" {
		path = c.path
	}
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: bench\r\n", l.method, path)
	if l.body != "" {
		text += fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", len(l.body))
	}
	return text + "\r\n" + l.body
}

// of is who has this load.
func (l httpLoad) of() (all []contender) {
	for _, c := range contenders() {
		if c.load == "" || c.load == l.name {
			all = append(all, c)
		}
	}
	return all
}

func httpConns() []int { return []int{64, 256, 1000} }

func httpName(load string, conns int, contender string) string {
	return fmt.Sprintf("HTTP/%s/%d/%s", load, conns, contender)
}

// overHTTP measures whole servers, each a process of its own, in turns.
type overHTTP struct {
	r         *runner
	upstream  *process
	servers   map[string]*process
	processes []*process
}

func (h *overHTTP) open(ctx context.Context) error {
	patchbay, err := h.build(ctx)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, c := range contenders() { // one after the other: the first compiles the guests for all
		if h.servers[c.server] != nil {
			continue
		}
		binary, args := self, func(address string) []string { return []string{"plain", address, h.upstream.address} }
		if c.server != "plain" {
			if binary, args, err = h.serve(patchbay, "workers-"+c.server, h.config(c.server)); err != nil {
				return err
			}
		}
		if h.servers[c.server], err = h.start(ctx, c.server, binary, true, args); err != nil {
			return err
		}
	}
	return nil
}

// build makes the server and the plugins, and starts the upstream.
func (h *overHTTP) build(ctx context.Context) (patchbay string, err error) {
	patchbay = filepath.Join(h.r.temp, "patchbay")
	if err := h.r.command(ctx, h.r.root, "go", "build", "-o", patchbay, "./host/cmd/patchbay"); err != nil {
		return "", err
	}
	for name, dir := range map[string]string{"bench": "host/bench/testdata/guest", "inference": "plugins/inference"} {
		if err := h.r.command(ctx, h.r.root, patchbay, "plugin", "build", dir, "-o", h.plugin(name)); err != nil {
			return "", err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	h.servers = map[string]*process{}
	h.upstream, err = h.start(ctx, "mock", self, false, func(address string) []string { return []string{"mock", address} })
	return patchbay, err
}

func (h *overHTTP) plugin(name string) string { return filepath.Join(h.r.temp, name+".wasm") }

// serve writes a configuration and gives the command that serves it.
func (h *overHTTP) serve(patchbay, name, config string) (binary string, args func(address string) []string, err error) {
	file := filepath.Join(h.r.temp, name+".yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return "", nil, err
	}
	admin, err := freeAddress()
	if err != nil {
		return "", nil, err
	}
	return patchbay, func(address string) []string {
		return []string{"serve", "--config", file, "--listen", address, "--set", "admin.listen=" + admin}
	}, nil
}

func (h *overHTTP) start(ctx context.Context, name, binary string, http bool, args func(string) []string) (*process, error) {
	p, err := startProcess(ctx, name, h.r.temp, binary, args)
	if err != nil {
		return nil, err
	}
	h.processes = append(h.processes, p)
	return p, p.ready(http)
}

func (h *overHTTP) config(workers string) string {
	return fmt.Sprintf(`
cache_dir: %q
upstreams:
  mock: {endpoints: ["http://%s"], private: true, max_conns: %d, max_idle_conns: %d}
plugins:
  - name: bench
    source: %q
    routes: ["GET /noop", "POST /chat"]
    workers: %[6]s
    limits: {in_flight: 2048}
    grant: {fetch: [{upstream: mock, methods: [POST], paths: [/v1/chat/completions]}]}
  - name: inference
    source: %q
    routes: ["POST /api/inference/infer"]
    workers: %[6]s
    limits: {in_flight: 2048}
    grant: {fetch: [{upstream: mock, methods: [POST], paths: [/v1/chat/completions]}]}
    config: {endpoint: "upstream://mock"}
`, filepath.Join(h.r.temp, "compiled"), h.upstream.address, poolSize, poolSize, h.plugin("bench"), workers, h.plugin("inference"))
}

// round has each server make each load once. Servers take turns at being first. What one of them fails at counts for none, so that
// rounds stay comparable.
func (h *overHTTP) round(ctx context.Context, n int, into samples) error {
	var failed error
	for _, l := range httpLoads() {
		for _, conns := range httpConns() {
			s, all := samples{}, l.of()
			var err error
			for i := 0; i < len(all) && err == nil; i++ {
				c := all[(i+n)%len(all)]
				server := h.servers[c.server]
				err = h.measure(ctx, httpName(l.name, conns, c.name), s, loadOrder{
					Address: server.address, PID: server.cmd.Process.Pid, Request: l.request(c), Length: l.length, Conns: conns,
					Warm: h.r.duration(400 * time.Millisecond), For: h.r.duration(time.Second),
				})
				if err != nil {
					failed = errors.Join(failed, fmt.Errorf("%s with %s, %d connections: %w", l.name, c.name, conns, err))
				}
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err == nil {
				into.merge(s)
			}
		}
	}
	return failed
}

// measure has a process of its own make load.
func (h *overHTTP) measure(ctx context.Context, name string, into samples, o loadOrder) error {
	order, err := json.Marshal(o)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, "load")
	var said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(order), &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(said.Bytes()))
	}
	var r loadResult
	if err := json.Unmarshal(said.Bytes(), &r); err != nil {
		return err
	}
	answers := float64(r.Answers)
	into.add(name+" rate", answers/r.Took.Seconds())
	into.add(name+" cpu-us", float64(r.CPU.Microseconds())/answers)
	into.add(name+" p50-ms", float64(r.P50.Microseconds())/1e3)
	into.add(name+" p99-ms", float64(r.P99.Microseconds())/1e3)
	return nil
}

// close ends the servers, the last first.
func (h *overHTTP) close() {
	for i := len(h.processes) - 1; i >= 0; i-- {
		h.processes[i].stop()
	}
}
