package meter

import "github.com/patchbay-run/patchbay/host/internal/wasm/format"

// types checks the type section and keeps it as it is.
func (m *module) types(s *section, r *format.Reader) error {
	if err := over("types", "MaxTypes", uint64(s.count), m.opt.MaxTypes); err != nil {
		return err
	}
	start := r.Pos()
	m.Types, m.typeParams = s.count, make([]uint32, 0, s.count)
	for range s.count {
		at := r.At()
		if form := r.U8(); r.Err() == nil && form != format.TypeFunc {
			return format.Unsupported(at, "type form %#x", form)
		}
		params := m.valueTypes(r, "parameters of one type")
		m.valueTypes(r, "results of one type")
		if r.Err() != nil {
			return r.Err()
		}
		m.typeParams = append(m.typeParams, params)
	}
	s.items = r.Since(start)
	return nil
}

// valueTypes reads a vector of value types and returns its length.
func (m *module) valueTypes(r *format.Reader, what string) uint32 {
	n := r.Count()
	if err := over(what, "MaxParams", uint64(n), m.opt.MaxParams); err != nil {
		r.Fail(err)
		return 0
	}
	for i := uint32(0); i < n && r.Err() == nil; i++ {
		format.ValueType(r)
	}
	return n
}

// importSection checks the imports, counts them by kind and keeps them as they are. Imported tables and
// memories are bounded by whoever offers them.
func (m *module) importSection(s *section, r *format.Reader) error {
	if err := over("imports", "MaxImports", uint64(s.count), m.opt.MaxImports); err != nil {
		return err
	}
	start := r.Pos()
	for range s.count {
		at := r.At()
		imp := Import{Module: readName(r, m.opt.MaxName), Name: readName(r, m.opt.MaxName)}
		kindAt := r.At()
		kind := r.U8()
		if r.Err() != nil {
			return r.Err()
		}
		if m.opt.reserved(imp.Module) {
			return reservedAt(at, "import from %q", imp.Module)
		}
		switch kind {
		case format.KindFunc:
			imp.Kind = "func"
			m.TypeIndex(r)
			m.funcImports++
		case format.KindTable:
			imp.Kind = "table"
			if err := m.table(r, nil); err != nil {
				return err
			}
		case format.KindMemory:
			imp.Kind = "memory"
			m.memoryImported = true
			if err := m.memory(r, nil); err != nil {
				return err
			}
		case format.KindGlobal:
			imp.Kind = "global"
			format.GlobalType(r)
			m.Globals++
		case format.KindTag:
			return format.Unsupported(kindAt, "imported tag (exception handling)")
		default:
			return format.Malformed(kindAt, "unknown kind of import %d", kind)
		}
		if r.Err() != nil {
			return r.Err()
		}
		m.imports = append(m.imports, imp)
	}
	s.items = r.Since(start)
	m.Functions = m.funcImports
	return over("functions", "MaxFunctions", uint64(m.funcImports), m.opt.MaxFunctions)
}

// functionSection keeps the type of every defined function.
func (m *module) functionSection(s *section, r *format.Reader) error {
	if err := over("functions", "MaxFunctions", uint64(m.funcImports)+uint64(s.count), m.opt.MaxFunctions); err != nil {
		return err
	}
	start := r.Pos()
	m.funcTypes = make([]uint32, 0, s.count)
	for range s.count {
		t := m.TypeIndex(r)
		if r.Err() != nil {
			return r.Err()
		}
		m.funcTypes = append(m.funcTypes, t)
	}
	s.items = r.Since(start)
	m.Functions += s.count
	return nil
}

// tableSection clamps every table.
func (m *module) tableSection(s *section, r *format.Reader) error {
	for range s.count {
		if err := m.table(r, &s.items); err != nil {
			return err
		}
	}
	return nil
}

// table reads a table type; a defined one (out is not nil) is clamped and appended to out.
func (m *module) table(r *format.Reader, out *[]byte) error {
	t := format.RefType(r)
	min, max, _ := format.Limits(r)
	if r.Err() != nil {
		return r.Err()
	}
	m.Tables++
	if err := over("tables", "MaxTables", uint64(m.Tables), m.opt.MaxTables); err != nil {
		return err
	}
	if err := over("entries in a table from the start", "MaxTable", uint64(min), m.opt.MaxTable); err != nil {
		return err
	}
	if out != nil {
		*out = appendLimits(append(*out, t), min, clamp(max, m.opt.MaxTable))
	}
	return nil
}

// memorySection clamps the memory.
func (m *module) memorySection(s *section, r *format.Reader) error {
	for range s.count {
		if err := m.memory(r, &s.items); err != nil {
			return err
		}
	}
	return nil
}

// memory reads a memory type; a defined one (out is not nil) is clamped and appended to out.
func (m *module) memory(r *format.Reader, out *[]byte) error {
	at := r.At()
	min, max, hasMax := format.Limits(r)
	if r.Err() != nil {
		return r.Err()
	}
	if m.memories++; m.memories > 1 {
		return format.Unsupported(at, "more than one memory")
	}
	if min > maxPages || hasMax && max > maxPages {
		return format.Malformed(at, "memory over %d pages", maxPages)
	}
	if err := over("pages of memory from the start", "MaxMemoryPages", uint64(min), m.opt.MaxMemoryPages); err != nil {
		return err
	}
	m.memoryMin, m.memoryMax = min, clamp(max, m.opt.MaxMemoryPages)
	if out != nil {
		*out = appendLimits(*out, min, m.memoryMax)
	}
	return nil
}

func clamp(max, limit uint32) uint32 {
	if max > limit {
		return limit
	}
	return max
}

func appendLimits(b []byte, min, max uint32) []byte {
	return format.AppendU32(format.AppendU32(append(b, 1), min), max)
}

// globalSection re-encodes the initial values.
func (m *module) globalSection(s *section, r *format.Reader) error {
	if err := over("globals", "MaxGlobals", uint64(m.Globals)+uint64(s.count), m.opt.MaxGlobals); err != nil {
		return err
	}
	for range s.count {
		start := r.Pos()
		format.GlobalType(r)
		s.items = append(s.items, r.Since(start)...)
		if err := m.constExpr(r, &s.items); err != nil {
			return err
		}
		m.Globals++
	}
	return nil
}

// exportSection shifts the exported functions.
func (m *module) exportSection(s *section, r *format.Reader) error {
	if err := over("exports", "MaxExports", uint64(s.count), m.opt.MaxExports); err != nil {
		return err
	}
	for range s.count {
		at := r.At()
		name := readName(r, m.opt.MaxName)
		kindAt := r.At()
		kind := r.U8()
		if r.Err() != nil {
			return r.Err()
		}
		if m.opt.reserved(name) {
			return reservedAt(at, "export %q", name)
		}
		var bound uint32
		switch kind {
		case format.KindFunc:
			bound = m.Functions
		case format.KindTable:
			bound = m.Tables
		case format.KindMemory:
			bound = m.memories
		case format.KindGlobal:
			bound = m.Globals // an export of the counter would be out of range here
		case format.KindTag:
			return format.Unsupported(kindAt, "exported tag (exception handling)")
		default:
			return format.Malformed(kindAt, "unknown kind of export %d", kind)
		}
		i := r.U32()
		if r.Err() != nil {
			return r.Err()
		}
		if i >= bound {
			return format.Malformed(kindAt, "export %q is number %d of %d", name, i, bound)
		}
		if kind == format.KindFunc {
			i = m.shifted(i)
		}
		s.items = format.AppendU32(append(format.AppendName(s.items, name), kind), i)
	}
	return nil
}

// codeSection cuts the bodies apart. They are read once everything else is known.
func (m *module) codeSection(s *section, r *format.Reader) error {
	if uint64(s.count) != uint64(len(m.funcTypes)) {
		return format.Malformed(r.At(), "%d functions are declared, %d have a body", len(m.funcTypes), s.count)
	}
	m.bodies = make([]body, 0, s.count)
	for range s.count {
		n := r.U32()
		if r.Err() == nil {
			if err := over("bytes in a function", "MaxBodyBytes", uint64(n), m.opt.MaxBodyBytes); err != nil {
				return err
			}
		}
		code := r.Take(n)
		if r.Err() != nil {
			return r.Err()
		}
		m.bodies = append(m.bodies, body{code: code, at: r.At() - len(code)})
	}
	return nil
}
