package meter

import (
	"math"

	"github.com/patchbay-run/patchbay/host/internal/wasm/format"
)

// assemble writes the rewritten module: the sections in their order with what is added to each, and the custom sections
// that are kept, where they stood.
func (rw *rewriter) assemble() ([]byte, error) {
	out := []byte(format.Header)
	out = rw.customs(out, format.SecCustom)
	for _, id := range format.SectionOrder() {
		s := rw.m.sections[id]
		items, added := rw.added(id)
		if s.present || added > 0 {
			content := rw.content(id, s, items, added)
			if len(content) > math.MaxInt32 || len(out) > math.MaxInt32 {
				return nil, &LimitError{What: "bytes after rewriting", Option: "MaxModuleBytes", Value: uint64(len(out) + len(content)), Limit: math.MaxInt32}
			}
			out = append(format.AppendU32(append(out, id), uint32(len(content))), content...)
		}
		out = rw.customs(out, id)
	}
	return out, nil
}

// content is the content of a section with the added items at its end.
func (rw *rewriter) content(id byte, s section, added []byte, n uint32) []byte {
	content := format.AppendU32(nil, s.count+n)
	if id == format.SecCode {
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
	case format.SecType:
		return appendSignatures(nil), addedTypes
	case format.SecImport:
		items = format.AppendName(format.AppendName(nil, rw.opt.Module), rw.opt.Tick)
		return format.AppendU32(append(items, 0), first+sigTick), 1
	case format.SecFunction:
		for _, h := range rw.helpers {
			items = format.AppendU32(items, first+h.signature())
		}
		return items, uint32(len(rw.helpers))
	case format.SecGlobal:
		// The first budget is zero: the first check asks the host.
		a := &asm{b: []byte{format.TypeI64, 1, format.OpI64Const, 0, format.OpEnd, format.TypeI32, 1}}
		return a.i32(stackAtStart).op(format.OpEnd).b, 2
	case format.SecExport:
		items = append(format.AppendName(nil, rw.opt.stackGlobal()), format.KindGlobal)
		return format.AppendU32(items, rw.stackLeft()), 1
	case format.SecCode:
		for _, h := range rw.helpers {
			b := rw.helperBody(h)
			items = append(format.AppendU32(items, uint32(len(b))), b...)
		}
		return items, uint32(len(rw.helpers))
	}
	return nil, 0
}
