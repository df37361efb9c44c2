package meter

import (
	"errors"
	"fmt"

	"github.com/patchbay-run/patchbay/host/internal/wasm/format"
)

var (
	// ErrMalformed means that the bytes are not a WebAssembly module.
	ErrMalformed = format.ErrMalformed
	// ErrUnsupported means that the module uses an instruction, a type or a section outside WebAssembly 2.0
	// (tail calls, threads, exceptions, several memories, 64-bit memories). Compile it without that feature.
	ErrUnsupported = format.ErrUnsupported
	// ErrReserved means that the module uses a name that belongs to the host.
	ErrReserved = errors.New("reserved name")
	// ErrLimit means that the module is larger than a limit allows. The error is also a *LimitError.
	ErrLimit = errors.New("limit exceeded")
)

// LimitError says which limit a module exceeds, and by how much.
type LimitError struct {
	// What is the thing limited, in the plural, and Option the field of Options that sets the limit.
	What, Option string
	// Value is what the module has, Limit what it may have.
	Value, Limit uint64
}

// Error names the limit, the value and the option.
func (e *LimitError) Error() string {
	return fmt.Sprintf("the module has %d %s, the limit is %d (%s)", e.Value, e.What, e.Limit, e.Option)
}

// Is makes errors.Is(err, ErrLimit) true.
func (e *LimitError) Is(target error) bool { return target == ErrLimit }

// over returns a *LimitError when value exceeds limit.
func over(what, option string, value uint64, limit uint32) error {
	if value <= uint64(limit) {
		return nil
	}
	return &LimitError{What: what, Option: option, Value: value, Limit: uint64(limit)}
}
