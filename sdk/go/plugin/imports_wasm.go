//go:build wasip1

package plugin

import (
	"encoding/binary"
	"errors"
	"unsafe"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
	"github.com/patchbay-run/patchbay/sdk/go/internal/bridge"
)

//go:wasmimport patchbay_v1 take
func hostTake(events unsafe.Pointer, maxEvents int32, data unsafe.Pointer, dataLen int32) int32

//go:wasmimport patchbay_v1 submit
func hostSubmit(ops unsafe.Pointer, count int32) int32

//go:wasmimport patchbay_v1 respond
func hostRespond(request uint64, status int32, fields unsafe.Pointer, fieldsLen int32, body unsafe.Pointer, bodyLen int32) int32

//go:wasmimport patchbay_v1 log
func hostLog(request uint64, level int32, text unsafe.Pointer, textLen int32) int32

// imports is bridge.Host by the imports.
type imports struct {
	record [abi.OpSize]byte
}

func pointer(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

func span(b []byte) abi.Span {
	return abi.Span{Ptr: uint32(uintptr(pointer(b))), Len: uint32(len(b))}
}

func (m *imports) Take(events, data []byte) int {
	return int(hostTake(pointer(events), int32(len(events)/abi.EventSize), pointer(data), int32(len(data))))
}

func (m *imports) Submit(op *bridge.Op) abi.Code {
	name := unsafe.Slice(unsafe.StringData(op.Name), len(op.Name))
	record := abi.Op{
		Code: op.Code, Flags: op.Flags, Arg: op.Arg, Request: op.Request, ID: op.ID,
		Fields: span(op.Fields), Body: span(op.Body), Name: span(name), Arg64: op.Arg64,
	}
	record.Put(m.record[:])
	if n := hostSubmit(unsafe.Pointer(&m.record), 1); n < 0 {
		return abi.Code(-n)
	}
	return abi.Code(-int32(binary.LittleEndian.Uint32(m.record[abi.OpResult:])))
}

func (m *imports) Respond(request uint64, status int, fields, body []byte) abi.Code {
	return abi.Code(-hostRespond(request, int32(status), pointer(fields), int32(len(fields)), pointer(body), int32(len(body))))
}

func (m *imports) Log(request uint64, level int32, text string) {
	hostLog(request, level, unsafe.Pointer(unsafe.StringData(text)), int32(len(text)))
}

// worker is the runtime of this instance. It is the one variable of the package, because exports are functions: nothing can be handed to them.
var worker *guest

func serve(setup func(*Plugin) error) {
	if worker != nil {
		setup = func(*Plugin) error { return errors.New("plugin.Serve was called twice") }
	}
	worker = newGuest(setup)
}

//go:wasmexport patchbay_abi
func handshake(_, _ int32, features int64) int64 {
	return int64(abi.Handshake(abi.Version, uint32(features)&(abi.FeaturePipe|abi.FeatureSSE|abi.FeatureCache|abi.FeaturePublish)))
}

//go:wasmexport patchbay_poll
func poll() {
	if worker == nil {
		worker = newGuest(nil)
	}
	worker.poll()
}
