package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// killGrace is how long a new process that is not wanted any more may take to end by itself.
const killGrace = 5 * time.Second

// Command is how a new process is started. It gets this one's working directory and standard streams.
type Command struct {
	Args []string // Args[0] is the program, looked up as a shell does, each time anew: a file that was replaced is the new program
	Env  []string // as os.Environ gives it
}

// Replace starts a process, hands it this one's sockets, and returns its number when it has said that it is ready: both accept
// connections then, and this process should stop to. On an error, that of ctx included, the new process has ended, and nothing has changed.
func (s *Sockets) Replace(ctx context.Context, c Command) (pid int, err error) {
	if len(c.Args) == 0 {
		return 0, errors.New("there is no command to start")
	}
	program, err := exec.LookPath(c.Args[0])
	if err != nil {
		return 0, fmt.Errorf("find the program: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	process, err := s.start(program, c, w)
	_ = w.Close()
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", program, err)
	}
	ended := make(chan error, 1)
	go func() {
		state, err := process.Wait()
		if err == nil {
			err = errors.New(state.String())
		}
		ended <- err
	}()
	said := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(io.LimitReader(r, maxWords))
		said <- string(b)
	}()
	select {
	case text := <-said:
		if text == readyWord {
			return process.Pid, nil // ended's goroutine reaps it, if this process lives longer
		}
		state := end(process, ended)
		if text == "" {
			return 0, fmt.Errorf("the new process %d (%s) has not become ready: %w", process.Pid, program, state)
		}
		return 0, fmt.Errorf("the new process %d (%s) cannot serve: %s", process.Pid, program, text)
	case <-ctx.Done():
		_ = r.Close()
		_ = end(process, ended)
		return 0, fmt.Errorf("the new process %d (%s) was not ready in time: %w", process.Pid, program, context.Cause(ctx))
	}
}

// end has a process end, and returns how it did.
func end(p *os.Process, ended <-chan error) error {
	_ = p.Signal(syscall.SIGTERM)
	select {
	case err := <-ended:
		return err
	case <-time.After(killGrace):
	}
	_ = p.Kill()
	return <-ended
}

// environ is what a new process gets: c's variables and the note.
func (s *Sockets) environ(c Command, open []socket) ([]string, error) {
	n := note{From: os.Getpid()}
	for _, o := range open {
		n.Sockets = append(n.Sockets, place{Name: o.name, Address: o.address})
	}
	text, err := json.Marshal(n)
	if err != nil {
		return nil, err
	}
	return append(slices.DeleteFunc(slices.Clone(c.Env), isOurs), variable+"="+string(text)), nil
}
