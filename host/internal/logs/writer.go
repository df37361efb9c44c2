package logs

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// linger is how long the first of some lines waits for others, so that a busy server does not wake up and write for each. It is less when
// they fill a part of the bound.
const (
	linger = 20 * time.Millisecond
	part   = 4
)

// writer hands lines to out on a goroutine of its own, as many at a time as there are. What does not fit into the bound is dropped,
// and a line says so in its place.
type writer struct {
	out     io.Writer
	limit   int // bytes that wait; as many again may be on their way
	missing func(lines int64) []byte
	dropped atomic.Int64
	wake    chan struct{} // capacity 1: pending is no longer empty, or the writer is closed
	full    chan struct{} // capacity 1: a part of the bound is full, or the writer is closed
	over    chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex // guards what follows; a leaf, and never held while writing
	pending []byte     // whole lines
	gap     int64      // lines lost behind those
	closed  bool
}

func newWriter(out io.Writer, limit int, missing func(lines int64) []byte) *writer {
	w := &writer{out: out, limit: limit, missing: missing, wake: make(chan struct{}, 1), full: make(chan struct{}, 1), over: make(chan struct{})}
	go w.run()
	return w
}

// Write takes one line, as slog's handlers write them, or drops it. It neither waits nor fails.
func (w *writer) Write(line []byte) (int, error) {
	w.mu.Lock()
	first := len(w.pending) == 0 && w.gap == 0
	if w.closed || w.gap > 0 || len(w.pending)+len(line) > w.limit {
		w.gap++ // and so are all that follow, until there is room: the gap is in one place
		w.dropped.Add(1)
	} else {
		w.pending = append(w.pending, line...)
	}
	enough := w.limit / part
	full := len(w.pending) >= enough && len(w.pending)-len(line) < enough
	w.mu.Unlock()
	if first {
		nudge(w.wake)
	}
	if full {
		nudge(w.full)
	}
	return len(line), nil
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (w *writer) run() {
	defer close(w.over)
	var lines []byte
	var untold int64 // lines lost, of which no line speaks yet
	tell := func() {
		if untold > 0 && w.write(w.missing(untold)) == 0 {
			untold = 0
		}
	}
	delay := time.NewTimer(linger)
	defer delay.Stop()
	for range w.wake {
		delay.Reset(linger)
		select {
		case <-delay.C:
		case <-w.full:
		}
		w.mu.Lock()
		lines, w.pending = w.pending, lines[:0]
		gap, closed := w.gap, w.closed
		w.gap = 0
		w.mu.Unlock()
		tell()
		refused := w.write(lines)
		w.dropped.Add(refused)
		untold += refused + gap
		tell()
		if closed {
			return
		}
	}
}

// write returns how many lines out did not take.
func (w *writer) write(lines []byte) int64 {
	if len(lines) == 0 {
		return 0
	}
	n, err := w.out.Write(lines)
	if err == nil {
		return 0
	}
	return int64(bytes.Count(lines[min(max(n, 0), len(lines)):], []byte("\n")))
}

// close has what is left written and returns when it is, or after that long.
func (w *writer) close(patience time.Duration) {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	nudge(w.wake)
	nudge(w.full)
	select {
	case <-w.over:
	case <-time.After(patience):
	}
}
