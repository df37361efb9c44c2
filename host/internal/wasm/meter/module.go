package meter

import "github.com/patchbay-run/patchbay/host/internal/wasm/format"

// section is one known section, re-encoded where rewriting changes it.
type section struct {
	present bool
	count   uint32
	items   []byte // without the count; for the start and data count sections the index is count
}

// custom is one custom section and where it stood.
type custom struct {
	name  string
	data  []byte
	after byte // the known section before it, 0 for none
}

// body is one function body without its length.
type body struct {
	code []byte
	at   int // offset in the module
}

// module is what the rewriter keeps of the input. Function indices in the re-encoded sections are already shifted for the
// tick, which becomes the last imported function.
type module struct {
	opt      Options
	sections [format.SecDataCount + 1]section
	customs  []custom

	format.Space // before rewriting

	typeParams  []uint32 // parameters of each type
	imports     []Import
	funcImports uint32
	funcTypes   []uint32 // of the defined functions
	memories    uint32
	bodies      []body
	dataLens    []uint32

	memoryImported       bool
	memoryMin, memoryMax uint32
}

// shifted is the index of function i after the tick has been imported.
func (m *module) shifted(i uint32) uint32 {
	if i >= m.funcImports {
		return i + 1
	}
	return i
}

// parse reads and checks every section.
func parse(b []byte, opt Options) (*module, error) {
	if err := over("bytes", "MaxModuleBytes", uint64(len(b)), opt.MaxModuleBytes); err != nil {
		return nil, err
	}
	m := &module{opt: opt}
	err := format.Sections(b, func(id byte, r *format.Reader, after byte) error {
		if id == format.SecCustom {
			return m.custom(r, after)
		}
		return m.section(id, r)
	})
	if err != nil {
		return nil, err
	}
	if len(m.bodies) != len(m.funcTypes) {
		return nil, format.Malformed(len(b), "%d functions are declared, %d have a body", len(m.funcTypes), len(m.bodies))
	}
	return m, nil
}

// custom keeps a custom section as it is.
func (m *module) custom(r *format.Reader, after byte) error {
	name := readName(r, m.opt.MaxName)
	data := r.Take(uint32(r.Left()))
	if r.Err() != nil {
		return r.Err()
	}
	m.customs = append(m.customs, custom{name: name, data: data, after: after})
	return over("custom sections", "MaxCustomSections", uint64(len(m.customs)), m.opt.MaxCustomSections)
}

// section reads one known section to its end.
func (m *module) section(id byte, r *format.Reader) error {
	s := &m.sections[id]
	s.present = true
	var err error
	switch id {
	case format.SecStart:
		s.count = m.shifted(m.FuncIndex(r))
	case format.SecDataCount:
		s.count = r.U32()
		err = over("data segments", "MaxDataSegments", uint64(s.count), m.opt.MaxDataSegments)
	default:
		s.count = r.Count()
		if r.Err() == nil {
			err = m.vector(id, s, r)
		}
	}
	if r.Err() != nil {
		return r.Err()
	}
	if err != nil {
		return err
	}
	return r.End("section")
}

// vector reads the items of a section that is a vector.
func (m *module) vector(id byte, s *section, r *format.Reader) error {
	switch id {
	case format.SecType:
		return m.types(s, r)
	case format.SecImport:
		return m.importSection(s, r)
	case format.SecFunction:
		return m.functionSection(s, r)
	case format.SecTable:
		return m.tableSection(s, r)
	case format.SecMemory:
		return m.memorySection(s, r)
	case format.SecGlobal:
		return m.globalSection(s, r)
	case format.SecExport:
		return m.exportSection(s, r)
	case format.SecElement:
		return m.elementSection(s, r)
	case format.SecCode:
		return m.codeSection(s, r)
	default:
		return m.dataSection(s, r)
	}
}

// readName reads a UTF-8 string of at most max bytes.
func readName(r *format.Reader, max uint32) string {
	b := r.Name()
	if err := over("bytes in a name", "MaxName", uint64(len(b)), max); err != nil {
		r.Fail(err)
	}
	return string(b)
}
