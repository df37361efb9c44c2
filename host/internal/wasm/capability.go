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
	Body      []byte    // the whole body, when Stream is nil; nil for an operation that may answer its request
	Stream    io.Reader // a body that the guest sends while the operation runs
	Name      string
	Timeout   time.Duration // until the reply; 0 is the capability's own limit

	// Stop ends the context that the capability runs under, for a reason of its own. It then gives no reply. Not of a Quick.
	Stop context.CancelCauseFunc

	// Context is of the request, for what is known of it; nil for the worker's own. For a Quick.
	Context context.Context

	// Alone says that the guest's worker serves this one request: nothing that it begins goes on after it. For a Quick.
	Alone bool

	// As the record has them, for a Quick.
	Flags uint16
	Arg   uint32
	Arg64 uint64
}

// Reply is a capability's answer. The engine closes Body, which may be nil.
type Reply struct {
	Status int
	Fields []abi.Field
	Body   io.ReadCloser
	Length int64 // of Body in bytes; -1 is not known

	// Of a Quick. Data takes the place of Body; nobody changes it any more.
	Data  []byte
	Arg   uint32
	Flags uint16 // of the event, beside those of the engine
	Open  bool   // the operation goes on: its Session hears more, or later brings more
	// Answer is set where the operation may answer its request (abi.OpAnswer) and this reply can: the headers of an answer whose body is that
	// of the operation and then Data. When it cannot be given, the guest is told the reply as otherwise.
	Answer []abi.Field
}

// Capability does one operation. It runs on a goroutine of its own and may block; ctx ends when the request does or
// the guest cancels, and it must return soon after. An *abi.Error reaches the guest as it is; another error
// becomes RESET with its text.
type Capability func(ctx context.Context, in *Operation) (*Reply, error)

// Quick is a capability that never blocks, so that it needs no goroutine and its reply can be taken within the very poll that asked for it. It has
// Begin, for operations that end with an event, or Do, for those that have only a result. Both run within a poll.
type Quick struct {
	// Begin gives the reply, or none yet: then later brings it, from any goroutine. A Session comes with what goes on. The body of the reply
	// is sent under the credit in the record's arg.
	Begin func(in *Operation, later func(*Reply, error)) (*Reply, Session, error)
	// Do does it at once. With an id it is meant for that operation, and goes to its Session instead.
	Do func(in *Operation) error
	// Headers says that its fields are to stand in an answer: they are refused where they cannot.
	Headers bool
}

// Session is the capability's side of an operation that goes on.
type Session interface {
	// Tell brings what the guest has to say to the operation; over ends it without another event.
	Tell(in *Operation) (over bool, err error)
	// End is called once, when the operation is over for the guest: its last event was taken, it or its request was cancelled, or its
	// worker died. It is called under locks of the engine: it must call nothing of it.
	End()
}
