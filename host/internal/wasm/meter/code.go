package meter

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
}

// body reads the instructions from r to the end of the body and returns the cost of what lies outside loops. The cost is at
// most costGrow for every byte, so a sum cannot overflow.
func (s *scanner) body(r *reader, locals uint32) (uint64, error) {
	s.edits, s.blocks, s.open = s.edits[:0], append(s.blocks[:0], block{}), append(s.open[:0], loop{})
	s.locals, s.loops = locals, false
	for len(s.blocks) > 0 {
		s.instruction(r)
		if r.err != nil {
			return 0, r.err
		}
	}
	return s.open[0].cost, r.end("function after its last end")
}

// instruction reads one instruction.
func (s *scanner) instruction(r *reader) {
	at, from := r.at(), r.pos
	op := r.u8()
	if r.err != nil {
		return
	}
	s.spend(costOf(op))
	switch op {
	case opBlock, opLoop, opIf:
		s.begin(r, op)
	case opElse:
		top := &s.blocks[len(s.blocks)-1]
		if top.op != opIf {
			r.fail(malformedAt(at, "else without if"))
			return
		}
		top.op = opElse
	case opEnd:
		s.end()
	case opBr, opBrIf:
		s.label(r)
	case opBrTable:
		n := r.count()
		if err := over("labels in a br_table", "MaxBranchTable", uint64(n), s.rw.m.opt.MaxBranchTable); err != nil {
			r.fail(err)
			return
		}
		for i := uint64(0); i <= uint64(n) && r.err == nil; i++ {
			s.label(r)
		}
	case opCall, opRefFunc:
		i, err := s.rw.m.funcIndex(r)
		if err != nil {
			r.fail(err)
			return
		}
		s.edits = append(s.edits, edit{from: from + 1, to: r.pos, kind: editIndex, index: i})
	case opMiscPrefix:
		s.misc(r, from, at)
	default:
		s.rw.m.plain(r, op, at, s.locals)
	}
}

// spend adds to the innermost loop.
func (s *scanner) spend(cost uint64) { s.open[len(s.open)-1].cost += cost }

// begin opens a block.
func (s *scanner) begin(r *reader, op byte) {
	s.rw.m.blockType(r)
	s.blocks = append(s.blocks, block{op: op})
	if err := over("nested blocks", "MaxDepth", uint64(len(s.blocks)-1), s.rw.m.opt.MaxDepth); err != nil {
		r.fail(err)
		return
	}
	if op == opLoop {
		s.open = append(s.open, loop{edit: len(s.edits)})
		s.edits = append(s.edits, edit{from: r.pos, to: r.pos, kind: editLoop})
	}
}

// end closes a block. A loop that nothing branches to runs once, so its cost goes to what is around it.
func (s *scanner) end() {
	top := s.blocks[len(s.blocks)-1]
	s.blocks = s.blocks[:len(s.blocks)-1]
	if top.op != opLoop {
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
func (s *scanner) label(r *reader) {
	at := r.at()
	l := r.u32()
	if r.err != nil {
		return
	}
	if uint64(l) >= uint64(len(s.blocks)) {
		r.fail(malformedAt(at, "branch out of %d blocks, %d are open", l, len(s.blocks)))
		return
	}
	s.blocks[len(s.blocks)-1-int(l)].targeted = true
}

// misc reads an instruction behind the 0xfc prefix; from is its place in the body, at in the module.
func (s *scanner) misc(r *reader, from, at int) {
	m := s.rw.m
	sub := r.u32()
	if r.err != nil {
		return
	}
	switch sub {
	case miscMemoryInit:
		seg := r.u32()
		memIndex(r)
		if r.err == nil && uint64(seg) >= uint64(len(m.dataLens)) {
			r.fail(malformedAt(at, "data segment %d of %d", seg, len(m.dataLens)))
		}
		if r.err != nil {
			return
		}
		// The segment bounds the length, so a short one is paid in advance.
		if n := m.dataLens[seg]; n <= pieceBytes {
			s.spend(uint64(n) >> bytesPerCountLog2)
		} else {
			s.replace(r, from, s.rw.helper(helperInit, seg))
		}
	case miscDataDrop:
		r.u32()
	case miscMemoryCopy:
		memIndex(r)
		memIndex(r)
		s.replace(r, from, s.rw.helper(helperCopy, 0))
	case miscMemoryFill:
		memIndex(r)
		s.replace(r, from, s.rw.helper(helperFill, 0))
	case miscTableInit:
		if i := r.u32(); r.err == nil && i >= m.elements {
			r.fail(malformedAt(at, "element segment %d of %d", i, m.elements))
		}
		m.tableIndex(r)
		s.charge(from)
	case miscElemDrop:
		r.u32()
	case miscTableCopy:
		m.tableIndex(r)
		m.tableIndex(r)
		s.charge(from)
	case miscTableGrow, miscTableFill:
		m.tableIndex(r)
		s.charge(from)
	case miscTableSize:
		m.tableIndex(r)
	default:
		if sub > miscTruncLast {
			r.fail(unsupportedAt(at, "opcode 0xfc %#x", sub))
		}
	}
}

// replace turns the instruction just read into a call of a helper that takes the same operands.
func (s *scanner) replace(r *reader, from int, helper uint32) {
	s.bulk()
	s.edits = append(s.edits, edit{from: from, to: r.pos, kind: editCall, index: helper})
}

// charge puts a call before the instruction at from, which charges the number on top of the stack, the length.
func (s *scanner) charge(from int) {
	s.bulk()
	s.edits = append(s.edits, edit{from: from, to: from, kind: editCall, index: s.rw.helper(helperTable, 0)})
}

func (s *scanner) bulk() {
	s.rw.bulkSites++
	s.spend(costCall)
}
