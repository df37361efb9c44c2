package server

import (
	"context"
	"sync"
)

// handlers counts the ones at work. A sync.WaitGroup would not do: a request may still begin while
// the stop is waiting.
type handlers struct {
	mu   sync.Mutex // guards all below; a leaf
	n    int
	none chan struct{} // closed when n falls to 0; nil when nobody waits
}

func (h *handlers) enter() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n++
}

func (h *handlers) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n--; h.n == 0 && h.none != nil {
		close(h.none)
		h.none = nil
	}
}

func (h *handlers) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.n
}

// wait reports whether all handlers returned before ctx was done.
func (h *handlers) wait(ctx context.Context) bool {
	h.mu.Lock()
	if h.n == 0 {
		h.mu.Unlock()
		return true
	}
	if h.none == nil {
		h.none = make(chan struct{})
	}
	none := h.none
	h.mu.Unlock()
	select {
	case <-none:
		return true
	case <-ctx.Done():
		return false
	}
}
