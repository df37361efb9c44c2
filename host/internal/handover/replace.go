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

const (
	// killGrace is how long a new process that is not wanted any more may take to end by itself.
	killGrace = 5 * time.Second
	// lastWords is how long is read what a process wrote before it ended.
	lastWords = 100 * time.Millisecond
	// settling is how long a process that said that it is ready is watched: one that dies of its first steps must not be left alone with the
	// sockets. Both accept connections meanwhile.
	settling = 500 * time.Millisecond
)

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
	child := watch(process)
	said := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(io.LimitReader(r, maxWords))
		said <- string(b)
	}()
	select {
	case text := <-said:
		return child.judge(program, text)
	case <-child.ended:
		// What it said last is in the pipe, which may be open still if it had children.
		_ = r.SetReadDeadline(time.Now().Add(lastWords))
		return child.judge(program, <-said)
	case <-ctx.Done():
		_ = r.SetReadDeadline(time.Now().Add(lastWords))
		if text := <-said; text == readyWord { // just in time: both accept connections already
			return child.judge(program, text)
		}
		child.end()
		return 0, fmt.Errorf("the new process %d (%s) was not ready in time: %w", process.Pid, program, context.Cause(ctx))
	}
}

// child is a process that this one started.
type child struct {
	*os.Process
	ended chan struct{} // closed when it has
	state error         // how; to be read after ended
}

// watch waits for p, for as long as this process lives.
func watch(p *os.Process) *child {
	c := &child{Process: p, ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		state, err := p.Wait()
		if c.state = err; err == nil {
			c.state = errors.New(state.String())
		}
	}()
	return c
}

// judge takes the process's word, and ends it if that is not that it is ready.
func (c *child) judge(program, text string) (pid int, err error) {
	if text == readyWord {
		select {
		case <-c.ended:
			return 0, fmt.Errorf("the new process %d (%s) was ready and has ended: %w", c.Pid, program, c.state)
		case <-time.After(settling):
			return c.Pid, nil
		}
	}
	c.end()
	if text == "" {
		return 0, fmt.Errorf("the new process %d (%s) has not become ready: %w", c.Pid, program, c.state)
	}
	return 0, fmt.Errorf("the new process %d (%s) cannot serve: %s", c.Pid, program, text)
}

// end returns when the process has ended.
func (c *child) end() {
	_ = c.Signal(syscall.SIGTERM)
	select {
	case <-c.ended:
		return
	case <-time.After(killGrace):
	}
	_ = c.Kill()
	<-c.ended
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
