package meter

import "github.com/patchbay-run/patchbay/host/internal/wasm/format"

// edit is one change to a function body: the bytes from..to are replaced by what kind says, and an edit
// with from == to inserts.
type edit struct {
	from, to int
	kind     editKind
	cost     uint64 // of editLoop
	index    uint32 // of editIndex and editCall
}

type editKind byte

const (
	editNone  editKind = iota // a loop that turned out not to loop
	editLoop                  // insert the charge of a loop
	editIndex                 // replace a function index
	editCall                  // call a helper, in place of a bulk instruction or before it
	editPass                  // insert before a call how much stack is left to it
)

// loop collects the cost of the loop being read; the first entry of the stack is the function itself.
type loop struct {
	cost uint64
	edit int // its place among the edits
}

// block is an open block of the function being read.
type block struct {
	op       byte
	targeted bool // something branches to it
}

// scanner reads one function body and lists the edits. It is used again for the next one.
type scanner struct {
	rw     *rewriter
	edits  []edit
	open   []loop
	blocks []block
	locals uint32 // of the function, with its parameters
	loops  bool   // something in it loops
	calls  bool   // it calls a function of the guest
	joins  uint32 // places where branches meet
}

// body reads the instructions from r to the end of the body and returns the cost of what lies outside loops. The cost is at
// most costGrow for every byte, so a sum cannot overflow.
func (s *scanner) body(r *format.Reader, locals uint32) (uint64, error) {
	s.edits, s.blocks, s.open = s.edits[:0], append(s.blocks[:0], block{}), append(s.open[:0], loop{})
	s.locals, s.loops, s.calls, s.joins = locals, false, false, 0
	for len(s.blocks) > 0 {
		s.instruction(r)
		if r.Err() != nil {
			return 0, r.Err()
		}
	}
	return s.open[0].cost, r.End("function after its last end")
}

// instruction reads one instruction.
func (s *scanner) instruction(r *format.Reader) {
	at, from := r.At(), r.Pos()
	op := r.U8()
	if r.Err() != nil {
		return
	}
	s.spend(costOf(op))
	switch op {
	case format.OpBlock, format.OpLoop, format.OpIf:
		s.begin(r, op)
	case format.OpElse:
		top := &s.blocks[len(s.blocks)-1]
		if top.op != format.OpIf {
			r.Fail(format.Malformed(at, "else without if"))
			return
		}
		top.op = format.OpElse
	case format.OpEnd:
		s.end()
	case format.OpBr, format.OpBrIf:
		s.label(r)
	case format.OpBrTable:
		n := r.Count()
		if err := over("labels in a br_table", "MaxBranchTable", uint64(n), s.rw.m.opt.MaxBranchTable); err != nil {
			r.Fail(err)
			return
		}
		for i := uint64(0); i <= uint64(n) && r.Err() == nil; i++ {
			s.label(r)
		}
	case format.OpCall, format.OpRefFunc:
		i := s.rw.m.FuncIndex(r)
		if r.Err() != nil {
			return
		}
		if op == format.OpCall && i >= s.rw.m.funcImports {
			s.called(from)
		}
		s.edits = append(s.edits, edit{from: from + 1, to: r.Pos(), kind: editIndex, index: s.rw.m.shifted(i)})
	case format.OpCallIndirect:
		s.rw.m.Plain(r, op, at, s.locals)
		s.called(from)
	case format.OpMiscPrefix:
		s.misc(r, from, at)
	default:
		s.rw.m.Plain(r, op, at, s.locals)
	}
}

// spend adds to the innermost loop.
func (s *scanner) spend(cost uint64) { s.open[len(s.open)-1].cost += cost }

// begin opens a block.
func (s *scanner) begin(r *format.Reader, op byte) {
	s.rw.m.BlockType(r)
	s.blocks = append(s.blocks, block{op: op})
	if err := over("nested blocks", "MaxDepth", uint64(len(s.blocks)-1), s.rw.m.opt.MaxDepth); err != nil {
		r.Fail(err)
		return
	}
	if op == format.OpLoop {
		s.open = append(s.open, loop{edit: len(s.edits)})
		s.edits = append(s.edits, edit{from: r.Pos(), to: r.Pos(), kind: editLoop})
	}
}

// end closes a block. A loop that nothing branches to runs once, so its cost goes to what is around it.
func (s *scanner) end() {
	top := s.blocks[len(s.blocks)-1]
	s.blocks = s.blocks[:len(s.blocks)-1]
	if top.targeted || top.op == format.OpIf || top.op == format.OpElse {
		s.joins++
	}
	if top.op != format.OpLoop {
		return
	}
	l := s.open[len(s.open)-1]
	s.open = s.open[:len(s.open)-1]
	if !top.targeted {
		s.edits[l.edit].kind = editNone
		s.spend(l.cost)
		return
	}
	s.edits[l.edit].cost = l.cost
	s.loops = true
	s.rw.loops++
}

// label reads the target of a branch.
func (s *scanner) label(r *format.Reader) {
	at := r.At()
	l := r.U32()
	if r.Err() != nil {
		return
	}
	if uint64(l) >= uint64(len(s.blocks)) {
		r.Fail(format.Malformed(at, "branch out of %d blocks, %d are open", l, len(s.blocks)))
		return
	}
	s.blocks[len(s.blocks)-1-int(l)].targeted = true
}

// misc reads an instruction behind the 0xfc prefix; from is its place in the body, at in the module.
func (s *scanner) misc(r *format.Reader, from, at int) {
	m := s.rw.m
	sub, target := m.Misc(r, at)
	if r.Err() != nil {
		return
	}
	switch sub {
	case format.MiscMemoryInit:
		// The segment bounds the length, so a short one is paid in advance.
		if n := m.dataLens[target]; n <= pieceBytes {
			s.spend(uint64(n) >> bytesPerCountLog2)
		} else {
			s.replace(r, from, s.rw.helper(helperInit, target))
		}
	case format.MiscMemoryCopy:
		s.replace(r, from, s.rw.helper(helperCopy, 0))
	case format.MiscMemoryFill:
		s.replace(r, from, s.rw.helper(helperFill, 0))
	case format.MiscTableInit, format.MiscTableCopy, format.MiscTableGrow, format.MiscTableFill:
		s.charge(from)
	}
}

// replace turns the instruction just read into a call of a helper that takes the same operands.
func (s *scanner) replace(r *format.Reader, from int, helper uint32) {
	s.bulk()
	s.edits = append(s.edits, edit{from: from, to: r.Pos(), kind: editCall, index: helper})
}

// charge puts a call before the instruction at from, which charges the number on top of the stack, the length.
func (s *scanner) charge(from int) {
	s.bulk()
	s.edits = append(s.edits, edit{from: from, to: from, kind: editCall, index: s.rw.helper(helperTable, 0)})
}

// called notes the call of a function of the guest at from.
func (s *scanner) called(from int) {
	s.calls = true
	s.edits = append(s.edits, edit{from: from, to: from, kind: editPass})
}

func (s *scanner) bulk() {
	s.rw.bulkSites++
	s.spend(costCall)
}
