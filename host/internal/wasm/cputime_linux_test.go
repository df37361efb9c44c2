package wasm

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestLapNeverSinks: a goroutine that is moved between the two questions to the system has another thread's time by its own thread's number.
// What it seems to have used since then must not be taken from what it has used before: its limit would never be met.
func TestLapNeverSinks(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c := threadClock{thread: unix.Gettid(), at: time.Hour}
	if used := c.lap(time.Millisecond); used < 0 {
		t.Errorf("it used %v", used)
	}
}
