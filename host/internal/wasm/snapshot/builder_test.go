package snapshot_test

import (
	"slices"

	"github.com/patchbay-run/patchbay/host/internal/wasm/format"
)

// module is the header and the sections.
func module(sections ...[]byte) []byte {
	return append([]byte(format.Header), slices.Concat(sections...)...)
}

// section is a section and its content.
func section(id byte, content ...byte) []byte { return format.AppendSection(nil, id, content) }

// vec is a section that is a vector of encoded items.
func vec(id byte, items ...[]byte) []byte {
	return section(id, append(format.AppendU32(nil, uint32(len(items))), slices.Concat(items...)...)...)
}

// str is a length and the bytes of s.
func str(s string) []byte { return format.AppendName(nil, s) }

// export is an entry of the export section, imp the beginning of one of the import section.
func export(name string, kind, index byte) []byte { return append(str(name), kind, index) }
func imp(kind byte, what ...byte) []byte {
	return slices.Concat(str("env"), str("thing"), []byte{kind}, what)
}

// Types of the functions below.
const (
	sigVoid = iota // () -> ()
	sigGet         // () -> i32
	sigSet         // i32 -> ()
	sigBoth        // i32 -> i32
)

func types() []byte {
	return vec(format.SecType, []byte{0x60, 0, 0}, []byte{0x60, 0, 1, 0x7f}, []byte{0x60, 1, 0x7f, 0}, []byte{0x60, 1, 0x7f, 1, 0x7f})
}

// function is a function of guest.
type function struct {
	name string
	sig  byte
	code []byte // without the last end
}

// guest is a module that exports a memory of one to nine pages and the functions, with more sections where they belong.
func guest(functions []function, sections ...[]byte) []byte {
	exports := [][]byte{export("memory", format.KindMemory, 0)}
	var sigs, bodies [][]byte
	for i, f := range functions {
		exports = append(exports, export(f.name, format.KindFunc, byte(i)))
		sigs = append(sigs, []byte{f.sig})
		body := append(append([]byte{0}, f.code...), format.OpEnd)
		bodies = append(bodies, append(format.AppendU32(nil, uint32(len(body))), body...))
	}
	all := append(slices.Clone(sections), types(), vec(format.SecFunction, sigs...), vec(format.SecMemory, []byte{1, 1, 9}),
		vec(format.SecExport, exports...), vec(format.SecCode, bodies...))
	order := format.SectionOrder()
	slices.SortStableFunc(all, func(a, b []byte) int { return slices.Index(order[:], a[0]) - slices.Index(order[:], b[0]) })
	return module(all...)
}

// load is a function that returns the byte at an address.
func load() function {
	return function{"load", sigBoth, []byte{0x20, 0, 0x2d, 0, 0}} // i32.load8_u
}
