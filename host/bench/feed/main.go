// Command feed measures the websocket feed beside a hub as it is usually written, each in a process of its own, with clients in
// this one: make bench-feed. It prints CPU time and memory of the server, and how evenly frames come, before and after some of
// the clients stop to read.
//
// It is no test: a figure that is not reached is printed, and no failure.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	var err error
	if len(args) == 2 && args[0] == "plain" { // the peer's process is this program too
		err = plain(args[1])
	} else {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = measure(ctx, args, stdout, stderr)
		stop()
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

// plan is what is measured.
type plan struct {
	clients, mute int
	length        time.Duration
}

func measure(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("feed", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var p plan
	flags.IntVar(&p.clients, "clients", 5000, "how many clients there are")
	flags.IntVar(&p.mute, "mute", 100, "how many of them stop to read, for the second half")
	flags.DurationVar(&p.length, "for", 20*time.Second, "how long each half takes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := enoughFiles(p.clients); err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "patchbay-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	fmt.Fprintf(stdout, "%d CPUs, %s, %s, load average before: %s; %d clients of system and http at 1 s, %v each half\n\n",
		runtime.NumCPU(), runtime.Version(), time.Now().Format(time.DateOnly), loadAverage(), p.clients, p.length)
	fmt.Fprintf(stdout, "%-28s %10s %12s %12s %14s %16s\n", "", "CPU", "memory", "goroutines", "frames", "gap p99 (max)")
	for _, c := range []struct {
		name  string
		start func() (*exec.Cmd, string, error)
	}{
		{"patchbay", func() (*exec.Cmd, string, error) { return startOurs(ctx, temp) }},
		{"plain gorilla/websocket", func() (*exec.Cmd, string, error) { return startPlain(ctx) }},
	} {
		if err := p.one(ctx, stdout, c.name, c.start); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	fmt.Fprintf(stdout, "\nCPU is of one processor; memory is resident, per client, over the idle server's. Wanted of patchbay: under 25 %% and 16 KiB.\n")
	return nil
}

// one measures one server.
func (p plan) one(ctx context.Context, out io.Writer, name string, start func() (*exec.Cmd, string, error)) error {
	cmd, address, err := start()
	if err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		late.Stop()
	}()
	if err := ready(ctx, address); err != nil {
		return err
	}
	time.Sleep(3 * time.Second) // what a start does in the background
	pid := cmd.Process.Pid
	before, err := look(pid)
	if err != nil {
		return err
	}
	all, err := connect(ctx, address, p.clients)
	if err != nil {
		return err
	}
	defer all.close()
	time.Sleep(5 * time.Second)
	for half, what := range []string{name, "  while some do not read"} {
		if half == 1 {
			all.silence(p.mute)
		}
		all.reset()
		begun, err := look(pid)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(p.length):
		}
		ended, err := look(pid)
		if err != nil {
			return err
		}
		frames, p99, longest := all.gaps()
		took := ended.at.Sub(begun.at)
		fmt.Fprintf(out, "%-28s %8.1f %% %8.1f KiB %12s %12d/s %7v (%v)\n", what,
			100*(ended.cpu-begun.cpu).Seconds()/took.Seconds(),
			float64(ended.rss-before.rss)/1024/float64(p.clients), all.told(),
			int(float64(frames)/took.Seconds()), p99.Round(time.Millisecond), longest.Round(time.Millisecond))
	}
	return nil
}

// startOurs builds the server and starts it with no plugins.
func startOurs(ctx context.Context, temp string) (*exec.Cmd, string, error) {
	binary, file := filepath.Join(temp, "patchbay"), filepath.Join(temp, "host.yaml")
	if said, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/patchbay-run/patchbay/host/cmd/patchbay").CombinedOutput(); err != nil {
		return nil, "", fmt.Errorf("build the server: %w: %s", err, said)
	}
	if err := os.WriteFile(file, []byte("live: {max_clients: 100000, max_per_address: 100000}\n"), 0o600); err != nil {
		return nil, "", err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, "", err
	}
	admin, err := freeAddress()
	if err != nil {
		return nil, "", err
	}
	cmd := exec.CommandContext(ctx, binary, "serve", "--config", file, "--listen", address, "--set", "admin.listen="+admin, "--set", "log.level=warn")
	cmd.Env, cmd.Stderr = []string{"HOME=" + temp}, os.Stderr
	return cmd, address, cmd.Start()
}

func startPlain(ctx context.Context) (*exec.Cmd, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, "", err
	}
	cmd := exec.CommandContext(ctx, self, "plain", address)
	cmd.Stderr = os.Stderr
	return cmd, address, cmd.Start()
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
