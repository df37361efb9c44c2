package wasm

import (
	"context"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// hostFunc is one import of the ABI. It runs within a poll, on the goroutine that polls, and must not block.
type hostFunc struct {
	name string
	signature
	call func(w *worker, m api.Memory, stack []uint64) int32
}

func imports() []hostFunc {
	result := []api.ValueType{i32}
	return []hostFunc{
		{abi.ImportTake, signature{[]api.ValueType{i32, i32, i32, i32}, result}, importTake},
		{abi.ImportSubmit, signature{[]api.ValueType{i32, i32}, result}, importSubmit},
		{abi.ImportRespond, signature{[]api.ValueType{i64, i32, i32, i32, i32, i32}, result}, importRespond},
		{abi.ImportLog, signature{[]api.ValueType{i64, i32, i32, i32}, result}, importLog},
	}
}

func instantiateImports(ctx context.Context, r wazero.Runtime) error {
	if err := instantiateWASI(ctx, r); err != nil {
		return err
	}
	if err := instantiateMeter(ctx, r); err != nil {
		return err
	}
	b := r.NewHostModuleBuilder(abi.ImportModule)
	for _, f := range imports() {
		call := f.call
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, m api.Module, stack []uint64) {
			w := workerOf(ctx)
			if w == nil || w.poll == nil && f.name != abi.ImportLog { // within _initialize or the handshake
				stack[0] = uint64(negative(abi.State))
				return
			}
			stack[0] = api.EncodeI32(call(w, m.Memory(), stack))
		}), f.params, f.results).Export(f.name)
	}
	_, err := b.Instantiate(ctx)
	return err
}

func negative(c abi.Code) int32 { return -int32(c) }

func importTake(w *worker, m api.Memory, stack []uint64) int32 {
	records, ok := m.Read(uint32(stack[0]), min(uint32(stack[1]), maxTake)*abi.EventSize)
	if !ok {
		return negative(abi.Fault)
	}
	at, length := uint32(stack[2]), uint32(stack[3])
	if length < abi.MinData || len(records) == 0 {
		return negative(abi.Invalid)
	}
	data, ok := m.Read(at, length)
	if !ok {
		return negative(abi.Fault)
	}
	n := w.take(records, data)
	w.worked(callCost + n*abi.EventSize)
	return int32(n)
}

func importSubmit(w *worker, m api.Memory, stack []uint64) int32 {
	count := uint32(stack[1])
	if count > abi.MaxOps {
		return negative(abi.Invalid)
	}
	records, ok := m.Read(uint32(stack[0]), count*abi.OpSize)
	if !ok {
		return negative(abi.Fault)
	}
	accepted := int32(0)
	for ; len(records) > 0; records = records[abi.OpSize:] {
		var o abi.Op
		o.Get(records)
		o.Result = negative(w.submit(m, &o))
		o.Put(records)
		w.worked(callCost + int(o.Fields.Len) + int(o.Body.Len))
		if o.Result >= 0 {
			accepted++
		}
	}
	return accepted
}

func importRespond(w *worker, m api.Memory, stack []uint64) int32 {
	fields, ok := m.Read(uint32(stack[2]), uint32(stack[3]))
	if !ok {
		return negative(abi.Fault)
	}
	body, ok := m.Read(uint32(stack[4]), uint32(stack[5]))
	if !ok {
		return negative(abi.Fault)
	}
	w.worked(callCost + len(fields) + len(body))
	c := w.call(stack[0])
	if c == nil {
		return negative(abi.NotFound)
	}
	return negative(c.setHead(uint32(stack[1]), fields, body, abi.OpEnd))
}

func importLog(w *worker, m api.Memory, stack []uint64) int32 {
	text, ok := m.Read(uint32(stack[2]), min(uint32(stack[3]), maxLogLine))
	if !ok {
		return negative(abi.Fault)
	}
	w.worked(lineCost + len(text))
	id := ""
	if c := w.call(stack[0]); c != nil {
		id = c.req.ID
	}
	w.pool.log.line(w, id, int32(uint32(stack[1])), text, true)
	return 0
}
