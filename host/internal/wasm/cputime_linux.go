package wasm

import (
	"time"

	"golang.org/x/sys/unix"
)

// threadClock measures CPU time by the clock of the thread that the goroutine happens to be on.
type threadClock struct {
	thread int
	at     time.Duration
}

// lap is the CPU time since the lap before. When the goroutine has come to another thread meanwhile nobody knows, and it is otherwise.
func (c *threadClock) lap(otherwise time.Duration) time.Duration {
	var t unix.Timespec
	thread := unix.Gettid()
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return otherwise
	}
	if unix.Gettid() != thread {
		thread = 0 // it moved just now: whose clock that was nobody knows either
	}
	at := time.Duration(t.Nano())
	used := at - c.at
	if thread == 0 || thread != c.thread {
		used = otherwise
	}
	c.thread, c.at = thread, at
	return max(used, 0) // a limit that could sink would never be met
}
