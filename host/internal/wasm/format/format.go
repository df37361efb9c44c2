// Package format reads and writes the binary format of WebAssembly 2.0: numbers, names, sections, types and the
// immediates of instructions.
//
// It knows where things end, and nothing of what they are good for: limits and rewriting belong to its users, types to the
// engine. Whoever looks into a module looks through this package, so that all see the same instructions.
package format

import (
	"errors"
	"fmt"
)

var (
	// ErrMalformed means that the bytes are not a WebAssembly module.
	ErrMalformed = errors.New("malformed module")
	// ErrUnsupported means that the module uses an instruction, a type or a section outside WebAssembly 2.0
	// (tail calls, threads, exceptions, several memories, 64-bit memories). Compile it without that feature.
	ErrUnsupported = errors.New("unsupported feature")
)

// Malformed describes broken bytes; at is an offset from the start of the module, in bytes.
func Malformed(at int, format string, args ...any) error {
	return fmt.Errorf("%w: byte %#x: %s", ErrMalformed, at, fmt.Sprintf(format, args...))
}

// Unsupported describes a feature that is not part of WebAssembly 2.0; at is an offset as for Malformed.
func Unsupported(at int, format string, args ...any) error {
	return fmt.Errorf("%w: byte %#x: %s", ErrUnsupported, at, fmt.Sprintf(format, args...))
}
