package meter

import "github.com/patchbay-run/patchbay/host/internal/wasm/format"

// pieceBytes is the most that one bulk instruction copies or fills between two checks, and
// bytesPerCount how many of its bytes cost one count.
const (
	pieceBytes        = 64 << 10
	bytesPerCountLog2 = 3
	pieceCost         = pieceBytes >> bytesPerCountLog2
)

// helperKind says what an added function does.
type helperKind byte

const (
	helperRenew helperKind = iota // counter = tick()
	helperTable                   // charge the length of a table instruction
	helperFill                    // memory.fill in pieces
	helperCopy                    // memory.copy in pieces
	helperInit                    // memory.init of one segment in pieces
)

// helper is one added function. The added functions come after all others, so they shift nothing.
type helper struct {
	kind helperKind
	seg  uint32 // of helperInit
}

// helper returns the index of the function that does kind, which is added on first use.
func (rw *rewriter) helper(kind helperKind, seg uint32) uint32 {
	key := helper{kind: kind, seg: seg}
	if i, ok := rw.known[key]; ok {
		return i
	}
	i := rw.m.Functions + 1 + uint32(len(rw.helpers))
	rw.known[key] = i
	rw.helpers = append(rw.helpers, key)
	return i
}

// Types of the added functions, in the order in which they are added behind the types of the module.
const (
	sigTick  = iota // () -> i64
	sigVoid         // () -> ()
	sigTable        // i32 -> i32
	sigBulk         // i32 i32 i32 -> ()
	addedTypes
)

// appendSignatures appends the added types.
func appendSignatures(out []byte) []byte {
	out = append(out, format.TypeFunc, 0, 1, format.TypeI64)
	out = append(out, format.TypeFunc, 0, 0)
	out = append(out, format.TypeFunc, 1, format.TypeI32, 1, format.TypeI32)
	return append(out, format.TypeFunc, 3, format.TypeI32, format.TypeI32, format.TypeI32, 0)
}

// signature is the added type that a helper has.
func (h helper) signature() uint32 {
	switch h.kind {
	case helperRenew:
		return sigVoid
	case helperTable:
		return sigTable
	}
	return sigBulk
}

// name is what a stack trace shows for the helper, behind the module name of the meter.
func (h helper) name() string {
	switch h.kind {
	case helperRenew:
		return "renew"
	case helperTable:
		return "table"
	case helperFill:
		return "memory.fill"
	case helperCopy:
		return "memory.copy"
	}
	return "memory.init"
}

// helperBody returns the body of h without its length.
func (rw *rewriter) helperBody(h helper) []byte {
	a := &asm{b: []byte{0}} // no locals beside the parameters
	switch h.kind {
	case helperRenew:
		a.op(format.OpCall).u32(rw.tick()).op(format.OpGlobalSet).u32(rw.counter())
	case helperTable:
		rw.tableBody(a)
	case helperFill:
		rw.fillBody(a)
	case helperCopy:
		rw.copyBody(a)
	case helperInit:
		rw.initBody(a, h.seg)
	}
	return a.op(format.OpEnd).b
}

// tableBody charges the length on top of the stack and leaves it there. Tables are small (Options.MaxTable), so their
// instructions are not cut. A length over any table does no work but trap, or fail to grow, and is charged as the largest.
func (rw *rewriter) tableBody(a *asm) {
	limit := int32(rw.opt.MaxTable)
	rw.pay(a, func() {
		a.get(0).i32(limit).get(0).i32(limit).op(format.OpI32LtU, format.OpSelect, format.OpI64ExtendU)
	})
	a.get(0)
}

// payLength charges the length, which must be at most a piece.
func (rw *rewriter) payLength(a *asm) {
	rw.pay(a, func() { a.get(argLen).op(format.OpI64ExtendU).i64(bytesPerCountLog2).op(format.OpI64ShrU) })
}

// payPiece charges one whole piece.
func (rw *rewriter) payPiece(a *asm) { rw.pay(a, func() { a.i64(pieceCost) }) }

// The parameters of a bulk helper: destination, source or value, length.
const (
	argDst = 0
	argSrc = 1
	argLen = 2
)

// small appends: if len <= piece { charge; do it; return }.
func (rw *rewriter) small(a *asm, do func()) {
	a.get(argLen).i32(pieceBytes).op(format.OpI32LeU, format.OpIf, format.TypeEmpty)
	rw.payLength(a)
	a.get(argDst).get(argSrc).get(argLen)
	do()
	a.op(format.OpReturn, format.OpEnd)
}

// fits appends: if start+len > the number that bound leaves on the stack, do it in one go and return. The original
// instruction then traps with its own message, and before it has written anything, as it would have without pieces. The
// sum and the bound are 64 bits wide, so nothing wraps around.
func (rw *rewriter) fits(a *asm, start uint32, bound, do func()) {
	a.get(start).op(format.OpI64ExtendU).get(argLen).op(format.OpI64ExtendU, format.OpI64Add)
	bound()
	a.op(format.OpI64GtU, format.OpIf, format.TypeEmpty).get(argDst).get(argSrc).get(argLen)
	do()
	a.op(format.OpReturn, format.OpEnd)
}

// memoryBytes appends the size of the memory in bytes, 64 bits wide.
func memoryBytes(a *asm) {
	a.op(format.OpMemorySize, 0, format.OpI64ExtendU).i64(16).op(format.OpI64Shl)
}

// upwards appends: do piece after piece from the lowest address on, then the rest. The source moves with the destination
// unless it is the value of a fill.
func (rw *rewriter) upwards(a *asm, source bool, do func()) {
	a.op(format.OpLoop, format.TypeEmpty)
	rw.payPiece(a)
	a.get(argDst).get(argSrc).i32(pieceBytes)
	do()
	a.get(argDst).i32(pieceBytes).op(format.OpI32Add).set(argDst)
	if source {
		a.get(argSrc).i32(pieceBytes).op(format.OpI32Add).set(argSrc)
	}
	a.get(argLen).i32(pieceBytes).op(format.OpI32Sub).tee(argLen)
	a.i32(pieceBytes).op(format.OpI32GtU, format.OpBrIf, 0, format.OpEnd)
	rw.rest(a, do)
}

// downwards appends: do piece after piece from the highest address on, then the rest.
func (rw *rewriter) downwards(a *asm, do func()) {
	a.op(format.OpLoop, format.TypeEmpty)
	rw.payPiece(a)
	a.get(argLen).i32(pieceBytes).op(format.OpI32Sub).set(argLen)
	a.get(argDst).get(argLen).op(format.OpI32Add).get(argSrc).get(argLen).op(format.OpI32Add).i32(pieceBytes)
	do()
	a.get(argLen).i32(pieceBytes).op(format.OpI32GtU, format.OpBrIf, 0, format.OpEnd)
	rw.rest(a, do)
}

// rest appends: charge and do what is left, at most a piece.
func (rw *rewriter) rest(a *asm, do func()) {
	rw.payLength(a)
	a.get(argDst).get(argSrc).get(argLen)
	do()
}

// fillBody is memory.fill: destination, value, length.
func (rw *rewriter) fillBody(a *asm) {
	do := func() { a.op(format.OpMiscPrefix, format.MiscMemoryFill, 0) }
	rw.small(a, do)
	rw.fits(a, argDst, func() { memoryBytes(a) }, do)
	rw.upwards(a, false, do)
}

// copyBody is memory.copy: destination, source, length. When the ranges overlap, the pieces must go the way that reads
// every byte before it is written over.
func (rw *rewriter) copyBody(a *asm) {
	do := func() { a.op(format.OpMiscPrefix, format.MiscMemoryCopy, 0, 0) }
	rw.small(a, do)
	rw.fits(a, argDst, func() { memoryBytes(a) }, do)
	rw.fits(a, argSrc, func() { memoryBytes(a) }, do)
	a.get(argDst).get(argSrc).op(format.OpI32LeU, format.OpIf, format.TypeEmpty)
	rw.upwards(a, true, do)
	a.op(format.OpElse)
	rw.downwards(a, do)
	a.op(format.OpEnd)
}

// initBody is memory.init of segment seg: destination, offset in the segment, length. A dropped segment has no
// bytes, so that already the first piece traps.
func (rw *rewriter) initBody(a *asm, seg uint32) {
	do := func() { a.op(format.OpMiscPrefix, format.MiscMemoryInit).u32(seg).op(0) }
	rw.small(a, do)
	rw.fits(a, argDst, func() { memoryBytes(a) }, do)
	rw.fits(a, argSrc, func() { a.i64(int64(rw.m.dataLens[seg])) }, do)
	rw.upwards(a, true, do)
}
