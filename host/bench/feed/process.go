package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// figures are of a process at one moment.
type figures struct {
	at  time.Time
	cpu time.Duration
	rss int // bytes
}

// look reads proc(5), which counts CPU time in hundredths of a second.
func look(pid int) (f figures, err error) {
	f.at = time.Now()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return f, fmt.Errorf("read the server's figures: %w", err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	number := func(i int) int {
		n, numberErr := strconv.Atoi(fields[i])
		if numberErr != nil {
			err = fmt.Errorf("read the server's figures: %w", numberErr)
		}
		return n
	}
	f.cpu = time.Duration(number(11)+number(12)) * 10 * time.Millisecond // utime and stime
	f.rss = number(21) * os.Getpagesize()
	return f, err
}

// enoughFiles raises the limit of open files as far as it goes; the servers inherit it.
func enoughFiles(clients int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if need := uint64(clients) + 200; limit.Max < need {
		return fmt.Errorf("%d clients need %d open files, and %d are allowed: raise the hard limit (ulimit -Hn), or take fewer with -clients", clients, need, limit.Max)
	}
	return nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("look for a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func ready(ctx context.Context, address string) error {
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			return conn.Close()
		}
	}
	return fmt.Errorf("nothing listens at %s", address)
}
