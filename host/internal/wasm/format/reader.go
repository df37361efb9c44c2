package format

import "unicode/utf8"

// Reader walks over bytes and remembers its first error. After an error every read returns zero and
// does not move, so a caller may read several things and look at err once, but must look before it loops.
type Reader struct {
	b    []byte
	pos  int
	base int // offset of b[0] in the module, for messages
	err  error
}

// NewReader reads b, which begins at byte base of the module.
func NewReader(b []byte, base int) *Reader { return &Reader{b: b, base: base} }

// Err is the first error, or nil.
func (r *Reader) Err() error { return r.err }

// Pos is how many bytes have been read.
func (r *Reader) Pos() int { return r.pos }

// Since is what has been read since Pos was start; the result aliases the input.
func (r *Reader) Since(start int) []byte { return r.b[start:r.pos:r.pos] }

// At is the offset of the next byte in the module.
func (r *Reader) At() int { return r.base + r.pos }

// Left is how many bytes remain.
func (r *Reader) Left() int { return len(r.b) - r.pos }

// Rest is the remaining bytes, without reading them; the result aliases the input.
func (r *Reader) Rest() []byte { return r.b[r.pos:len(r.b):len(r.b)] }

// Fail records the first error.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// U8 reads one byte.
func (r *Reader) U8() byte {
	if r.err != nil {
		return 0
	}
	if r.pos >= len(r.b) {
		r.Fail(Malformed(r.At(), "unexpected end"))
		return 0
	}
	r.pos++
	return r.b[r.pos-1]
}

// Take reads n bytes; the result aliases the input.
func (r *Reader) Take(n uint32) []byte {
	if r.err != nil {
		return nil
	}
	if uint64(n) > uint64(r.Left()) {
		r.Fail(Malformed(r.At(), "%d bytes announced, %d left", n, r.Left()))
		return nil
	}
	r.pos += int(n)
	return r.b[r.pos-int(n) : r.pos : r.pos]
}

// Sub is Take with a reader around it.
func (r *Reader) Sub(n uint32) *Reader {
	at := r.At()
	return NewReader(r.Take(n), at)
}

// U32 reads an unsigned LEB128 number of at most 32 bits in at most 5 bytes; unused bits must be zero.
func (r *Reader) U32() uint32 {
	start := r.At()
	var v uint32
	for shift := 0; shift < 35; shift += 7 {
		b := r.U8()
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
	r.Fail(Malformed(start, "integer over 32 bits"))
	return 0
}

// S64 reads a signed LEB128 number of at most the given number of bits (32, 33 or 64). The unused bits of
// the last byte must repeat the sign.
func (r *Reader) S64(bits int) int64 {
	start := r.At()
	var v int64
	for shift := 0; shift < bits; shift += 7 {
		b := r.U8()
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
	r.Fail(Malformed(start, "signed integer over %d bits", bits))
	return 0
}

// Count reads the length of a vector whose items take at least one byte each, so that a huge length is
// found out before anything is done with it.
func (r *Reader) Count() uint32 {
	start := r.At()
	n := r.U32()
	if r.err == nil && uint64(n) > uint64(r.Left()) {
		r.Fail(Malformed(start, "vector of %d items in %d bytes", n, r.Left()))
		return 0
	}
	return n
}

// Name reads a UTF-8 string; the result aliases the input.
func (r *Reader) Name() []byte {
	b := r.Take(r.U32())
	if r.err == nil && !utf8.Valid(b) {
		r.Fail(Malformed(r.At()-len(b), "name is not UTF-8"))
		return nil
	}
	return b
}

// End reports bytes that nothing has read.
func (r *Reader) End(what string) error {
	if r.err != nil {
		return r.err
	}
	if r.Left() != 0 {
		return Malformed(r.At(), "%d bytes left over in the %s", r.Left(), what)
	}
	return nil
}
