package snapshot

import "github.com/patchbay-run/patchbay/host/internal/wasm/format"

// functions reads all bodies for what an image would lose: tables are not part of it, nor is it seen from outside which data
// segments have been dropped. Tables are as the element segments make them as long as nothing writes to them.
func (m *reading) functions(r *format.Reader) error {
	for n := r.Count(); n > 0 && r.Err() == nil; n-- {
		body := r.Sub(r.U32())
		for k := body.Count(); k > 0 && body.Err() == nil; k-- {
			body.U32() // locals of one type
			format.ValueType(body)
		}
		for body.Left() > 0 && body.Err() == nil {
			m.instruction(body)
		}
		r.Fail(body.Err())
	}
	return r.Err()
}

// instruction reads one instruction.
func (m *reading) instruction(r *format.Reader) {
	at := r.At()
	switch op := r.U8(); op {
	case format.OpBlock, format.OpLoop, format.OpIf:
		m.BlockType(r)
	case format.OpElse, format.OpEnd:
	case format.OpBr, format.OpBrIf:
		r.U32()
	case format.OpBrTable:
		for n := uint64(r.Count()) + 1; n > 0 && r.Err() == nil; n-- {
			r.U32()
		}
	case format.OpCall, format.OpRefFunc:
		m.FuncIndex(r)
	case format.OpTableSet:
		r.Fail(changesTable("table.set", at))
	case format.OpMiscPrefix:
		m.misc(r, at)
	default:
		const anyLocal = 1<<32 - 1 // the engine checks
		m.Plain(r, op, at, anyLocal)
	}
}

// misc reads an instruction behind the 0xfc prefix, which stands at byte at.
func (m *reading) misc(r *format.Reader, at int) {
	sub, target := m.Misc(r, at)
	if r.Err() != nil {
		return
	}
	switch sub {
	case format.MiscMemoryInit:
		m.segments = true
	case format.MiscDataDrop:
		m.segments = true
		if m.passive[target] {
			r.Fail(unsuitable("it drops its data segment %d (data.drop at byte %#x), and whether it has cannot be seen", target, at))
		}
	case format.MiscTableInit:
		r.Fail(changesTable("table.init", at))
	case format.MiscTableCopy:
		r.Fail(changesTable("table.copy", at))
	case format.MiscTableGrow:
		r.Fail(changesTable("table.grow", at))
	case format.MiscTableFill:
		r.Fail(changesTable("table.fill", at))
	}
	// elem.drop shows in table.init alone.
}

func changesTable(instruction string, at int) error {
	return unsuitable("it changes a table (%s at byte %#x), and an image has no tables", instruction, at)
}
