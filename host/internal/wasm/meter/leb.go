package meter

import "unicode/utf8"

// reader walks over bytes and remembers its first error. After an error every read returns zero and
// does not move, so a caller may read several things and look at err once, but must look before it loops.
type reader struct {
	b    []byte
	pos  int
	base int // offset of b[0] in the module, for messages
	err  error
}

// at is the offset of the next byte in the module.
func (r *reader) at() int { return r.base + r.pos }

// left is how many bytes remain.
func (r *reader) left() int { return len(r.b) - r.pos }

// fail records the first error.
func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// u8 reads one byte.
func (r *reader) u8() byte {
	if r.err != nil {
		return 0
	}
	if r.pos >= len(r.b) {
		r.fail(malformedAt(r.at(), "unexpected end"))
		return 0
	}
	r.pos++
	return r.b[r.pos-1]
}

// take reads n bytes; the result aliases the input.
func (r *reader) take(n uint32) []byte {
	if r.err != nil {
		return nil
	}
	if uint64(n) > uint64(r.left()) {
		r.fail(malformedAt(r.at(), "%d bytes announced, %d left", n, r.left()))
		return nil
	}
	r.pos += int(n)
	return r.b[r.pos-int(n) : r.pos : r.pos]
}

// u32 reads an unsigned LEB128 number of at most 32 bits in at most 5 bytes; unused bits must be zero.
func (r *reader) u32() uint32 {
	start := r.at()
	var v uint32
	for shift := 0; shift < 35; shift += 7 {
		b := r.u8()
		if r.err != nil {
			return 0
		}
		if shift == 28 && b > 0x0f {
			break
		}
		v |= uint32(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
	r.fail(malformedAt(start, "integer over 32 bits"))
	return 0
}

// s64 reads a signed LEB128 number of at most the given number of bits (32, 33 or 64). The unused bits of
// the last byte must repeat the sign.
func (r *reader) s64(bits int) int64 {
	start := r.at()
	var v int64
	for shift := 0; shift < bits; shift += 7 {
		b := r.u8()
		if r.err != nil {
			return 0
		}
		if used := bits - shift; used < 7 {
			// The bits from the sign bit up must be all zeros or all ones, and nothing may follow.
			top := int8(b<<1) >> used
			if b >= 0x80 || (top != 0 && top != -1) {
				break
			}
		}
		v |= int64(b&0x7f) << shift
		if b < 0x80 {
			if shift+7 < 64 && b&0x40 != 0 {
				v |= -1 << (shift + 7)
			}
			return v
		}
	}
	r.fail(malformedAt(start, "signed integer over %d bits", bits))
	return 0
}

// count reads the length of a vector whose items take at least one byte each, so that a huge length is
// found out before anything is done with it.
func (r *reader) count() uint32 {
	start := r.at()
	n := r.u32()
	if r.err == nil && uint64(n) > uint64(r.left()) {
		r.fail(malformedAt(start, "vector of %d items in %d bytes", n, r.left()))
		return 0
	}
	return n
}

// name reads a UTF-8 string of at most max bytes.
func (r *reader) name(max uint32) string {
	n := r.u32()
	if r.err == nil {
		if err := over("bytes in a name", "MaxName", uint64(n), max); err != nil {
			r.fail(err)
		}
	}
	b := r.take(n)
	if r.err == nil && !utf8.Valid(b) {
		r.fail(malformedAt(r.at()-len(b), "name is not UTF-8"))
		return ""
	}
	return string(b)
}

// end reports bytes that nothing has read.
func (r *reader) end(what string) error {
	if r.err != nil {
		return r.err
	}
	if r.left() != 0 {
		return malformedAt(r.at(), "%d bytes left over in the %s", r.left(), what)
	}
	return nil
}

// appendU32 appends an unsigned LEB128 number in its shortest form.
func appendU32(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

// appendS64 appends a signed LEB128 number in its shortest form.
func appendS64(b []byte, v int64) []byte {
	for v < -64 || v > 63 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v)&0x7f)
}

// appendS32 is appendS64 for the numbers of an i32.const.
func appendS32(b []byte, v int32) []byte { return appendS64(b, int64(v)) }

// appendName appends a length and the bytes of s.
func appendName(b []byte, s string) []byte { return append(appendU32(b, uint32(len(s))), s...) }
