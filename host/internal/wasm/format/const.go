package format

import "encoding/binary"

// Const reads a constant expression, one instruction and an end as WebAssembly 2.0 has it. value is the bits of a
// number, sign-extended for an i32, the index that global.get or ref.func names, and zero for the others.
func (s *Space) Const(r *Reader) (op byte, value uint64) {
	at := r.At()
	op = r.U8()
	switch op {
	case OpI32Const:
		value = uint64(r.S64(32))
	case OpI64Const:
		value = uint64(r.S64(64))
	case OpF32Const:
		if b := r.Take(4); b != nil {
			value = uint64(binary.LittleEndian.Uint32(b))
		}
	case OpF64Const:
		if b := r.Take(8); b != nil {
			value = binary.LittleEndian.Uint64(b)
		}
	case OpGlobalGet:
		value = uint64(index(r, "in a constant, global", s.Globals))
	case OpRefNull:
		RefType(r)
	case OpRefFunc:
		value = uint64(s.FuncIndex(r))
	case OpVecPrefix:
		if sub := r.U32(); r.err == nil && sub != vecConst {
			r.Fail(Unsupported(at, "vector instruction %#x in a constant", sub))
		}
		r.Take(16)
	default:
		if r.err == nil {
			r.Fail(Unsupported(at, "instruction %#x in a constant", op))
		}
	}
	endAt := r.At()
	if end := r.U8(); r.err == nil && end != OpEnd {
		r.Fail(Unsupported(endAt, "constant of several instructions"))
	}
	return op, value
}
