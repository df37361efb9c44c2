//go:build unix

package wasm

import (
	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

// capped gives each instance one reserved stretch of addresses of limit bytes and commits pages as the guest grows.
// It never moves and never counts in the Go heap. A growth beyond the limit is refused, which the guest sees
// as memory.grow giving -1.
func capped(limit int64) experimental.MemoryAllocator {
	return experimental.MemoryAllocatorFunc(func(_, _ uint64) experimental.LinearMemory {
		reserved, err := unix.Mmap(-1, 0, int(limit), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return &linear{} // every growth fails, so does the instance
		}
		return &linear{reserved: reserved}
	})
}

type linear struct {
	reserved  []byte
	committed uint64
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

// Free gives everything back; wazero calls it once, when the instance is closed.
func (l *linear) Free() {
	if l.reserved != nil {
		_ = unix.Munmap(l.reserved)
		l.reserved = nil
	}
}
