//go:build unix

package wasm

import (
	"fmt"
	"golang.org/x/sys/unix"
)

// linear is one reserved stretch of addresses, of which pages are committed as the guest grows. It never moves and
// never counts in the Go heap. A growth beyond the limit is refused, which the guest sees as memory.grow giving -1.
type linear struct {
	reserved  []byte
	committed uint64
}

// reserve makes a memory of at most limit bytes, of which the first least are there. wazero cannot be told that they are not.
// The caller calls Free unless an instance took it over.
func reserve(limit int64, least uint64) (*linear, error) {
	reserved, err := unix.Mmap(-1, 0, int(limit), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("reserve %d KiB of addresses for its memory: %w", limit>>10, err)
	}
	l := &linear{reserved: reserved}
	if least > 0 && l.Reallocate(least) == nil {
		l.Free()
		return nil, fmt.Errorf("commit %d KiB for its memory: the system has no more", least>>10)
	}
	return l, nil
}

// Reallocate gives size bytes, or nil when that is over the cap.
func (l *linear) Reallocate(size uint64) []byte {
	if size > uint64(len(l.reserved)) {
		return nil
	}
	if size > l.committed {
		if err := unix.Mprotect(l.reserved[l.committed:size], unix.PROT_READ|unix.PROT_WRITE); err != nil {
			return nil
		}
		l.committed = size
	}
	return l.reserved[:size:len(l.reserved)]
}

// Free gives everything back; wazero calls it when the instance is closed. A second call does nothing.
func (l *linear) Free() {
	if l.reserved != nil {
		_ = unix.Munmap(l.reserved)
		l.reserved = nil
	}
}
