//go:build !linux

package snapshot

import (
	"errors"
	"sync/atomic"
)

// Image is the memory and the globals of an initialised instance. There are none on this system.
type Image struct {
	size, stored int64
	names        []string
	values       []uint64
	mapped       atomic.Int64
}

func newImage([]byte) (*Image, error) { return nil, errors.ErrUnsupported }

// Map is never called here.
func (i *Image) Map(int64) (*Memory, error) { return nil, errors.ErrUnsupported }

// Close does nothing.
func (i *Image) Close() error { return nil }

// Memory is the linear memory of one instance. There are none on this system.
type Memory struct{}

// Reallocate is never called here.
func (*Memory) Reallocate(uint64) []byte { return nil }

// Free does nothing.
func (*Memory) Free() {}
