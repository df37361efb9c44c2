// Package snapshot starts instances of a module from the memory of one that has been initialised, in place of
// initialising each.
//
// Prepare makes a variant of the module. The caller compiles that one, and starts instances of it in one of two ways:
//
//   - plainly: instantiate, Plan.Fill its memory, call Plan.Start if there is one, then what the module's
//     convention asks for (_initialize);
//   - from an Image, which Plan.Capture takes of a plainly started instance, the donor: instantiate on the memory that
//     Image.Map gives, grow it to Image.Size, and set the globals that Image.Restore names.
//
// An image's pages are shared by all instances until one writes to them, so an instance costs what it touches.
//
// Every mutable global is part of the image, the meter's counter too: an instance begins with what the donor had left of its
// budget.
//
// What the donor knew, all its instances know: the seeds of a random generator within the guest (math/rand and the seed of Go's
// maps), times that were read and ids that were made during initialisation repeat in every one. What the guest asks the host for
// does not: clocks, and random bytes of the host (crypto/rand).
//
// The package is bytes in, bytes out, and knows no engine.
package snapshot

import (
	"errors"
	"fmt"
)

// ErrUnsuitable means that a module has state that a snapshot would lose, or none to take. It is started plainly.
var ErrUnsuitable = errors.New("unsuitable for a snapshot")

// unsuitable says why; the reason begins with what the module does.
func unsuitable(reason string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsuitable, fmt.Sprintf(reason, args...))
}

// Plan is a module that can be started from a snapshot.
type Plan struct {
	// Module is the variant to compile: it exports its mutable globals, has no start section and no active data. It shares no
	// memory with the input. The plan does not need it once it is compiled.
	Module []byte
	// Start names the export that was the module's start function, and is empty when it has none. A plain start
	// calls it after Fill.
	Start string

	globals []string // exports
	data    []segment
}

// segment is active data and where it goes.
type segment struct {
	offset uint32
	bytes  []byte
}

// Fill writes the module's active data to a new memory, as instantiation would have. Data that does not fit is an error, and what
// comes before it has been written.
func (p *Plan) Fill(memory []byte) error {
	for i, s := range p.data {
		if end := uint64(s.offset) + uint64(len(s.bytes)); end > uint64(len(memory)) {
			return fmt.Errorf("data segment %d ends at byte %d of a memory of %d bytes", i, end, len(memory))
		}
		copy(memory[s.offset:], s.bytes)
	}
	return nil
}

// Capture takes an image of the donor: a plainly started instance of the variant, in which no call is running. memory is the
// whole of its memory, and global returns the bits of the global that the variant exports under a name. The
// donor may go on afterwards; the image has nothing in common with it. The caller closes the image.
//
// On a system without memory files the error is errors.ErrUnsupported.
func (p *Plan) Capture(memory []byte, global func(name string) uint64) (*Image, error) {
	image, err := newImage(memory)
	if err != nil {
		return nil, fmt.Errorf("take a snapshot: %w", err)
	}
	image.names = p.globals
	for _, name := range p.globals {
		image.values = append(image.values, global(name))
	}
	return image, nil
}

// Size is the bytes of memory that an instance begins with, a whole number of pages of 64 KiB.
func (i *Image) Size() int64 { return i.size }

// Stored is how many bytes of the image are kept; pages of zeros are not.
func (i *Image) Stored() int64 { return i.stored }

// Mapped is how many memories made from the image are not freed yet.
func (i *Image) Mapped() int { return int(i.mapped.Load()) }

// Restore calls set with the name and the bits of every global that a new instance must be given before it runs.
func (i *Image) Restore(set func(name string, value uint64)) {
	for k, name := range i.names {
		set(name, i.values[k])
	}
}
