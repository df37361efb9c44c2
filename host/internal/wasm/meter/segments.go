package meter

import "fmt"

// reservedAt describes the use of a name that belongs to the host.
func reservedAt(at int, format string, args ...any) error {
	return fmt.Errorf("%w: byte %#x: %s", ErrReserved, at, fmt.Sprintf(format, args...))
}

// constExpr reads a constant expression, one instruction and an end as WebAssembly 2.0 has it, and appends
// it to out with function indices shifted.
func (m *module) constExpr(r *reader, out *[]byte) error {
	start, at := r.pos, r.at()
	op := r.u8()
	switch op {
	case opI32Const:
		r.s64(32)
	case opI64Const:
		r.s64(64)
	case opF32Const:
		r.take(4)
	case opF64Const:
		r.take(8)
	case opGlobalGet:
		if i := r.u32(); r.err == nil && i >= m.globals {
			return malformedAt(at, "global %d of %d in a constant", i, m.globals)
		}
	case opRefNull:
		refType(r)
	case opRefFunc:
		i, err := m.funcIndex(r)
		if err != nil {
			return err
		}
		*out = appendU32(append(*out, op), i)
		start = r.pos
	case opVecPrefix:
		if sub := r.u32(); r.err == nil && sub != vecConst {
			return unsupportedAt(at, "vector instruction %#x in a constant", sub)
		}
		r.take(16)
	default:
		if r.err == nil {
			return unsupportedAt(at, "instruction %#x in a constant", op)
		}
	}
	endAt := r.at()
	if end := r.u8(); r.err == nil && end != opEnd {
		return unsupportedAt(endAt, "constant of several instructions")
	}
	if r.err != nil {
		return r.err
	}
	*out = append(*out, r.b[start:r.pos]...)
	return nil
}

// elementSection shifts the functions in all eight forms of element segments. The form is three bits: 1 is
// passive or declared, 2 an explicit table or declared, 4 expressions in place of function indices.
func (m *module) elementSection(s *section, r *reader) error {
	if err := over("element segments", "MaxElementSegments", uint64(s.count), m.opt.MaxElementSegments); err != nil {
		return err
	}
	var total uint64
	for range s.count {
		n, err := m.elementSegment(s, r)
		if err != nil {
			return err
		}
		total += uint64(n)
		if err := over("entries in element segments", "MaxElements", total, m.opt.MaxElements); err != nil {
			return err
		}
	}
	m.elements = s.count
	return nil
}

func (m *module) elementSegment(s *section, r *reader) (uint32, error) {
	at := r.at()
	form := r.u32()
	if r.err == nil && form > 7 {
		return 0, malformedAt(at, "element segment of form %d", form)
	}
	s.items = appendU32(s.items, form)
	active, explicit, exprs := form&1 == 0, form&2 != 0, form&4 != 0
	if active {
		if explicit {
			s.items = appendU32(s.items, r.u32())
		}
		if err := m.constExpr(r, &s.items); err != nil {
			return 0, err
		}
	}
	if !active || explicit {
		if exprs {
			s.items = append(s.items, refType(r))
		} else if kind := r.u8(); r.err == nil {
			if kind != 0 {
				return 0, unsupportedAt(r.at()-1, "element kind %#x", kind)
			}
			s.items = append(s.items, kind)
		}
	}
	n := r.count()
	if r.err != nil {
		return 0, r.err
	}
	s.items = appendU32(s.items, n)
	for range n {
		if exprs {
			if err := m.constExpr(r, &s.items); err != nil {
				return 0, err
			}
			continue
		}
		i, err := m.funcIndex(r)
		if err != nil {
			return 0, err
		}
		s.items = appendU32(s.items, i)
	}
	return n, nil
}

// dataSection keeps the data as it is and notes the length of every segment.
func (m *module) dataSection(s *section, r *reader) error {
	if err := over("data segments", "MaxDataSegments", uint64(s.count), m.opt.MaxDataSegments); err != nil {
		return err
	}
	m.dataLens = make([]uint32, 0, s.count)
	for range s.count {
		at := r.at()
		form := r.u32()
		if r.err == nil && form > 2 {
			return malformedAt(at, "data segment of form %d", form)
		}
		s.items = appendU32(s.items, form)
		if form == 2 {
			if mem := r.u32(); r.err == nil && mem != 0 {
				return unsupportedAt(at, "data for memory %d", mem)
			}
			s.items = append(s.items, 0)
		}
		if form != 1 {
			if err := m.constExpr(r, &s.items); err != nil {
				return err
			}
		}
		n := r.u32()
		data := r.take(n)
		if r.err != nil {
			return r.err
		}
		s.items = append(appendU32(s.items, n), data...)
		m.dataLens = append(m.dataLens, n)
	}
	return nil
}
