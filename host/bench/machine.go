package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// describe says where and when it was measured, and how busy the machine was before.
func (r *runner) describe(w io.Writer) {
	wazero := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "github.com/tetratelabs/wazero")
	wazero.Dir = r.root
	version, err := wazero.Output()
	if err != nil {
		version = []byte("of unknown version")
	}
	fmt.Fprintf(w, "Machine: %d × %s, %s, wazero %s; %s; load average before: %s; medians of %d rounds, their range in brackets.\n",
		runtime.NumCPU(), after("/proc/cpuinfo", "model name"), runtime.Version(), bytes.TrimSpace(version),
		time.Now().Format(time.DateOnly), firstField("/proc/loadavg"), r.rounds)
}

// after is what follows a name and a colon in a file of Linux.
func after(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func firstField(path string) string {
	text, err := os.ReadFile(path)
	if fields := strings.Fields(string(text)); err == nil && len(fields) > 0 {
		return fields[0]
	}
	return "unknown"
}
