package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Image is the memory and the globals of an initialised instance. It may be used from several goroutines. Its owner calls
// Close; memories that were made from it live on.
type Image struct {
	size   int64 // bytes of memory
	file   int64 // bytes up to the last page that is not zero
	stored int64
	names  []string
	values []uint64
	mapped atomic.Int64

	mu sync.RWMutex // guards fd; read-held while it is mapped, so that its number is not another file's by then
	fd int          // -1 once closed
}

// newImage copies memory into a file without a name, which nobody can change afterwards. Pages of zeros stay holes.
func newImage(memory []byte) (*Image, error) {
	fd, err := unix.MemfdCreate("patchbay-snapshot", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("make a memory file: %w", err)
	}
	image := &Image{fd: fd, size: int64(len(memory))}
	if err := image.write(memory); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return image, nil
}

func (i *Image) write(memory []byte) error {
	page := os.Getpagesize()
	zeros := make([]byte, page)
	if len(memory)%page != 0 {
		return fmt.Errorf("a memory of %d bytes is no whole number of pages of %d bytes", len(memory), page)
	}
	for at := 0; at < len(memory); {
		n := 0
		for at+n < len(memory) && !bytes.Equal(memory[at+n:at+n+page], zeros) {
			n += page
		}
		if n == 0 {
			at += page
			continue
		}
		if err := writeAt(i.fd, memory[at:at+n], int64(at)); err != nil {
			return fmt.Errorf("write to a memory file: %w", err)
		}
		at += n
		i.file, i.stored = int64(at), i.stored+int64(n)
	}
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(i.fd), unix.F_ADD_SEALS, seals); err != nil {
		return fmt.Errorf("seal a memory file: %w", err)
	}
	return nil
}

func writeAt(fd int, b []byte, at int64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(fd, b, at)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		b, at = b[n:], at+int64(n)
	}
	return nil
}

// Map makes a memory that begins with the image and can grow to limit bytes. The caller frees it, or has the
// engine do so. A limit below Size, no room, and a closed image are errors.
func (i *Image) Map(limit int64) (*Memory, error) {
	if limit < i.size {
		return nil, fmt.Errorf("the snapshot has %d KiB of memory, over the limit of %d KiB: raise limits.memory", i.size>>10, limit>>10)
	}
	reserved, err := unix.Mmap(-1, 0, int(limit), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("reserve %d KiB of addresses: %w", limit>>10, err)
	}
	m := &Memory{reserved: reserved, committed: uint64(i.size), image: i}
	i.mapped.Add(1)
	if err := i.lay(reserved); err != nil {
		m.Free()
		return nil, fmt.Errorf("map a snapshot: %w", err)
	}
	return m, nil
}

// lay puts the image over the beginning of reserved.
func (i *Image) lay(reserved []byte) error {
	const access = unix.PROT_READ | unix.PROT_WRITE
	if i.file > 0 {
		i.mu.RLock()
		defer i.mu.RUnlock()
		if i.fd < 0 {
			return os.ErrClosed
		}
		_, err := unix.MmapPtr(i.fd, 0, unsafe.Pointer(&reserved[0]), uintptr(i.file), access, unix.MAP_PRIVATE|unix.MAP_FIXED|unix.MAP_NORESERVE)
		if err != nil {
			return err
		}
	}
	if i.file < i.size {
		return unix.Mprotect(reserved[i.file:i.size], access)
	}
	return nil
}

// Close gives the image back. Its pages go with the last memory that was made from it. A second call does nothing.
func (i *Image) Close() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	fd := i.fd
	i.fd = -1
	if fd < 0 {
		return nil
	}
	return unix.Close(fd)
}

// Memory is the linear memory of one instance. Its methods are those that engines want of an allocator's memory;
// they are not for several goroutines at once.
type Memory struct {
	reserved  []byte
	committed uint64
	image     *Image
}

// Reallocate gives the first size bytes, or nil when that is over the limit or the system has no room. They
// never move.
func (m *Memory) Reallocate(size uint64) []byte {
	if size > uint64(len(m.reserved)) {
		return nil
	}
	if size > m.committed {
		if err := unix.Mprotect(m.reserved[m.committed:size], unix.PROT_READ|unix.PROT_WRITE); err != nil {
			return nil
		}
		m.committed = size
	}
	return m.reserved[:size:len(m.reserved)]
}

// Free gives the memory back. A second call does nothing.
func (m *Memory) Free() {
	if m.reserved != nil {
		_ = unix.Munmap(m.reserved)
		m.reserved = nil
		m.image.mapped.Add(-1)
	}
}
