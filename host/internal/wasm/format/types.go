package format

// Value types, and what else stands where a type may stand.
const (
	TypeI32       = 0x7f
	TypeI64       = 0x7e
	TypeF32       = 0x7d
	TypeF64       = 0x7c
	TypeV128      = 0x7b
	TypeFuncref   = 0x70
	TypeExternref = 0x6f
	TypeFunc      = 0x60
	TypeEmpty     = 0x40
)

// Kinds of imports and exports.
const (
	KindFunc = iota
	KindTable
	KindMemory
	KindGlobal
	KindTag
)

// ValueType reads a value type.
func ValueType(r *Reader) byte {
	at := r.At()
	t := r.U8()
	if r.Err() == nil && !isValueType(t) {
		r.Fail(Unsupported(at, "value type %#x", t))
	}
	return t
}

func isValueType(t byte) bool {
	return t >= TypeV128 && t <= TypeI32 || t == TypeFuncref || t == TypeExternref
}

// RefType reads a reference type.
func RefType(r *Reader) byte {
	at := r.At()
	t := r.U8()
	if r.Err() == nil && t != TypeFuncref && t != TypeExternref {
		r.Fail(Unsupported(at, "reference type %#x", t))
	}
	return t
}

// GlobalType reads a value type and a mutability.
func GlobalType(r *Reader) (valueType byte, mutable bool) {
	t := ValueType(r)
	at := r.At()
	mut := r.U8()
	if r.Err() == nil && mut > 1 {
		r.Fail(Malformed(at, "mutability %#x", mut))
	}
	return t, mut == 1
}

// Limits reads a minimum and a maximum, which is the largest number when there is none.
func Limits(r *Reader) (min, max uint32, hasMax bool) {
	at := r.At()
	flag := r.U8()
	switch {
	case r.Err() != nil:
	case flag == 2 || flag == 3:
		r.Fail(Unsupported(at, "shared memory (threads)"))
	case flag >= 4 && flag <= 7:
		r.Fail(Unsupported(at, "64-bit memory or table"))
	case flag > 7:
		r.Fail(Malformed(at, "limits of form %#x", flag))
	}
	min, max, hasMax = r.U32(), ^uint32(0), flag == 1
	if hasMax {
		max = r.U32()
	}
	if r.Err() == nil && max < min {
		r.Fail(Malformed(at, "minimum %d over maximum %d", min, max))
	}
	return min, max, hasMax
}
