package format

// AppendU32 appends an unsigned LEB128 number in its shortest form.
func AppendU32(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

// AppendS64 appends a signed LEB128 number in its shortest form.
func AppendS64(b []byte, v int64) []byte {
	for v < -64 || v > 63 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v)&0x7f)
}

// AppendS32 is AppendS64 for the numbers of an i32.const.
func AppendS32(b []byte, v int32) []byte { return AppendS64(b, int64(v)) }

// AppendName appends a length and the bytes of s.
func AppendName(b []byte, s string) []byte { return append(AppendU32(b, uint32(len(s))), s...) }
