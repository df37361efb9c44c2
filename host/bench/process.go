package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server of the benchmark, on loopback.
type process struct {
	name    string
	address string
	cmd     *exec.Cmd
	log     *os.File
}

// startProcess starts a server whose arguments get an address that is free. It is not waited for.
func startProcess(ctx context.Context, name, dir, binary string, args func(address string) []string, env ...string) (*process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	log, err := os.CreateTemp(dir, name+"-*.log")
	if err != nil {
		return nil, err
	}
	p := &process{name: name, address: address, log: log}
	p.cmd = exec.CommandContext(ctx, binary, args(address)...)
	p.cmd.Stderr = log
	p.cmd.Env = append([]string{"HOME=" + dir}, env...) // no setting of whoever runs the benchmark
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("look for a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// ready waits until the server listens, and answers GET /readyz with 200 if it speaks HTTP to us.
func (p *process) ready(http bool) error {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if p.answers(http) {
			return nil
		}
	}
	said, _ := os.ReadFile(p.log.Name())
	return fmt.Errorf("%s was not ready within 30 s; it says:\n%s", p.name, said)
}

func (p *process) answers(speaksHTTP bool) bool {
	if !speaksHTTP {
		conn, err := net.Dial("tcp", p.address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	resp, err := http.Get("http://" + p.address + "/readyz")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// stop ends the server and waits for its end.
func (p *process) stop() {
	defer p.log.Close()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(5*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	_ = p.cmd.Wait()
}

// cpuOf is the CPU time of a process; proc(5) counts it in hundredths of a second.
func cpuOf(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read the server's CPU time: %w", err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	var ticks int
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, fmt.Errorf("read the server's CPU time: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}
