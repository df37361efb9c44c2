package wasm_test

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// hostileModule is one with the load error that must come of it; "" is none.
type hostileModule struct {
	module []byte
	want   string
	late   bool // when its starter has lost patience
}

// Types of the modules below, in the order of their type section.
const (
	typeVoid      = iota // () -> ()
	typeHandshake        // (i32, i32, i64) -> i64
	typeTake             // (i32, i32, i32, i32) -> i32
	typeSubmit           // (i32, i32) -> i32
	typeOther            // (i32) -> i32
	typeSubject          // the one of parts.subject
)

// Functions of the modules below: the imports take and submit come first.
const (
	funcTake = iota
	funcSubmit
	funcHandshake
	funcPoll
	funcInitialize
)

// parts are the sections of a module that behaves; a case changes one.
type parts struct {
	imports, tables, memories, exports, data [][]byte
	types                                    [3]byte // of the handshake, poll and _initialize
	subject                                  []byte  // a type of the case's own
	handshake, poll, initialize              []byte  // their code
	start                                    []byte  // the start section
	rest                                     []byte  // behind everything
}

const at = 1 << 17 // of the READY record; events and data lie below

// behaved takes its configuration and says that it is ready.
func behaved() *parts {
	ready := make([]byte, abi.OpSize)
	(&abi.Op{Code: abi.OpReady}).Put(ready)
	return &parts{
		imports: [][]byte{
			slices.Concat(name(abi.ImportModule), name(abi.ImportTake), []byte{0, typeTake}),
			slices.Concat(name(abi.ImportModule), name(abi.ImportSubmit), []byte{0, typeSubmit}),
		},
		memories: [][]byte{{0, 5}},
		exports: [][]byte{
			export("memory", 2, 0), export(abi.ExportHandshake, 0, funcHandshake), export(abi.ExportPoll, 0, funcPoll),
			export("_initialize", 0, funcInitialize),
		},
		types:     [3]byte{typeHandshake, typeVoid, typeVoid},
		handshake: slices.Concat([]byte{0x42}, sleb(1<<32)),
		poll: slices.Concat(
			i32const(at+64), i32const(16), i32const(at+4096), i32const(abi.MinData), []byte{0x10, funcTake, 0x1a},
			i32const(at), i32const(1), []byte{0x10, funcSubmit, 0x1a}),
		data: [][]byte{slices.Concat([]byte{0}, i32const(at), []byte{0x0b}, name(string(ready)))},
	}
}

func (p *parts) bytes() []byte {
	const i32, i64 = 0x7f, 0x7e
	body := func(code []byte) []byte { return name(string(slices.Concat([]byte{0}, code, []byte{0x0b}))) }
	types := [][]byte{{0x60, 0, 0}, {0x60, 3, i32, i32, i64, 1, i64}, {0x60, 4, i32, i32, i32, i32, 1, i32}, {0x60, 2, i32, i32, 1, i32}, {0x60, 1, i32, 1, i32}}
	if p.subject != nil {
		types = append(types, p.subject)
	}
	m := slices.Concat([]byte("\x00asm\x01\x00\x00\x00"),
		section(1, types...),
		section(2, p.imports...),
		section(3, p.types[:1], p.types[1:2], p.types[2:]),
		section(4, p.tables...),
		section(5, p.memories...),
		section(7, p.exports...))
	if p.start != nil {
		m = slices.Concat(m, []byte{8, byte(len(p.start))}, p.start)
	}
	return slices.Concat(m, section(10, body(p.handshake), body(p.poll), body(p.initialize)), section(11, p.data...), p.rest)
}

func hostileBytes() map[string]hostileModule {
	cases := map[string]hostileModule{}
	add := func(what, want string, change func(p *parts)) {
		p := behaved()
		change(p)
		cases[what] = hostileModule{p.bytes(), want, strings.Contains(want, "deadline")}
	}
	without := func(export string) func(*parts) {
		return func(p *parts) {
			p.exports = slices.DeleteFunc(p.exports, func(b []byte) bool { return strings.Contains(string(b), export) })
		}
	}
	trap, loop := []byte{0x00}, []byte{0x03, 0x40, 0x0c, 0, 0x0b}

	add("behaves", "", func(*parts) {})
	add("without poll", "does not export patchbay_poll", without(abi.ExportPoll))
	add("without handshake", "does not export patchbay_abi", without(abi.ExportHandshake))
	add("without memory", "does not export its memory", without("memory"))
	add("poll of another type", "patchbay_poll is (i32) -> (i32), not () -> ()", func(p *parts) { p.types[1], p.poll = typeOther, i32const(0) })
	add("handshake of another type", "patchbay_abi is () -> (), not (i32, i32, i64) -> (i64)", func(p *parts) { p.types[0], p.handshake = typeVoid, nil })
	add("initialize of another type", "_initialize is (i32) -> (i32)", func(p *parts) { p.types[2], p.initialize = typeOther, i32const(0) })
	add("poll is a memory", "does not export patchbay_poll", func(p *parts) { p.exports[2] = export(abi.ExportPoll, 2, 0) })
	add("a command", "_start", func(p *parts) { p.exports = append(p.exports, export("_start", 0, funcInitialize)) })
	add("start loops", "deadline", func(p *parts) { p.start, p.initialize = []byte{funcInitialize}, loop })
	add("start traps", "unreachable", func(p *parts) { p.start, p.initialize = []byte{funcInitialize}, trap })
	add("poll traps", "unreachable", func(p *parts) { p.poll = trap })
	add("start of another type", "need 3 params", func(p *parts) { p.start, p.exports = []byte{funcHandshake}, p.exports[:3] })
	add("data outside", "data", func(p *parts) {
		p.data = append(p.data, slices.Concat([]byte{0}, i32const(5<<16-1), []byte{0x0b}, name("xy")))
	})
	add("memory over the limit", "limits.memory", func(p *parts) { p.memories[0] = slices.Concat([]byte{0}, uleb(1024)) })
	add("memory of 4 GiB", "MaxMemoryPages", func(p *parts) { p.memories[0] = slices.Concat([]byte{0}, uleb(65536)) })
	add("memory of no size", "memory", func(p *parts) { p.memories[0] = slices.Concat([]byte{0}, uleb(1<<32-1)) })
	add("two memories", "memor", func(p *parts) { p.memories = append(p.memories, []byte{0, 1}) })
	add("memory of 64 bits", "unsupported", func(p *parts) { p.memories[0] = []byte{4, 5} })
	add("imported memory", "imports the memory env.memory", func(p *parts) {
		p.imports = append(p.imports, slices.Concat(name("env"), name("memory"), []byte{2, 0, 1}))
		p.memories = nil
	})
	add("imported table", "imports the table env.table", func(p *parts) {
		p.imports = append(p.imports, slices.Concat(name("env"), name("table"), []byte{1, 0x70, 0, 1}))
	})
	add("imported global", "imports the global patchbay_v1.global", func(p *parts) {
		p.imports = append(p.imports, slices.Concat(name(abi.ImportModule), name("global"), []byte{3, 0x7f, 0}))
	})
	add("table too large", "MaxTable", func(p *parts) { p.tables = [][]byte{slices.Concat([]byte{0x70, 0}, uleb(1<<32-1))} })
	add("tables too many", "MaxTables", func(p *parts) { p.tables = slices.Repeat([][]byte{{0x70, 0, 1}}, 17) })
	// table.grow by 2^20 until it says no. It does at once: the greatest size is clamped.
	add("table bomb", "", func(p *parts) {
		p.tables = [][]byte{{0x70, 0, 0}}
		p.initialize = slices.Concat([]byte{0x03, 0x40, 0xd0, 0x70}, i32const(1<<20), []byte{0xfc, 15, 0}, i32const(-1),
			[]byte{0x47, 0x0d, 0, 0x0b})
	})
	// The same one entry at a time.
	add("table bomb, slowly", "", func(p *parts) {
		p.tables = [][]byte{{0x70, 0, 0}}
		p.initialize = slices.Concat([]byte{0x03, 0x40, 0xd0, 0x70}, i32const(1), []byte{0xfc, 15, 0}, i32const(-1),
			[]byte{0x47, 0x0d, 0, 0x0b})
	})
	add("code of another type", "too many results", func(p *parts) { p.initialize = i32const(1) })
	add("unknown instruction", "unsupported", func(p *parts) { p.initialize = []byte{0xfe, 0, 0} })
	add("tail call", "unsupported", func(p *parts) { p.initialize = []byte{0x12, funcInitialize} })
	add("throw", "unsupported", func(p *parts) { p.initialize = []byte{0x08, 0} })
	add("blocks too deep", "MaxDepth", func(p *parts) {
		p.initialize = slices.Concat(slices.Repeat([]byte{0x02, 0x40}, 30_000), slices.Repeat([]byte{0x0b}, 30_000))
	})
	add("bytes behind its end", "malformed", func(p *parts) { p.rest = []byte{0xff, 0xff, 0xff} })
	whole := behaved().bytes()
	cases["cut off"] = hostileModule{module: whole[:len(whole)-7], want: "malformed"}
	cases["of another version"] = hostileModule{module: append([]byte("\x00asm\x02\x00\x00\x00"), whole[8:]...), want: "not a WebAssembly 1 module"}
	return cases
}

func name(s string) []byte { return append(uleb(uint64(len(s))), s...) }

func uleb(n uint64) []byte { return binary.AppendUvarint(nil, n) }

// sleb is a signed number.
func sleb(n int64) (b []byte) {
	for {
		low := byte(n & 0x7f)
		if n >>= 7; n == 0 && low&0x40 == 0 || n == -1 && low&0x40 != 0 {
			return append(b, low)
		}
		b = append(b, low|0x80)
	}
}

func i32const(n int64) []byte { return append([]byte{0x41}, sleb(n)...) }

func export(s string, kind, index byte) []byte { return append(name(s), kind, index) }

// section is one with its entries, or nothing when it has none.
func section(id byte, entries ...[]byte) []byte {
	if len(entries) == 0 {
		return nil
	}
	content := append(uleb(uint64(len(entries))), slices.Concat(entries...)...)
	return slices.Concat([]byte{id}, uleb(uint64(len(content))), content)
}
