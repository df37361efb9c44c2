package snapshot

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/patchbay-run/patchbay/host/internal/wasm/format"
)

// reserved begins the names of the exports that Prepare adds.
const reserved = "patchbay_snapshot."

// Prepare looks whether a module can be started from a snapshot, and makes the variant that can. The module may be metered; its
// counter is a global as any other. What cannot be is an ErrUnsuitable with the reason, and bytes that are no
// module are format.ErrMalformed or format.ErrUnsupported. It takes time and memory linear in len(module).
func Prepare(module []byte) (*Plan, error) {
	m := &reading{plan: &Plan{}}
	if err := format.Sections(module, m.section); err != nil {
		return nil, err
	}
	switch {
	case m.memories == 0:
		return nil, unsuitable("it has no memory of its own")
	case m.memories > 1:
		return nil, unsuitable("it has %d memories, not one", m.memories)
	case !m.exports:
		return nil, unsuitable("it exports nothing")
	}
	// The code speaks of data segments, which come after it.
	if m.code != nil {
		if err := m.functions(m.code); err != nil {
			return nil, err
		}
	}
	m.assemble()
	return m.plan, nil
}

// reading is a module that is being read.
type reading struct {
	format.Space

	plan     *Plan
	sections []section
	memories uint32
	exports  bool     // it has some
	added    []export // those of the variant
	code     *format.Reader
	passive  []bool // which data segments are
	segments bool   // an instruction names a data segment
}

// section is one to be written again.
type section struct {
	id      byte
	content []byte
}

// export is an entry of the export section.
type export struct {
	name  string
	kind  byte
	index uint32
}

// section reads one section as far as it matters.
func (m *reading) section(id byte, r *format.Reader, _ byte) error {
	m.sections = append(m.sections, section{id, r.Rest()})
	switch id {
	case format.SecType:
		m.Types = r.Count()
	case format.SecImport:
		m.imports(r)
	case format.SecFunction:
		m.Functions += r.Count()
	case format.SecTable:
		m.Tables = r.Count()
	case format.SecMemory:
		m.memories = r.Count()
	case format.SecGlobal:
		m.globals(r)
	case format.SecExport:
		m.exported(r)
	case format.SecStart:
		m.added = append(m.added, export{reserved + "start", format.KindFunc, m.FuncIndex(r)})
		m.plan.Start = reserved + "start"
	case format.SecElement:
		m.Elements = r.Count()
	case format.SecCode:
		m.code = r
	case format.SecData:
		m.data(r)
	}
	return r.Err()
}

// imports allows functions: they are the host's, which keeps nothing for an instance that has not served yet.
func (m *reading) imports(r *format.Reader) {
	for n := r.Count(); n > 0 && r.Err() == nil; n-- {
		from, name := r.Name(), r.Name()
		kind := r.U8()
		if r.Err() == nil && kind != format.KindFunc {
			r.Fail(unsuitable("it imports %s.%s, which is no function", from, name))
			return
		}
		m.TypeIndex(r)
		m.Functions++
	}
}

// globals names the exports of the mutable ones. The others have the same value in every instance.
func (m *reading) globals(r *format.Reader) {
	for n := r.Count(); n > 0 && r.Err() == nil; n-- {
		t, mutable := format.GlobalType(r)
		m.Const(r)
		if mutable {
			if t < format.TypeF64 || t > format.TypeI32 {
				r.Fail(unsuitable("its global %d can change and is no i32, i64, f32 or f64", m.Globals))
				return
			}
			name := reserved + "global." + strconv.FormatUint(uint64(m.Globals), 10)
			m.plan.globals = append(m.plan.globals, name)
			m.added = append(m.added, export{name, format.KindGlobal, m.Globals})
		}
		m.Globals++
	}
}

// exported refuses names that Prepare adds.
func (m *reading) exported(r *format.Reader) {
	for n := r.Count(); n > 0 && r.Err() == nil; n-- {
		name := r.Name()
		r.U8()
		r.U32()
		if strings.HasPrefix(string(name), reserved) {
			r.Fail(unsuitable("it exports %q, a name that belongs to the host", name))
		}
		m.exports = true
	}
}

// data takes active data out.
func (m *reading) data(r *format.Reader) {
	m.Data = r.Count()
	out := format.AppendU32(nil, m.Data)
	for n := m.Data; n > 0 && r.Err() == nil; n-- {
		start, at := r.Pos(), r.At()
		form := r.U32()
		switch {
		case r.Err() != nil:
			return
		case form == 1:
			r.Take(r.U32())
			out = append(out, r.Since(start)...)
			m.passive = append(m.passive, true)
			continue
		case form > 2, form == 2 && r.U32() != 0:
			r.Fail(format.Malformed(at, "data segment of form %d", form))
			return
		}
		op, offset := m.Const(r)
		b := r.Take(r.U32())
		if r.Err() == nil && op != format.OpI32Const {
			r.Fail(unsuitable("the place of its data segment %d is no constant", len(m.passive)))
			return
		}
		m.plan.data = append(m.plan.data, segment{uint32(offset), bytes.Clone(b)})
		m.passive = append(m.passive, false)
		// What is left of it keeps its number, and the engine drops it as it would have dropped the whole.
		out = append(out, 0, format.OpI32Const, 0, format.OpEnd, 0)
	}
	m.sections[len(m.sections)-1].content = out
}

// assemble writes the variant.
func (m *reading) assemble() {
	out := []byte(format.Header)
	for _, s := range m.sections {
		switch s.id {
		case format.SecStart:
			continue
		case format.SecExport:
			s.content = m.withAdded(s.content)
		case format.SecData, format.SecDataCount:
			if !m.segments { // what is left of them has no use
				continue
			}
		}
		out = format.AppendSection(out, s.id, s.content)
	}
	m.plan.Module = out
}

// withAdded is an export section with the added exports at its end.
func (m *reading) withAdded(content []byte) []byte {
	r := format.NewReader(content, 0)
	out := format.AppendU32(nil, r.Count()+uint32(len(m.added)))
	out = append(out, r.Rest()...)
	for _, e := range m.added {
		out = format.AppendU32(append(format.AppendName(out, e.name), e.kind), e.index)
	}
	return out
}
