package meter

// Opcodes that the rewriter looks at or writes.
const (
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opSelect       = 0x1b
	opSelectTyped  = 0x1c
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opTableGet     = 0x25
	opTableSet     = 0x26
	opLoadFirst    = 0x28
	opStoreLast    = 0x3e
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opI32LtU       = 0x49
	opI32GtU       = 0x4b
	opI32LeU       = 0x4d
	opI64GtU       = 0x56
	opI64GeS       = 0x59
	opI32Add       = 0x6a
	opI32Sub       = 0x6b
	opI64Add       = 0x7c
	opI64Sub       = 0x7d
	opI64Shl       = 0x86
	opI64ShrU      = 0x88
	opI64ExtendU   = 0xad
	opNumericLast  = 0xc4
	opRefNull      = 0xd0
	opRefIsNull    = 0xd1
	opRefFunc      = 0xd2
	opMiscPrefix   = 0xfc
	opVecPrefix    = 0xfd

	miscTruncLast  = 7
	miscMemoryInit = 8
	miscDataDrop   = 9
	miscMemoryCopy = 10
	miscMemoryFill = 11
	miscTableInit  = 12
	miscElemDrop   = 13
	miscTableCopy  = 14
	miscTableGrow  = 15
	miscTableSize  = 16
	miscTableFill  = 17

	vecConst   = 0x0c
	vecShuffle = 0x0d
)

// blockType reads the type of a block: one byte for none or one result, or the index of a function type.
func (m *module) blockType(r *reader) {
	at, start := r.at(), r.pos
	v := r.s64(33)
	switch {
	case r.err != nil:
	case v >= 0:
		if v >= int64(len(m.typeParams)) {
			r.fail(malformedAt(at, "type %d of %d", v, len(m.typeParams)))
		}
	case r.pos != start+1: // a longer way of writing a one-byte type
		r.fail(malformedAt(at, "block type %d in %d bytes", v, r.pos-start))
	default:
		if t := byte(v & 0x7f); t != typeEmpty && !isValueType(t) {
			r.fail(unsupportedAt(at, "block type %#x", t))
		}
	}
}

// memArg reads an alignment and an offset. Bit 6 of the alignment would announce a memory index.
func memArg(r *reader) {
	at := r.at()
	align := r.u32()
	r.u32()
	if r.err != nil {
		return
	}
	if align&(1<<6) != 0 {
		r.fail(unsupportedAt(at, "memory access that names a memory"))
	} else if align >= 32 {
		r.fail(malformedAt(at, "alignment of 2**%d", align))
	}
}

// memIndex reads the index of the only memory, which engines expect in one byte.
func memIndex(r *reader) {
	at := r.at()
	if i := r.u8(); r.err == nil && i != 0 {
		r.fail(unsupportedAt(at, "memory %d", i))
	}
}

// tableIndex reads the index of a table.
func (m *module) tableIndex(r *reader) {
	at := r.at()
	if i := r.u32(); r.err == nil && i >= m.tables {
		r.fail(malformedAt(at, "table %d of %d", i, m.tables))
	}
}

// plain reads the immediates of the opcodes that need no rewriting and do not touch control flow. The opcode
// has been read already; opAt is its offset in the module, and locals how many the function has with its parameters.
func (m *module) plain(r *reader, op byte, opAt int, locals uint32) {
	switch {
	case op <= 0x01, op == opReturn, op == 0x1a || op == 0x1b, op >= 0x45 && op <= opNumericLast, op == opRefIsNull:
		// unreachable, nop, return, drop, select, numeric: nothing follows
	case op >= opLocalGet && op <= opLocalTee:
		// Out of range must stay out of range: the next number is a local of the rewriter.
		if i := r.u32(); r.err == nil && i >= locals {
			r.fail(malformedAt(opAt, "local %d of %d", i, locals))
		}
	case op == opGlobalGet || op == opGlobalSet:
		// The next number is the counter.
		if i := r.u32(); r.err == nil && i >= m.globals {
			r.fail(malformedAt(opAt, "global %d of %d", i, m.globals))
		}
	case op == opTableGet || op == opTableSet:
		m.tableIndex(r)
	case op >= opLoadFirst && op <= opStoreLast:
		memArg(r)
	case op == opMemorySize || op == opMemoryGrow:
		memIndex(r)
	case op == opI32Const:
		r.s64(32)
	case op == opI64Const:
		r.s64(64)
	case op == opF32Const:
		r.take(4)
	case op == opF64Const:
		r.take(8)
	case op == opCallIndirect:
		if _, err := m.typeIndex(r); err != nil {
			r.fail(err)
		}
		m.tableIndex(r)
	case op == opSelectTyped:
		if n := r.u8(); r.err == nil && n != 1 {
			r.fail(unsupportedAt(opAt, "select of %d types", n))
		}
		valueType(r)
	case op == opRefNull:
		refType(r)
	case op == opVecPrefix:
		vector(r, opAt)
	default:
		if r.err == nil {
			r.fail(unsupportedAt(opAt, "opcode %#02x", op))
		}
	}
}

// vector reads a vector instruction. Its number must be in shortest form: engines differ in how they read longer
// ones, and what the rewriter sees must be what runs.
func vector(r *reader, opAt int) {
	start := r.pos
	sub := r.u32()
	if r.err != nil {
		return
	}
	if n := r.pos - start; n > 2 || n == 2 && sub < 0x80 {
		r.fail(unsupportedAt(opAt, "vector opcode %#x in %d bytes", sub, n))
		return
	}
	switch {
	case sub <= 0x0b, sub == 0x5c || sub == 0x5d: // loads, store, load32_zero, load64_zero
		memArg(r)
	case sub == vecConst || sub == vecShuffle:
		r.take(16)
	case sub >= 0x15 && sub <= 0x22: // extract and replace lane
		r.u8()
	case sub >= 0x54 && sub <= 0x5b: // load and store lane
		memArg(r)
		r.u8()
	case sub <= 0xff && !vectorHole(sub):
	default:
		r.fail(unsupportedAt(opAt, "vector opcode %#x", sub))
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
