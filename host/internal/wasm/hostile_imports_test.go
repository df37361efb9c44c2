package wasm_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// far is an address near the end of 4 GiB, which no guest has.
const far = 0xfffffff0

// imported is a function that guests may import.
type imported struct {
	module, name    string
	params, results []api.ValueType
}

// everyImport is what the ABI has and what WASI has, by the words of the library that offers it.
func everyImport(t *testing.T) (all []imported) {
	t.Helper()
	const i32, i64 = api.ValueTypeI32, api.ValueTypeI64
	all = []imported{
		{abi.ImportModule, abi.ImportTake, []api.ValueType{i32, i32, i32, i32}, []api.ValueType{i32}},
		{abi.ImportModule, abi.ImportSubmit, []api.ValueType{i32, i32}, []api.ValueType{i32}},
		{abi.ImportModule, abi.ImportRespond, []api.ValueType{i64, i32, i32, i32, i32, i32}, []api.ValueType{i32}},
		{abi.ImportModule, abi.ImportLog, []api.ValueType{i64, i32, i32, i32}, []api.ValueType{i32}},
	}
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer r.Close(ctx)
	b := r.NewHostModuleBuilder(wasi_snapshot_preview1.ModuleName)
	wasi_snapshot_preview1.NewFunctionExporter().ExportFunctions(b)
	m, err := b.Compile(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range m.ExportedFunctions() {
		all = append(all, imported{wasi_snapshot_preview1.ModuleName, name, f.ParamTypes(), f.ResultTypes()})
	}
	if len(all) < 40 {
		t.Fatalf("there are %d imports only", len(all))
	}
	return all
}

// Where calling keeps what it must not lose, in six pages of memory.
const (
	callingPages   = 6
	callingResults = 5 << 16
	callingRecord  = callingResults + 1<<15
)

// calling is a module that calls f with each list of arguments, first within _initialize, where nothing may be asked, and then within
// poll. It then says that it cannot start, and as the reason what the calls within poll gave, a byte each.
func calling(f imported, calls [][]uint64) []byte {
	const subject = 2
	code := func(keep bool) (code []byte) {
		for i, args := range calls {
			if keep {
				code = append(code, i32const(int64(callingResults+i))...)
			}
			for j, a := range args {
				if f.params[j] == api.ValueTypeI64 {
					code = slices.Concat(code, []byte{0x42}, sleb(int64(a)))
				} else {
					code = append(code, i32const(int64(int32(a)))...)
				}
			}
			code = append(code, 0x10, subject)
			switch {
			case len(f.results) == 0 && keep:
				code = slices.Concat(code, i32const(0), []byte{0x3a, 0, 0})
			case keep:
				code = append(code, 0x3a, 0, 0) // i32.store8
			case len(f.results) > 0:
				code = append(code, 0x1a)
			}
		}
		return code
	}
	refuse := make([]byte, abi.OpSize)
	(&abi.Op{Code: abi.OpReady, Arg: 1, Body: abi.Span{Ptr: callingResults, Len: uint32(len(calls))}}).Put(refuse)
	p := behaved()
	p.imports = append(p.imports, slices.Concat(name(f.module), name(f.name), []byte{0, typeSubject}))
	p.subject = slices.Concat([]byte{0x60}, name(string(f.params)), name(string(f.results)))
	p.exports = [][]byte{
		export("memory", 2, 0), export(abi.ExportHandshake, 0, funcHandshake+1), export(abi.ExportPoll, 0, funcPoll+1),
		export("_initialize", 0, funcInitialize+1),
	}
	p.memories = [][]byte{{0, callingPages}}
	if f.name != "proc_exit" {
		p.initialize = code(false)
	}
	p.poll = slices.Concat(
		i32const(at+64), i32const(16), i32const(at+4096), i32const(abi.MinData), []byte{0x10, funcTake, 0x1a}, code(true),
		i32const(callingRecord), i32const(1), []byte{0x10, funcSubmit, 0x1a})
	p.data = [][]byte{slices.Concat([]byte{0}, i32const(callingRecord), []byte{0x0b}, name(string(refuse)))}
	return p.bytes()
}

// TestHostileArguments calls every import with what lies outside the memory, and then with odd values in every place. Whatever the
// values, the result is a code; nothing traps, but for proc_exit.
func TestHostileArguments(t *testing.T) {
	const ok, badf, fault, inval, nosys = 0, 8, 21, 28, 52 // of WASI
	others := map[string]int{                              // than EBADF: what comes of nothing but bad pointers
		abi.ImportTake: -int(abi.Fault), abi.ImportSubmit: -int(abi.Invalid), abi.ImportRespond: -int(abi.Fault), abi.ImportLog: -int(abi.Fault),
		"args_get": fault, "args_sizes_get": fault, "environ_get": fault, "environ_sizes_get": fault,
		"clock_res_get": inval, "clock_time_get": inval, "poll_oneoff": inval, "random_get": fault,
		"proc_raise": nosys, "sched_yield": ok,
	}
	values := []uint64{0, 1, 2, 100, 4096, at + 4096, callingPages<<16 - 1, callingPages << 16, 1 << 20, 1<<31 - 1, 1 << 31, far, 1<<32 - 1, 1<<63 - 1, 1<<64 - 1}
	e := openEngine(t)
	for _, f := range everyImport(t) {
		t.Run(f.module+"."+f.name, func(t *testing.T) {
			calls := [][]uint64{slices.Repeat([]uint64{far}, len(f.params))}
			for rnd := rand.New(rand.NewPCG(1, 2)); len(calls) < 300; {
				var args []uint64
				whole := false // a call that may well fill the whole memory
				for i := range f.params {
					args = append(args, values[rnd.IntN(len(values))])
					whole = whole || i > 0 && args[i-1] < 4096 && args[i]>>16 == callingPages || i > 0 && args[i-1] < 4096 && args[i] == callingPages<<16-1
				}
				if !whole {
					calls = append(calls, args)
				}
			}
			m, err := e.Compile(t.Context(), calling(f, calls))
			if err != nil {
				t.Fatal(err)
			}
			defer m.Release()
			lines := &countingLog{}
			p, err := m.Start(t.Context(), hostileOptions(lines))
			if err == nil {
				p.Close()
			}
			if f.name == "proc_exit" {
				if err == nil || !strings.Contains(err.Error(), "exit_code(4294967280)") {
					t.Errorf("got %v", err)
				}
				return
			}
			var said *wasm.StartError
			if !errors.As(err, &said) || len(said.Reason) != len(calls) {
				t.Fatalf("got %v", err)
			}
			want, other := others[f.name]
			if !other {
				want = badf
			}
			if got := int(int8(said.Reason[0])); got != want {
				t.Errorf("bad pointers give %d, want %d", got, want)
			}
			for i := range calls {
				got := int(int8(said.Reason[i]))
				switch {
				case f.module == abi.ImportModule && (got < -int(abi.Internal) || got > abi.MaxOps), f.module != abi.ImportModule && (got < 0 || got > 76):
					t.Errorf("%#x give %d, which is no code", calls[i], got)
				case want == badf && got == ok && !strings.Contains("fd_fdstat_get fd_read fd_write", f.name):
					t.Errorf("%#x give success, and a guest has no files", calls[i])
				}
			}
			if n := lines.lines.Load(); n > 1000 {
				t.Errorf("%d lines are in the log", n)
			}
		})
	}
}
