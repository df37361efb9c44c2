package meter_test

import (
	"encoding/binary"
	"slices"
)

// section is a section of a module under test: its number and its content.
func section(id byte, content ...byte) []byte {
	return append(uleb([]byte{id}, len(content)), content...)
}

// vec is a vector of encoded items.
func vec(items ...[]byte) []byte { return append(uleb(nil, len(items)), slices.Concat(items...)...) }

// str is a length and the bytes of s.
func str(s string) []byte { return append(uleb(nil, len(s)), s...) }

// uleb appends an unsigned number.
func uleb(b []byte, n int) []byte { return binary.AppendUvarint(b, uint64(n)) }

// module is the header and the sections.
func module(sections ...[]byte) []byte {
	return append([]byte("\x00asm\x01\x00\x00\x00"), slices.Concat(sections...)...)
}

// fn is a function body: the locals of type i32 it declares and its code without the last end.
func fn(locals int, code ...byte) []byte {
	b := []byte{0}
	if locals > 0 {
		b = append(uleb([]byte{1}, locals), 0x7f)
	}
	b = append(append(b, code...), 0x0b)
	return append(uleb(nil, len(b)), b...)
}

// export is an entry of the export section.
func export(name string, kind, index byte) []byte { return append(str(name), kind, index) }

// emptyLoop exports empty(n), which counts down to zero.
func emptyLoop() []byte {
	return module(
		section(1, vec([]byte{0x60, 1, 0x7f, 0})...),
		section(3, vec([]byte{0})...),
		section(7, vec(export("empty", 0, 0))...),
		section(10, vec(fn(0, 0x03, 0x40, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b))...),
	)
}
