package meter

import "math"

// assemble writes the rewritten module: the sections in their order with what is added to each, and the custom sections
// that are kept, where they stood.
func (rw *rewriter) assemble() ([]byte, error) {
	out := []byte("\x00asm\x01\x00\x00\x00")
	out = rw.customs(out, secCustom)
	for _, id := range sectionOrder() {
		s := rw.m.sections[id]
		items, added := rw.added(id)
		if s.present || added > 0 {
			content := rw.content(id, s, items, added)
			if len(content) > math.MaxInt32 || len(out) > math.MaxInt32 {
				return nil, &LimitError{What: "bytes after rewriting", Option: "MaxModuleBytes", Value: uint64(len(out) + len(content)), Limit: math.MaxInt32}
			}
			out = append(appendU32(append(out, id), uint32(len(content))), content...)
		}
		out = rw.customs(out, id)
	}
	return out, nil
}

// content is the content of a section with the added items at its end.
func (rw *rewriter) content(id byte, s section, added []byte, n uint32) []byte {
	content := appendU32(nil, s.count+n)
	if id == secCode {
		content = append(content, rw.code...)
	} else {
		content = append(content, s.items...)
	}
	return append(content, added...)
}

// added returns what the rewriter adds to a section, and how many items that is. All of it stands behind what the module has,
// so that only functions change their numbers.
func (rw *rewriter) added(id byte) (items []byte, n uint32) {
	first := uint32(len(rw.m.typeParams))
	switch id {
	case secType:
		return appendSignatures(nil), addedTypes
	case secImport:
		items = appendName(appendName(nil, rw.opt.Module), rw.opt.Tick)
		return appendU32(append(items, 0), first+sigTick), 1
	case secFunction:
		for _, h := range rw.helpers {
			items = appendU32(items, first+h.signature())
		}
		return items, uint32(len(rw.helpers))
	case secGlobal:
		// The first budget is zero: the first check asks the host.
		return []byte{typeI64, 1, opI64Const, 0, opEnd}, 1
	case secCode:
		for _, h := range rw.helpers {
			b := rw.helperBody(h)
			items = append(appendU32(items, uint32(len(b))), b...)
		}
		return items, uint32(len(rw.helpers))
	}
	return nil, 0
}
