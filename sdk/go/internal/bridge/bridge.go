// Package bridge is what lies between the SDK's runtime and a host: the four imports of the ABI in Go's terms.
// In a module they are the imports themselves; natively plugintest plays the host. Authors never see this package.
package bridge

import "github.com/patchbay-run/patchbay/sdk/go/abi"

// Op is one operation. It is abi.Op with slices where the record has pointers, which would not fit natively.
type Op struct {
	Code    abi.OpCode
	Flags   uint16
	Arg     uint32
	Request uint64
	ID      uint64
	Fields  []byte
	Body    []byte
	Name    string
	Arg64   uint64
}

// Host is the four imports. The host keeps none of the slices that it is given: what it needs it copies before the call returns.
// No method calls back into the guest, so the runtime may hold its lock meanwhile.
type Host interface {
	// Take writes waiting events to events, abi.EventSize bytes each, and their payloads to data. It returns how many.
	Take(events, data []byte) int
	// Submit starts op, or says why not.
	Submit(op *Op) abi.Code
	// Respond gives a request its whole answer.
	Respond(request uint64, status int, fields, body []byte) abi.Code
	// Log writes a line; request is 0 for the plugin itself, level is that of log/slog.
	Log(request uint64, level int32, text string)
}

// Guest is the SDK's runtime as a native host sees it.
type Guest interface {
	// Poll takes and delivers all waiting events. It does not wait for what they set running.
	Poll()
	// Goroutines is how many goroutines the runtime has running or waiting, those of handlers included.
	Goroutines() int
}
