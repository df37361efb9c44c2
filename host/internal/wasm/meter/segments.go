package meter

import (
	"fmt"

	"github.com/patchbay-run/patchbay/host/internal/wasm/format"
)

// reservedAt describes the use of a name that belongs to the host.
func reservedAt(at int, format string, args ...any) error {
	return fmt.Errorf("%w: byte %#x: %s", ErrReserved, at, fmt.Sprintf(format, args...))
}

// constExpr reads a constant expression and appends it to out with function indices shifted.
func (m *module) constExpr(r *format.Reader, out *[]byte) error {
	start := r.Pos()
	op, value := m.Const(r)
	switch {
	case r.Err() != nil:
	case op == format.OpRefFunc:
		*out = append(format.AppendU32(append(*out, op), m.shifted(uint32(value))), format.OpEnd)
	default:
		*out = append(*out, r.Since(start)...)
	}
	return r.Err()
}

// elementSection shifts the functions in all eight forms of element segments. The form is three bits: 1 is
// passive or declared, 2 an explicit table or declared, 4 expressions in place of function indices.
func (m *module) elementSection(s *section, r *format.Reader) error {
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
	m.Elements = s.count
	return nil
}

func (m *module) elementSegment(s *section, r *format.Reader) (uint32, error) {
	at := r.At()
	form := r.U32()
	if r.Err() == nil && form > 7 {
		return 0, format.Malformed(at, "element segment of form %d", form)
	}
	s.items = format.AppendU32(s.items, form)
	active, explicit, exprs := form&1 == 0, form&2 != 0, form&4 != 0
	if active {
		if explicit {
			s.items = format.AppendU32(s.items, r.U32())
		}
		if err := m.constExpr(r, &s.items); err != nil {
			return 0, err
		}
	}
	if !active || explicit {
		if exprs {
			s.items = append(s.items, format.RefType(r))
		} else if kind := r.U8(); r.Err() == nil {
			if kind != 0 {
				return 0, format.Unsupported(r.At()-1, "element kind %#x", kind)
			}
			s.items = append(s.items, kind)
		}
	}
	n := r.Count()
	if r.Err() != nil {
		return 0, r.Err()
	}
	s.items = format.AppendU32(s.items, n)
	for range n {
		if exprs {
			if err := m.constExpr(r, &s.items); err != nil {
				return 0, err
			}
			continue
		}
		i := m.FuncIndex(r)
		if r.Err() != nil {
			return 0, r.Err()
		}
		s.items = format.AppendU32(s.items, m.shifted(i))
	}
	return n, nil
}

// dataSection keeps the data as it is and notes the length of every segment.
func (m *module) dataSection(s *section, r *format.Reader) error {
	if err := over("data segments", "MaxDataSegments", uint64(s.count), m.opt.MaxDataSegments); err != nil {
		return err
	}
	m.Data, m.dataLens = s.count, make([]uint32, 0, s.count)
	for range s.count {
		at := r.At()
		form := r.U32()
		if r.Err() == nil && form > 2 {
			return format.Malformed(at, "data segment of form %d", form)
		}
		s.items = format.AppendU32(s.items, form)
		if form == 2 {
			if mem := r.U32(); r.Err() == nil && mem != 0 {
				return format.Unsupported(at, "data for memory %d", mem)
			}
			s.items = append(s.items, 0)
		}
		if form != 1 {
			if err := m.constExpr(r, &s.items); err != nil {
				return err
			}
		}
		n := r.U32()
		data := r.Take(n)
		if r.Err() != nil {
			return r.Err()
		}
		s.items = append(format.AppendU32(s.items, n), data...)
		m.dataLens = append(m.dataLens, n)
	}
	return nil
}
