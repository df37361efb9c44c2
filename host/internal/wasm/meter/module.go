package meter

import "bytes"

// Section numbers of the binary format.
const (
	secCustom = iota
	secType
	secImport
	secFunction
	secTable
	secMemory
	secGlobal
	secExport
	secStart
	secElement
	secCode
	secData
	secDataCount
	secTag
)

// sectionOrder returns the numbers of the known sections in the order in which a module has them.
func sectionOrder() [12]byte {
	return [12]byte{
		secType, secImport, secFunction, secTable, secMemory, secGlobal,
		secExport, secStart, secElement, secDataCount, secCode, secData,
	}
}

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
	sections [secDataCount + 1]section
	customs  []custom

	typeParams  []uint32 // parameters of each type
	imports     []Import
	funcImports uint32
	funcTypes   []uint32 // of the defined functions
	globals     uint32   // imported and defined
	tables      uint32
	memories    uint32
	elements    uint32 // segments
	bodies      []body
	dataLens    []uint32

	memoryImported       bool
	memoryMin, memoryMax uint32
}

// functions is the number of functions before rewriting, imported and defined.
func (m *module) functions() uint32 { return m.funcImports + uint32(len(m.funcTypes)) }

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
	if !bytes.HasPrefix(b, []byte("\x00asm\x01\x00\x00\x00")) {
		return nil, malformedAt(0, "not a WebAssembly 1 module (a component must be unwrapped first)")
	}
	m := &module{opt: opt}
	r := &reader{b: b, pos: 8}
	rank, last := -1, byte(0)
	for r.left() > 0 {
		start := r.at()
		id := r.u8()
		n := r.u32()
		content := r.take(n)
		if r.err != nil {
			return nil, r.err
		}
		s := &reader{b: content, base: r.at() - len(content)}
		if id == secCustom {
			name := s.name(opt.MaxName)
			if s.err != nil {
				return nil, s.err
			}
			m.customs = append(m.customs, custom{name: name, data: content[s.pos:], after: last})
			if err := over("custom sections", "MaxCustomSections", uint64(len(m.customs)), opt.MaxCustomSections); err != nil {
				return nil, err
			}
			continue
		}
		k, err := rankOf(id, start)
		if err != nil {
			return nil, err
		}
		if k <= rank {
			return nil, malformedAt(start, "section %d is repeated or out of order", id)
		}
		rank, last = k, id
		if err := m.section(id, s); err != nil {
			return nil, err
		}
	}
	if len(m.bodies) != len(m.funcTypes) {
		return nil, malformedAt(len(b), "%d functions are declared, %d have a body", len(m.funcTypes), len(m.bodies))
	}
	return m, nil
}

// rankOf is the place of a known section in sectionOrder.
func rankOf(id byte, at int) (int, error) {
	if id == secTag {
		return 0, unsupportedAt(at, "tag section (exception handling)")
	}
	for k, o := range sectionOrder() {
		if o == id {
			return k, nil
		}
	}
	return 0, malformedAt(at, "unknown section %d", id)
}

// section reads one known section to its end.
func (m *module) section(id byte, r *reader) error {
	s := &m.sections[id]
	s.present = true
	var err error
	switch id {
	case secStart:
		s.count, err = m.funcIndex(r)
	case secDataCount:
		s.count = r.u32()
		err = over("data segments", "MaxDataSegments", uint64(s.count), m.opt.MaxDataSegments)
	default:
		s.count = r.count()
		if r.err == nil {
			err = m.vector(id, s, r)
		}
	}
	if r.err != nil {
		return r.err
	}
	if err != nil {
		return err
	}
	return r.end("section")
}

// vector reads the items of a section that is a vector.
func (m *module) vector(id byte, s *section, r *reader) error {
	switch id {
	case secType:
		return m.types(s, r)
	case secImport:
		return m.importSection(s, r)
	case secFunction:
		return m.functionSection(s, r)
	case secTable:
		return m.tableSection(s, r)
	case secMemory:
		return m.memorySection(s, r)
	case secGlobal:
		return m.globalSection(s, r)
	case secExport:
		return m.exportSection(s, r)
	case secElement:
		return m.elementSection(s, r)
	case secCode:
		return m.codeSection(s, r)
	default:
		return m.dataSection(s, r)
	}
}

// funcIndex reads a function index, checks it and returns it shifted.
func (m *module) funcIndex(r *reader) (uint32, error) {
	at := r.at()
	i := r.u32()
	if r.err != nil {
		return 0, r.err
	}
	if i >= m.functions() {
		return 0, malformedAt(at, "function %d of %d", i, m.functions())
	}
	return m.shifted(i), nil
}
