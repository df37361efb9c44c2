package wasm

import (
	"context"
	"io"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// Operation is what a guest asks of a capability.
type Operation struct {
	Code      abi.OpCode
	RequestID string // "" for the worker's own
	Fields    []abi.Field
	Body      []byte    // the whole body, when Stream is nil
	Stream    io.Reader // a body that the guest sends while the operation runs
	Name      string
	Timeout   time.Duration // until the reply; 0 is the capability's own limit
}

// Reply is a capability's answer. The engine closes Body, which may be nil.
type Reply struct {
	Status int
	Fields []abi.Field
	Body   io.ReadCloser
	Length int64 // of Body in bytes; -1 is not known
}

// Capability does one operation. It runs on a goroutine of its own and may block; ctx ends when the request does or
// the guest cancels, and it must return soon after. An *abi.Error reaches the guest as it is; another error
// becomes RESET with its text.
type Capability func(ctx context.Context, in *Operation) (*Reply, error)
