package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// lab is the processes of a section that measures whole servers.
type lab struct {
	r         *runner
	patchbay  string // the program
	processes []*process
}

// build makes the server and the plugins that are measured, and starts the upstream that they ask, which takes that long.
func (l *lab) build(ctx context.Context, delay time.Duration) (upstream *process, err error) {
	l.patchbay = filepath.Join(l.r.temp, "patchbay")
	if err := l.r.command(ctx, l.r.root, "go", "build", "-o", l.patchbay, "./host/cmd/patchbay"); err != nil {
		return nil, err
	}
	for name, dir := range map[string]string{"bench": "host/bench/testdata/guest", "inference": "plugins/inference"} {
		if err := l.r.command(ctx, l.r.root, l.patchbay, "plugin", "build", dir, "-o", l.plugin(name)); err != nil {
			return nil, err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return l.start(ctx, "mock", self, false, func(address string) []string { return []string{"mock", address, delay.String()} })
}

// plugin is the file of a plugin that build made.
func (l *lab) plugin(name string) string { return filepath.Join(l.r.temp, name+".wasm") }

// cache is the cache_dir of all servers: the first compiles the guests for all.
func (l *lab) cache() string { return filepath.Join(l.r.temp, "compiled") }

// serve writes a configuration and gives the command that serves it.
func (l *lab) serve(name, config string) (binary string, args func(address string) []string, err error) {
	file := filepath.Join(l.r.temp, name+".yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return "", nil, err
	}
	admin, err := freeAddress()
	if err != nil {
		return "", nil, err
	}
	return l.patchbay, func(address string) []string {
		return []string{"serve", "--config", file, "--listen", address, "--set", "admin.listen=" + admin}
	}, nil
}

// start starts a process, which close ends, and waits until it serves.
func (l *lab) start(ctx context.Context, name, binary string, http bool, args func(string) []string) (*process, error) {
	p, err := startProcess(ctx, name, l.r.temp, binary, args)
	if err != nil {
		return nil, err
	}
	l.processes = append(l.processes, p)
	return p, p.ready(http)
}

// load has a process of its own make load.
func (l *lab) load(ctx context.Context, o loadOrder) (r loadResult, err error) {
	order, err := json.Marshal(o)
	if err != nil {
		return r, err
	}
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	cmd := exec.CommandContext(ctx, self, "load")
	var said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(order), &said, &said
	if err := cmd.Run(); err != nil {
		return r, fmt.Errorf("%w: %s", err, bytes.TrimSpace(said.Bytes()))
	}
	return r, json.Unmarshal(said.Bytes(), &r)
}

// close ends the servers, the last first.
func (l *lab) close() {
	for i := len(l.processes) - 1; i >= 0; i-- {
		l.processes[i].stop()
	}
	l.processes = nil
}
