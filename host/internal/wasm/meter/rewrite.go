package meter

import "github.com/patchbay-run/patchbay/host/internal/wasm/format"

// rewriter turns a parsed module into a metered one.
type rewriter struct {
	m         *module
	opt       Options
	scan      scanner
	helpers   []helper
	known     map[helper]uint32 // function indices of helpers
	code      []byte            // all rewritten bodies with their lengths
	loops     int
	bulkSites int
	dropped   []string
	named     bool // a name section has been kept
}

func newRewriter(m *module, opt Options) *rewriter {
	rw := &rewriter{m: m, opt: opt, known: map[helper]uint32{}}
	rw.scan.rw = rw
	return rw
}

// tick is the index of the imported tick function.
func (rw *rewriter) tick() uint32 { return rw.m.funcImports }

// counter is the index of the global that counts down.
func (rw *rewriter) counter() uint32 { return rw.m.Globals }

// bodies rewrites all functions.
func (rw *rewriter) bodies() error {
	var out []byte
	for i, b := range rw.m.bodies {
		var err error
		if out, err = rw.body(out[:0], b, rw.m.typeParams[rw.m.funcTypes[i]]); err != nil {
			return err
		}
		rw.code = append(format.AppendU32(rw.code, uint32(len(out))), out...)
	}
	return nil
}

// body appends the rewritten body b of a function with the given number of parameters to out.
func (rw *rewriter) body(out []byte, b body, params uint32) ([]byte, error) {
	r := format.NewReader(b.code, b.at)
	locals, err := rw.locals(r, params)
	if err != nil {
		return nil, err
	}
	begin := r.Pos()
	cost, err := rw.scan.body(r, locals)
	if err != nil {
		return nil, err
	}
	joins := uint64(locals) * uint64(rw.scan.joins)
	if err := over("locals times joins of branches in a function", "MaxJoins", joins, rw.opt.MaxJoins); err != nil {
		return nil, err
	}
	if frame := frameBytes(uint32(len(b.code)), locals, joins); rw.scan.calls || frame > leafFrame {
		out = rw.enter(declare(out, b.code[:begin]), locals, frame)
	} else {
		out = append(out, b.code[:begin]...)
	}
	if e := rw.scan.edits; b.code[begin] == format.OpLoop && e[0].kind == editLoop && cost <= foldCost {
		// The function is one loop, as the Go compiler writes them: its first iteration pays for the entry.
		e[0].cost += cost
	} else if cost > leafCost || rw.scan.loops {
		out = rw.charge(out, cost)
	}
	return rw.apply(out, b.code, begin), nil
}

// locals reads the declarations of local variables and returns how many the function has with its parameters. A
// group of four billion costs nothing here.
func (rw *rewriter) locals(r *format.Reader, params uint32) (uint32, error) {
	total := uint64(params)
	for n := r.Count(); n > 0 && r.Err() == nil; n-- {
		total += uint64(r.U32())
		format.ValueType(r)
		if err := over("locals in a function", "MaxLocals", total, rw.opt.MaxLocals); err != nil {
			return 0, err
		}
	}
	return uint32(total), r.Err()
}

// apply appends the code from byte from on, with the edits made.
func (rw *rewriter) apply(out, code []byte, from int) []byte {
	for _, e := range rw.scan.edits {
		out = append(out, code[from:e.from]...)
		from = e.to
		switch e.kind {
		case editLoop:
			out = rw.charge(out, e.cost)
		case editIndex:
			out = format.AppendU32(out, e.index)
		case editCall:
			out = format.AppendU32(append(out, format.OpCall), e.index)
		case editPass:
			a := asm{b: out}
			rw.passOn(&a, rw.scan.locals)
			out = a.b
		}
	}
	return append(out, code[from:]...)
}

// charge appends the code that pays a fixed cost.
func (rw *rewriter) charge(out []byte, cost uint64) []byte {
	a := asm{b: out}
	rw.pay(&a, func() { a.i64(int64(dampened(cost))) })
	return a.b
}

// pay appends: if counter >= cost { counter -= cost } else { renew() }, where cost leaves an i64 on the stack.
//
// The counter never falls below zero, so nothing can wrap around, and what cannot be paid leads to a tick. The branch
// that is nearly always taken comes first: wazero's register allocator goes on from its state, so that the call in the
// other one does not push the values of a tight loop out of their registers.
func (rw *rewriter) pay(a *asm, cost func()) {
	a.op(format.OpGlobalGet).u32(rw.counter())
	cost()
	a.op(format.OpI64GeS, format.OpIf, format.TypeEmpty)
	a.op(format.OpGlobalGet).u32(rw.counter())
	cost()
	a.op(format.OpI64Sub, format.OpGlobalSet).u32(rw.counter())
	a.op(format.OpElse, format.OpCall).u32(rw.helper(helperRenew, 0)).op(format.OpEnd)
}
