package format

// Opcodes that somebody looks at or writes.
const (
	OpUnreachable  = 0x00
	OpBlock        = 0x02
	OpLoop         = 0x03
	OpIf           = 0x04
	OpElse         = 0x05
	OpEnd          = 0x0b
	OpBr           = 0x0c
	OpBrIf         = 0x0d
	OpBrTable      = 0x0e
	OpReturn       = 0x0f
	OpCall         = 0x10
	OpCallIndirect = 0x11
	OpSelect       = 0x1b
	OpSelectTyped  = 0x1c
	OpLocalGet     = 0x20
	OpLocalSet     = 0x21
	OpLocalTee     = 0x22
	OpGlobalGet    = 0x23
	OpGlobalSet    = 0x24
	OpTableGet     = 0x25
	OpTableSet     = 0x26
	OpLoadFirst    = 0x28
	OpStoreLast    = 0x3e
	OpMemorySize   = 0x3f
	OpMemoryGrow   = 0x40
	OpI32Const     = 0x41
	OpI64Const     = 0x42
	OpF32Const     = 0x43
	OpF64Const     = 0x44
	OpI32LtU       = 0x49
	OpI32GtU       = 0x4b
	OpI32LeU       = 0x4d
	OpI32GeS       = 0x4e
	OpI64GtU       = 0x56
	OpI64GeS       = 0x59
	OpI32Add       = 0x6a
	OpI32Sub       = 0x6b
	OpI64Add       = 0x7c
	OpI64Sub       = 0x7d
	OpI64Shl       = 0x86
	OpI64ShrU      = 0x88
	OpI64ExtendU   = 0xad
	opNumericLast  = 0xc4
	OpRefNull      = 0xd0
	OpRefIsNull    = 0xd1
	OpRefFunc      = 0xd2
	OpMiscPrefix   = 0xfc
	OpVecPrefix    = 0xfd

	miscTruncLast  = 7
	MiscMemoryInit = 8
	MiscDataDrop   = 9
	MiscMemoryCopy = 10
	MiscMemoryFill = 11
	MiscTableInit  = 12
	MiscElemDrop   = 13
	MiscTableCopy  = 14
	MiscTableGrow  = 15
	MiscTableSize  = 16
	MiscTableFill  = 17

	vecConst   = 0x0c
	vecShuffle = 0x0d
)

// Space is how many things of each kind a module has, imported and defined: the numbers below are in range.
type Space struct{ Types, Functions, Tables, Globals, Elements, Data uint32 }

// TypeIndex reads the index of a function type.
func (s *Space) TypeIndex(r *Reader) uint32 { return index(r, "type", s.Types) }

// FuncIndex reads the index of a function.
func (s *Space) FuncIndex(r *Reader) uint32 { return index(r, "function", s.Functions) }

// index reads a number below n.
func index(r *Reader, what string, n uint32) uint32 {
	at := r.At()
	i := r.U32()
	if r.Err() == nil && i >= n {
		r.Fail(Malformed(at, "%s %d of %d", what, i, n))
	}
	return i
}

// BlockType reads the type of a block: one byte for none or one result, or the index of a function type.
func (s *Space) BlockType(r *Reader) {
	at, start := r.At(), r.pos
	v := r.S64(33)
	switch {
	case r.Err() != nil:
	case v >= 0:
		if v >= int64(s.Types) {
			r.Fail(Malformed(at, "type %d of %d", v, s.Types))
		}
	case r.pos != start+1: // a longer way of writing a one-byte type
		r.Fail(Malformed(at, "block type %d in %d bytes", v, r.pos-start))
	default:
		if t := byte(v & 0x7f); t != TypeEmpty && !isValueType(t) {
			r.Fail(Unsupported(at, "block type %#x", t))
		}
	}
}

// memArg reads an alignment and an offset. Bit 6 of the alignment would announce a memory index.
func memArg(r *Reader) {
	at := r.At()
	align := r.U32()
	r.U32()
	if r.Err() != nil {
		return
	}
	if align&(1<<6) != 0 {
		r.Fail(Unsupported(at, "memory access that names a memory"))
	} else if align >= 32 {
		r.Fail(Malformed(at, "alignment of 2**%d", align))
	}
}

// memIndex reads the index of the only memory, which engines expect in one byte.
func memIndex(r *Reader) {
	at := r.At()
	if i := r.U8(); r.Err() == nil && i != 0 {
		r.Fail(Unsupported(at, "memory %d", i))
	}
}

// Plain reads the immediates of an opcode that is no branch, opens and closes no block, names no function and has no second
// opcode behind OpMiscPrefix. It has been read already; opAt is its offset in the module, and locals how many the function
// has with its parameters.
func (s *Space) Plain(r *Reader, op byte, opAt int, locals uint32) {
	switch {
	case op <= 0x01, op == OpReturn, op == 0x1a || op == 0x1b, op >= 0x45 && op <= opNumericLast, op == OpRefIsNull:
		// unreachable, nop, return, drop, select, numeric: nothing follows
	case op >= OpLocalGet && op <= OpLocalTee:
		// Out of range must stay out of range: the next number is a local of whoever rewrites it.
		if i := r.U32(); r.Err() == nil && i >= locals {
			r.Fail(Malformed(opAt, "local %d of %d", i, locals))
		}
	case op == OpGlobalGet || op == OpGlobalSet:
		// So is the next number here.
		if i := r.U32(); r.Err() == nil && i >= s.Globals {
			r.Fail(Malformed(opAt, "global %d of %d", i, s.Globals))
		}
	case op == OpTableGet || op == OpTableSet:
		index(r, "table", s.Tables)
	case op >= OpLoadFirst && op <= OpStoreLast:
		memArg(r)
	case op == OpMemorySize || op == OpMemoryGrow:
		memIndex(r)
	case op == OpI32Const:
		r.S64(32)
	case op == OpI64Const:
		r.S64(64)
	case op == OpF32Const:
		r.Take(4)
	case op == OpF64Const:
		r.Take(8)
	case op == OpCallIndirect:
		s.TypeIndex(r)
		index(r, "table", s.Tables)
	case op == OpSelectTyped:
		if n := r.U8(); r.Err() == nil && n != 1 {
			r.Fail(Unsupported(opAt, "select of %d types", n))
		}
		ValueType(r)
	case op == OpRefNull:
		RefType(r)
	case op == OpVecPrefix:
		vector(r, opAt)
	default:
		if r.Err() == nil {
			r.Fail(Unsupported(opAt, "opcode %#02x", op))
		}
	}
}

// Misc reads what follows OpMiscPrefix: the second opcode, which it returns, and its immediates, of which it returns the
// segment or the table that is written to. opAt is the offset of the prefix in the module.
func (s *Space) Misc(r *Reader, opAt int) (sub, target uint32) {
	sub = r.U32()
	if r.Err() != nil {
		return 0, 0
	}
	switch sub {
	case MiscMemoryInit:
		target = index(r, "data segment", s.Data)
		memIndex(r)
	case MiscDataDrop:
		target = index(r, "data segment", s.Data)
	case MiscMemoryCopy:
		memIndex(r)
		memIndex(r)
	case MiscMemoryFill:
		memIndex(r)
	case MiscTableInit:
		index(r, "element segment", s.Elements)
		target = index(r, "table", s.Tables)
	case MiscElemDrop:
		target = index(r, "element segment", s.Elements)
	case MiscTableCopy:
		target = index(r, "table", s.Tables)
		index(r, "table", s.Tables)
	case MiscTableGrow, MiscTableSize, MiscTableFill:
		target = index(r, "table", s.Tables)
	default:
		if sub > miscTruncLast {
			r.Fail(Unsupported(opAt, "opcode 0xfc %#x", sub))
		}
	}
	return sub, target
}

// vector reads a vector instruction. Its number must be in shortest form: engines differ in how they read longer
// ones, and what is seen here must be what runs.
func vector(r *Reader, opAt int) {
	start := r.pos
	sub := r.U32()
	if r.Err() != nil {
		return
	}
	if n := r.pos - start; n > 2 || n == 2 && sub < 0x80 {
		r.Fail(Unsupported(opAt, "vector opcode %#x in %d bytes", sub, n))
		return
	}
	switch {
	case sub <= 0x0b, sub == 0x5c || sub == 0x5d: // loads, store, load32_zero, load64_zero
		memArg(r)
	case sub == vecConst || sub == vecShuffle:
		r.Take(16)
	case sub >= 0x15 && sub <= 0x22: // extract and replace lane
		r.U8()
	case sub >= 0x54 && sub <= 0x5b: // load and store lane
		memArg(r)
		r.U8()
	case sub <= 0xff && !vectorHole(sub):
	default:
		r.Fail(Unsupported(opAt, "vector opcode %#x", sub))
	}
}

// vectorHole says which numbers below 0x100 stand for no instruction.
func vectorHole(sub uint32) bool {
	switch sub {
	case 0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, 0xb2, 0xb3, 0xb4, 0xbb,
		0xc2, 0xc5, 0xc6, 0xcf, 0xd0, 0xd2, 0xd3, 0xd4, 0xe2, 0xee:
		return true
	}
	return false
}
