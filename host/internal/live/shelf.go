package live

import (
	"errors"
	"sync"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// errShelf is what a client is told whose history is left out.
var errShelf = errors.New("history is left out: what slow clients have not read of it yet is as much as live.max_history allows; ask again")

// sheet is a history as one text, at one moment. Nobody changes it but for holders.
type sheet struct {
	text    []byte
	offsets []int   // where each point begins in text, the oldest first
	times   []int64 // of the points

	holders int // answers that are not out yet; guarded by the shelf's mu
}

// shelf bounds the memory of sheets that are on their way to clients: each history is made anew with each point, and a client that
// reads slowly keeps the one that it asked for. Clients of one sheet share it.
type shelf struct {
	max config.Bytes

	mu      sync.Mutex // guards all below, and holders; a leaf
	held    int64      // bytes
	refused int64      // answers
}

// take counts one more holder of s, nil for none. It fails when that is too much; whoever takes gives back.
func (h *shelf) take(s *sheet) bool {
	if s == nil {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	size := int64(cap(s.text))
	if s.holders == 0 {
		if h.held+size > int64(h.max) {
			h.refused++
			return false
		}
		h.held += size
	}
	s.holders++
	return true
}

func (h *shelf) give(s *sheet) {
	if s == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.holders--; s.holders == 0 {
		h.held -= int64(cap(s.text))
	}
}

func (h *shelf) stats() (held, refused int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held, h.refused
}
