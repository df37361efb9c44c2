package abi

import (
	"encoding/binary"
	"slices"
)

// Field is one name with its value: a header in lower case, or a field of the host's, whose name begins with ':'.
type Field struct{ Name, Value string }

// BlockSize is how many bytes AppendBlock adds for fields.
func BlockSize(fields []Field) int {
	n := 4 + 8*len(fields)
	for _, f := range fields {
		n += len(f.Name) + len(f.Value)
	}
	return n
}

// AppendBlock appends fields to b as a field block. It checks no limit; ParseBlock does.
func AppendBlock(b []byte, fields []Field) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, uint32(len(fields)))
	for _, f := range fields {
		b = le.AppendUint64(b, uint64(len(f.Name))|uint64(len(f.Value))<<32)
	}
	for _, f := range fields {
		b = append(b, f.Name...)
		b = append(b, f.Value...)
	}
	return b
}

// ParseBlock reads a whole field block. The strings share one copy of b. An empty b is a block without fields.
// It gives an *Error with Invalid when b is no block or is over MaxBlock or MaxFields.
func ParseBlock(b []byte) ([]Field, error) { return AppendFields(nil, b) }

// AppendFields is ParseBlock, with the fields behind those of dst. What it returns with an error is nil.
func AppendFields(dst []Field, b []byte) ([]Field, error) {
	if len(b) == 0 {
		return dst, nil
	}
	if len(b) > MaxBlock {
		return nil, &Error{Code: Invalid, Text: "field block over 65536 bytes"}
	}
	if len(b) < 4 {
		return nil, &Error{Code: Invalid, Text: "field block cut off in its count"}
	}
	le := binary.LittleEndian
	count := le.Uint32(b)
	if count > MaxFields {
		return nil, &Error{Code: Invalid, Text: "field block of over 1024 fields"}
	}
	table := b[4:]
	if uint64(len(table)) < 8*uint64(count) {
		return nil, &Error{Code: Invalid, Text: "field block cut off in its table"}
	}
	text := string(table[8*count:])
	dst = slices.Grow(dst, int(count))
	for i := range int(count) {
		lengths := le.Uint64(table[8*i:])
		n, v := lengths&(1<<32-1), lengths>>32
		if n+v > uint64(len(text)) {
			return nil, &Error{Code: Invalid, Text: "field block cut off in its text"}
		}
		dst = append(dst, Field{text[:n], text[n : n+v]})
		text = text[n+v:]
	}
	if text != "" {
		return nil, &Error{Code: Invalid, Text: "field block with bytes behind its last field"}
	}
	return dst, nil
}

// Get is the value of the first field of that name, or "".
func Get(fields []Field, name string) string {
	for i := range fields {
		if fields[i].Name == name {
			return fields[i].Value
		}
	}
	return ""
}
