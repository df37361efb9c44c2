package meter

import (
	"strings"

	"github.com/patchbay-run/patchbay/host/internal/wasm/format"
)

// customs appends the custom sections that stood behind section after.
func (rw *rewriter) customs(out []byte, after byte) []byte {
	for _, c := range rw.m.customs {
		if c.after != after {
			continue
		}
		data, keep := c.data, !stale(c.name)
		if c.name == "name" {
			data, keep = rw.names(c.data)
			keep = keep && !rw.named
			rw.named = rw.named || keep
		}
		if !keep {
			rw.dropped = append(rw.dropped, c.name)
			continue
		}
		content := append(format.AppendName(nil, c.name), data...)
		out = append(format.AppendU32(append(out, format.SecCustom), uint32(len(content))), content...)
	}
	return out
}

// stale says whether a custom section speaks of offsets in the code or of function numbers, which rewriting changes. Such
// sections are for debuggers and linkers; nothing at run time needs them.
func stale(name string) bool {
	switch name {
	case "sourceMappingURL", "external_debug_info", "linking":
		return true
	}
	for _, prefix := range []string{".debug_", "reloc.", "metadata.code."} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// Subsections of the name section.
const (
	namesModule    = 0
	namesFunctions = 1
	namesLocals    = 2
	namesLabels    = 3 // left out: rewriting adds blocks
	namesTypes     = 4
	namesData      = 9
)

// names shifts the function numbers in a name section and names the added functions, so that stack traces
// stay readable. A malformed name section is left out: names are no reason to refuse a module, and engines
// trust the lengths in it.
func (rw *rewriter) names(data []byte) ([]byte, bool) {
	r := format.NewReader(data, 0)
	var out []byte
	last := -1
	for r.Left() > 0 {
		id := r.U8()
		content := r.Take(r.U32())
		if r.Err() != nil || int(id) <= last {
			return nil, false
		}
		last = int(id)
		sub, ok := rw.subsection(id, content)
		if !ok {
			return nil, false
		}
		if sub != nil {
			out = append(format.AppendU32(append(out, id), uint32(len(sub))), sub...)
		}
	}
	return out, true
}

// subsection returns one rewritten part of the name section, nil to leave it out.
func (rw *rewriter) subsection(id byte, content []byte) ([]byte, bool) {
	r := format.NewReader(content, 0)
	switch {
	case id == namesModule:
		r.Name()
		return content, r.End("module name") == nil
	case id == namesFunctions:
		return rw.functionNames(r)
	case id == namesLocals:
		return rw.localNames(r)
	case id >= namesTypes && id <= namesData:
		return content, true
	default:
		return nil, true
	}
}

// localNames shifts the functions whose locals have names.
func (rw *rewriter) localNames(r *format.Reader) ([]byte, bool) {
	count := r.Count()
	out := format.AppendU32(nil, count)
	for range count {
		i := rw.m.shifted(rw.m.FuncIndex(r))
		start := r.Pos()
		for n := r.Count(); n > 0 && r.Err() == nil; n-- {
			r.U32()
			r.Name()
		}
		if r.Err() != nil {
			return nil, false
		}
		out = append(format.AppendU32(out, i), r.Since(start)...)
	}
	return out, r.End("local names") == nil
}

// functionNames shifts the names of functions, which must be in ascending order, and adds those of the meter.
func (rw *rewriter) functionNames(r *format.Reader) ([]byte, bool) {
	var out []byte
	count, tick := r.Count(), rw.tick()
	next, ticked := uint32(0), false
	entry := func(i uint32, name string) { out = format.AppendName(format.AppendU32(out, i), name) }
	for range count {
		i := rw.m.shifted(rw.m.FuncIndex(r))
		name := r.Name()
		if r.Err() != nil || i < next {
			return nil, false
		}
		next = i + 1
		if i > tick && !ticked {
			entry(tick, rw.opt.Module+"."+rw.opt.Tick)
			ticked = true
		}
		out = append(format.AppendU32(format.AppendU32(out, i), uint32(len(name))), name...)
	}
	if r.End("function names") != nil {
		return nil, false
	}
	if !ticked {
		entry(tick, rw.opt.Module+"."+rw.opt.Tick)
	}
	for k, h := range rw.helpers {
		entry(rw.m.Functions+1+uint32(k), rw.opt.Module+"."+h.name())
	}
	return append(format.AppendU32(nil, count+1+uint32(len(rw.helpers))), out...), true
}
