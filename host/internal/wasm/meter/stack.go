package meter

import "github.com/patchbay-run/patchbay/host/internal/wasm/format"

// The machine stack. A global says how many bytes of it the next function called may take. A function that calls others takes its
// own frame off when it begins, keeps what is left in a local, and writes it to the global before each call. So nothing has to be
// put back when a function returns, by whichever way: its caller has its own number. What is left below zero, the function
// writes down before it traps, so that the host can tell this trap from any other.
//
// A function that calls none of the guest's passes nothing on, and its frame is not counted unless it is large. There is at most
// one such frame at a time.

const (
	// leafFrame is the largest frame, in bytes, of a function without calls that is not counted.
	leafFrame = 4 << 10
	// stackAtStart is what a start function may take, in bytes: it runs before the host can say.
	stackAtStart = 1 << 20

	frameLeast = 80      // return address, frame pointer, saved registers
	frameMost  = 1 << 30 // so that subtracting it from what is left cannot wrap around
)

// frameBytes estimates what a call takes of the machine stack from the bytes of the body, the number of locals, and joins, which is
// locals times places where branches meet.
//
// wazero gives each value that does not stay in a register a slot of its own and uses none twice, so a frame grows with the
// code, faster the more locals compete for registers, and a local may get another slot at each join. The figures are
// fitted to the frames of 9,800 functions that Go, clang, Rust and TinyGo made: 0.57 times the true frame at least, 1.4 times in
// the middle, up to 2.3 times for nine in ten. Code written for it can hide more (RATIONALE.md); the engine's own bound is behind.
func frameBytes(size, locals uint32, joins uint64) uint32 {
	pressure := min(uint64(locals)+4, 16)
	return uint32(min(frameLeast+uint64(size)*pressure/40+joins/8, frameMost))
}

// stackLeft is the index of the global.
func (rw *rewriter) stackLeft() uint32 { return rw.m.Globals + 1 }

// stackGlobal is the name of its export.
func (o Options) stackGlobal() string { return o.Module + ".stack" }

// declare appends a declaration of locals with one of type i32 more. The group of its own gets the next number.
func declare(out, locals []byte) []byte {
	r := format.NewReader(locals, 0)
	out = format.AppendU32(out, r.Count()+1)
	return append(append(out, r.Rest()...), 1, format.TypeI32)
}

// enter appends: left = global - frame; if left >= 0 {} else { global = left; trap }. That way round, the code that nearly always
// goes on comes first; the other costs a call of a small function a twentieth more.
func (rw *rewriter) enter(out []byte, left, frame uint32) []byte {
	a := &asm{b: out}
	a.op(format.OpGlobalGet).u32(rw.stackLeft()).i32(int32(frame)).op(format.OpI32Sub).tee(left)
	a.i32(0).op(format.OpI32GeS, format.OpIf, format.TypeEmpty, format.OpElse)
	rw.passOn(a, left)
	return a.op(format.OpUnreachable, format.OpEnd).b
}

// passOn appends what stands before each call: global = left.
func (rw *rewriter) passOn(a *asm, left uint32) {
	a.get(left).op(format.OpGlobalSet).u32(rw.stackLeft())
}
