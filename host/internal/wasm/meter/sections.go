package meter

// Value types of WebAssembly 2.0.
const (
	typeI32       = 0x7f
	typeI64       = 0x7e
	typeV128      = 0x7b
	typeFuncref   = 0x70
	typeExternref = 0x6f
	typeFunc      = 0x60
	typeEmpty     = 0x40
)

// valueType reads a value type.
func valueType(r *reader) {
	at := r.at()
	t := r.u8()
	if r.err == nil && !isValueType(t) {
		r.fail(unsupportedAt(at, "value type %#x", t))
	}
}

func isValueType(t byte) bool {
	return t >= typeV128 && t <= typeI32 || t == typeFuncref || t == typeExternref
}

// refType reads a reference type.
func refType(r *reader) byte {
	at := r.at()
	t := r.u8()
	if r.err == nil && t != typeFuncref && t != typeExternref {
		r.fail(unsupportedAt(at, "reference type %#x", t))
	}
	return t
}

// types checks the type section and keeps it as it is.
func (m *module) types(s *section, r *reader) error {
	if err := over("types", "MaxTypes", uint64(s.count), m.opt.MaxTypes); err != nil {
		return err
	}
	start := r.pos
	m.typeParams = make([]uint32, 0, s.count)
	for range s.count {
		at := r.at()
		if form := r.u8(); r.err == nil && form != typeFunc {
			return unsupportedAt(at, "type form %#x", form)
		}
		params := m.valueTypes(r, "parameters of one type")
		m.valueTypes(r, "results of one type")
		if r.err != nil {
			return r.err
		}
		m.typeParams = append(m.typeParams, params)
	}
	s.items = r.b[start:r.pos]
	return nil
}

// valueTypes reads a vector of value types and returns its length.
func (m *module) valueTypes(r *reader, what string) uint32 {
	n := r.count()
	if err := over(what, "MaxParams", uint64(n), m.opt.MaxParams); err != nil {
		r.fail(err)
		return 0
	}
	for i := uint32(0); i < n && r.err == nil; i++ {
		valueType(r)
	}
	return n
}

// importSection checks the imports, counts them by kind and keeps them as they are. Imported tables and
// memories are bounded by whoever offers them.
func (m *module) importSection(s *section, r *reader) error {
	if err := over("imports", "MaxImports", uint64(s.count), m.opt.MaxImports); err != nil {
		return err
	}
	start := r.pos
	for range s.count {
		at := r.at()
		imp := Import{Module: r.name(m.opt.MaxName), Name: r.name(m.opt.MaxName)}
		kindAt := r.at()
		kind := r.u8()
		if r.err != nil {
			return r.err
		}
		if m.opt.reserved(imp.Module) {
			return reservedAt(at, "import from %q", imp.Module)
		}
		switch kind {
		case 0:
			imp.Kind = "func"
			if _, err := m.typeIndex(r); err != nil {
				return err
			}
			m.funcImports++
		case 1:
			imp.Kind = "table"
			if err := m.table(r, nil); err != nil {
				return err
			}
		case 2:
			imp.Kind = "memory"
			m.memoryImported = true
			if err := m.memory(r, nil); err != nil {
				return err
			}
		case 3:
			imp.Kind = "global"
			globalType(r)
			m.globals++
		case 4:
			return unsupportedAt(kindAt, "imported tag (exception handling)")
		default:
			return malformedAt(kindAt, "unknown kind of import %d", kind)
		}
		if r.err != nil {
			return r.err
		}
		m.imports = append(m.imports, imp)
	}
	s.items = r.b[start:r.pos]
	return over("functions", "MaxFunctions", uint64(m.funcImports), m.opt.MaxFunctions)
}

// typeIndex reads the index of a function type.
func (m *module) typeIndex(r *reader) (uint32, error) {
	at := r.at()
	i := r.u32()
	if r.err != nil {
		return 0, r.err
	}
	if uint64(i) >= uint64(len(m.typeParams)) {
		return 0, malformedAt(at, "type %d of %d", i, len(m.typeParams))
	}
	return i, nil
}

// functionSection keeps the type of every defined function.
func (m *module) functionSection(s *section, r *reader) error {
	if err := over("functions", "MaxFunctions", uint64(m.funcImports)+uint64(s.count), m.opt.MaxFunctions); err != nil {
		return err
	}
	start := r.pos
	m.funcTypes = make([]uint32, 0, s.count)
	for range s.count {
		t, err := m.typeIndex(r)
		if err != nil {
			return err
		}
		m.funcTypes = append(m.funcTypes, t)
	}
	s.items = r.b[start:r.pos]
	return nil
}

// tableSection clamps every table.
func (m *module) tableSection(s *section, r *reader) error {
	for range s.count {
		if err := m.table(r, &s.items); err != nil {
			return err
		}
	}
	return nil
}

// table reads a table type; a defined one (out is not nil) is clamped and appended to out.
func (m *module) table(r *reader, out *[]byte) error {
	t := refType(r)
	min, max, _, err := limits(r)
	if err != nil {
		return err
	}
	m.tables++
	if err := over("tables", "MaxTables", uint64(m.tables), m.opt.MaxTables); err != nil {
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
func (m *module) memorySection(s *section, r *reader) error {
	for range s.count {
		if err := m.memory(r, &s.items); err != nil {
			return err
		}
	}
	return nil
}

// memory reads a memory type; a defined one (out is not nil) is clamped and appended to out.
func (m *module) memory(r *reader, out *[]byte) error {
	at := r.at()
	min, max, hasMax, err := limits(r)
	if err != nil {
		return err
	}
	if m.memories++; m.memories > 1 {
		return unsupportedAt(at, "more than one memory")
	}
	if min > maxPages || hasMax && max > maxPages {
		return malformedAt(at, "memory over %d pages", maxPages)
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

// limits reads a minimum and a maximum, which is the largest number when there is none.
func limits(r *reader) (min, max uint32, hasMax bool, err error) {
	at := r.at()
	flag := r.u8()
	switch {
	case r.err != nil:
		return 0, 0, false, r.err
	case flag == 2 || flag == 3:
		return 0, 0, false, unsupportedAt(at, "shared memory (threads)")
	case flag >= 4 && flag <= 7:
		return 0, 0, false, unsupportedAt(at, "64-bit memory or table")
	case flag > 7:
		return 0, 0, false, malformedAt(at, "limits of form %#x", flag)
	}
	min, max, hasMax = r.u32(), ^uint32(0), flag == 1
	if hasMax {
		max = r.u32()
	}
	if r.err != nil {
		return 0, 0, false, r.err
	}
	if max < min {
		return 0, 0, false, malformedAt(at, "minimum %d over maximum %d", min, max)
	}
	return min, max, hasMax, nil
}

func clamp(max, limit uint32) uint32 {
	if max > limit {
		return limit
	}
	return max
}

func appendLimits(b []byte, min, max uint32) []byte {
	return appendU32(appendU32(append(b, 1), min), max)
}

// globalType reads a value type and a mutability.
func globalType(r *reader) {
	valueType(r)
	at := r.at()
	if mut := r.u8(); r.err == nil && mut > 1 {
		r.fail(malformedAt(at, "mutability %#x", mut))
	}
}

// globalSection re-encodes the initial values.
func (m *module) globalSection(s *section, r *reader) error {
	if err := over("globals", "MaxGlobals", uint64(m.globals)+uint64(s.count), m.opt.MaxGlobals); err != nil {
		return err
	}
	for range s.count {
		start := r.pos
		globalType(r)
		s.items = append(s.items, r.b[start:r.pos]...)
		if err := m.constExpr(r, &s.items); err != nil {
			return err
		}
		m.globals++
	}
	return nil
}

// exportSection shifts the exported functions.
func (m *module) exportSection(s *section, r *reader) error {
	if err := over("exports", "MaxExports", uint64(s.count), m.opt.MaxExports); err != nil {
		return err
	}
	for range s.count {
		at := r.at()
		name := r.name(m.opt.MaxName)
		kindAt := r.at()
		kind := r.u8()
		if r.err != nil {
			return r.err
		}
		if m.opt.reserved(name) {
			return reservedAt(at, "export %q", name)
		}
		var bound uint32
		switch kind {
		case 0:
			bound = m.functions()
		case 1:
			bound = m.tables
		case 2:
			bound = m.memories
		case 3:
			bound = m.globals // an export of the counter would be out of range here
		case 4:
			return unsupportedAt(kindAt, "exported tag (exception handling)")
		default:
			return malformedAt(kindAt, "unknown kind of export %d", kind)
		}
		i := r.u32()
		if r.err != nil {
			return r.err
		}
		if i >= bound {
			return malformedAt(kindAt, "export %q is number %d of %d", name, i, bound)
		}
		if kind == 0 {
			i = m.shifted(i)
		}
		s.items = appendU32(append(appendName(s.items, name), kind), i)
	}
	return nil
}

// codeSection cuts the bodies apart. They are read once everything else is known.
func (m *module) codeSection(s *section, r *reader) error {
	if uint64(s.count) != uint64(len(m.funcTypes)) {
		return malformedAt(r.at(), "%d functions are declared, %d have a body", len(m.funcTypes), s.count)
	}
	m.bodies = make([]body, 0, s.count)
	for range s.count {
		n := r.u32()
		if r.err == nil {
			if err := over("bytes in a function", "MaxBodyBytes", uint64(n), m.opt.MaxBodyBytes); err != nil {
				return err
			}
		}
		code := r.take(n)
		if r.err != nil {
			return r.err
		}
		m.bodies = append(m.bodies, body{code: code, at: r.at() - len(code)})
	}
	return nil
}
