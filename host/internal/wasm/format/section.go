package format

import "bytes"

// Header is what a module begins with.
const Header = "\x00asm\x01\x00\x00\x00"

// Numbers of the sections.
const (
	SecCustom = iota
	SecType
	SecImport
	SecFunction
	SecTable
	SecMemory
	SecGlobal
	SecExport
	SecStart
	SecElement
	SecCode
	SecData
	SecDataCount
	secTag
)

// SectionOrder returns the numbers of the known sections in the order in which a module has them.
func SectionOrder() [12]byte {
	return [12]byte{
		SecType, SecImport, SecFunction, SecTable, SecMemory, SecGlobal,
		SecExport, SecStart, SecElement, SecDataCount, SecCode, SecData,
	}
}

// Sections calls visit with every section in turn: its number, a reader of its content, and the number of the known section
// before it, SecCustom when there is none. Known sections come once and in order. An error of visit ends it.
func Sections(module []byte, visit func(id byte, content *Reader, after byte) error) error {
	if !bytes.HasPrefix(module, []byte(Header)) {
		return Malformed(0, "not a WebAssembly 1 module (a component must be unwrapped first)")
	}
	r := NewReader(module, 0)
	r.Take(uint32(len(Header)))
	rank, last := -1, byte(SecCustom)
	for r.Left() > 0 {
		start := r.At()
		id := r.U8()
		content := r.Sub(r.U32())
		if r.Err() != nil {
			return r.Err()
		}
		after := last
		if id != SecCustom {
			k, err := rankOf(id, start)
			if err != nil {
				return err
			}
			if k <= rank {
				return Malformed(start, "section %d is repeated or out of order", id)
			}
			rank, last = k, id
		}
		if err := visit(id, content, after); err != nil {
			return err
		}
	}
	return nil
}

// rankOf is the place of a known section in SectionOrder.
func rankOf(id byte, at int) (int, error) {
	if id == secTag {
		return 0, Unsupported(at, "tag section (exception handling)")
	}
	for k, o := range SectionOrder() {
		if o == id {
			return k, nil
		}
	}
	return 0, Malformed(at, "unknown section %d", id)
}

// AppendSection appends a section with its number and its length, which must be below 4 GiB.
func AppendSection(b []byte, id byte, content []byte) []byte {
	return append(AppendU32(append(b, id), uint32(len(content))), content...)
}
