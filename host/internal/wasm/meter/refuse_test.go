package meter_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/wasm/meter"
)

// withBody is a module with one function () -> () that has this code, a memory, a table, a global and a data segment.
func withBody(locals int, code ...byte) []byte {
	return module(
		section(1, vec([]byte{0x60, 0, 0})...),
		section(3, vec([]byte{0})...),
		section(4, vec([]byte{0x70, 0, 1})...),
		section(5, vec([]byte{0, 1})...),
		section(6, vec([]byte{0x7e, 1, 0x42, 0, 0x0b})...),
		section(10, vec(fn(locals, code...))...),
	)
}

// repeated is n times the same item as a vector.
func repeated(n int, item ...byte) []byte { return append(uleb(nil, n), bytes.Repeat(item, n)...) }

// TestRefuse lists what must not load, and the words that tell its author why.
func TestRefuse(t *testing.T) {
	void := section(1, vec([]byte{0x60, 0, 0})...)
	small := meter.Options{
		MaxModuleBytes: 1000, MaxTypes: 2, MaxParams: 3, MaxImports: 2, MaxFunctions: 3, MaxGlobals: 2, MaxExports: 2, MaxTables: 2,
		MaxBodyBytes: 40, MaxLocals: 5, MaxJoins: 8, MaxDepth: 4, MaxBranchTable: 3, MaxTable: 10, MaxMemoryPages: 2,
		MaxElementSegments: 2, MaxElements: 4, MaxDataSegments: 2, MaxCustomSections: 2, MaxName: 8,
	}
	imp := func(mod, name string, desc ...byte) []byte { return append(append(str(mod), str(name)...), desc...) }
	for _, c := range []struct {
		name   string
		module []byte
		kind   error
		text   string
	}{
		{"empty input", nil, meter.ErrMalformed, "not a WebAssembly"},
		{"component", []byte("\x00asm\x0d\x00\x01\x00"), meter.ErrMalformed, "component"},
		{"tail call", withBody(0, 0x12, 0), meter.ErrUnsupported, "opcode 0x12"},
		{"legacy exceptions", withBody(0, 0x06, 0x40, 0x0b), meter.ErrUnsupported, "opcode 0x06"},
		{"try_table", withBody(0, 0x1f, 0x40, 0, 0x0b), meter.ErrUnsupported, "opcode 0x1f"},
		{"call_ref", withBody(0, 0x14, 0), meter.ErrUnsupported, "opcode 0x14"},
		{"atomics", withBody(0, 0xfe, 0x03, 0), meter.ErrUnsupported, "opcode 0xfe"},
		{"relaxed vectors", withBody(0, 0xfd, 0x80, 0x02), meter.ErrUnsupported, "vector opcode 0x100"},
		{"padded vector opcode", withBody(0, 0xfd, 0x80, 0x00), meter.ErrUnsupported, "in 2 bytes"},
		{"vector opcode that is none", withBody(0, 0xfd, 0x9a, 0x01), meter.ErrUnsupported, "vector opcode 0x9a"},
		{"wide arithmetic", withBody(0, 0xfc, 19), meter.ErrUnsupported, "opcode 0xfc 0x13"},
		{"access to another memory", withBody(0, 0x41, 0, 0x28, 0x42, 0, 0, 0x1a), meter.ErrUnsupported, "names a memory"},
		{"fill of another memory", withBody(0, 0xfc, 11, 1), meter.ErrUnsupported, "memory 1"},
		{"tag section", module(void, section(13, vec([]byte{0, 0})...)), meter.ErrUnsupported, "tag section"},
		{"tag import", module(void, section(2, vec(imp("a", "b", 4, 0, 0))...)), meter.ErrUnsupported, "tag"},
		{"recursive types", module(section(1, 1, 0x4e, 1, 0x60, 0, 0)), meter.ErrUnsupported, "type form 0x4e"},
		{"exnref", module(section(1, 1, 0x60, 1, 0x69, 0)), meter.ErrUnsupported, "value type 0x69"},
		{"two memories", module(section(5, vec([]byte{0, 1}, []byte{0, 1})...)), meter.ErrUnsupported, "more than one memory"},
		{"shared memory", module(section(5, vec([]byte{3, 1, 1})...)), meter.ErrUnsupported, "shared"},
		{"memory64", module(section(5, vec([]byte{4, 1})...)), meter.ErrUnsupported, "64-bit"},
		{"table with a value", module(section(4, 1, 0x40, 0, 0x70, 0, 1, 0xd0, 0x70, 0x0b)), meter.ErrUnsupported, "reference type 0x40"},
		{"extended constant", module(section(6, vec([]byte{0x7f, 0, 0x41, 1, 0x41, 2, 0x6a, 0x0b})...)), meter.ErrUnsupported, "several"},

		{"import of the tick", module(void, section(2, vec(imp("patchbay_meter", "tick", 0, 0))...)), meter.ErrReserved, `"patchbay_meter"`},
		{"reserved export", module(section(5, vec([]byte{0, 1})...), section(7, vec(export("patchbay_meter_x", 2, 0))...)), meter.ErrReserved, "patchbay_meter_x"},
		{"set the counter", withBody(0, 0x42, 1, 0x24, 1), meter.ErrMalformed, "global 1 of 1"},
		{"get the counter", withBody(0, 0x23, 1, 0x1a), meter.ErrMalformed, "global 1 of 1"},
		{"export of the counter", module(section(7, vec(export("x", 3, 0))...)), meter.ErrMalformed, "number 0 of 0"},
		{"call of the tick", withBody(0, 0x10, 1), meter.ErrMalformed, "function 1 of 1"},
		{"call by an added type", withBody(0, 0x41, 0, 0x11, 1, 0), meter.ErrMalformed, "type 1 of 1"},
		{"block of an added type", withBody(0, 0x02, 2, 0x0b), meter.ErrMalformed, "type 2 of 1"},
		{"counter as a constant", module(section(6, vec([]byte{0x7e, 0, 0x23, 0, 0x0b})...)), meter.ErrMalformed, "global 0 of 0"},
		{"local out of range", withBody(1, 0x20, 1, 0x1a), meter.ErrMalformed, "local 1 of 1"},

		{"section twice", module(void, void), meter.ErrMalformed, "out of order"},
		{"huge vector", module(section(3, 0xff, 0xff, 0xff, 0xff, 0x0f)), meter.ErrMalformed, "4294967295 items"},
		{"body missing", module(void, section(3, vec([]byte{0})...)), meter.ErrMalformed, "0 have a body"},
		{"code after the end", withBody(0, 0x0b), meter.ErrMalformed, "left over"},
		{"no end", module(void, section(3, 1, 0), section(10, 1, 2, 0, 0x01)), meter.ErrMalformed, "unexpected end"},
		{"else without if", withBody(0, 0x05), meter.ErrMalformed, "else without if"},
		{"branch too far", withBody(0, 0x0c, 1), meter.ErrMalformed, "branch out of 1 blocks"},
		{"long integer", withBody(0, 0x41, 0x80, 0x80, 0x80, 0x80, 0x10, 0x1a), meter.ErrMalformed, "over 32 bits"},
		{"integer too long", withBody(0, 0x20, 0x80, 0x80, 0x80, 0x80, 0x80, 0), meter.ErrMalformed, "over 32 bits"},
		{"bytes after the section", module(section(1, 0, 0)), meter.ErrMalformed, "left over"},

		{"module", module(section(0, append(str("x"), make([]byte, 1000)...)...)), meter.ErrLimit, "MaxModuleBytes"},
		{"types", module(section(1, repeated(3, 0x60, 0, 0)...)), meter.ErrLimit, "3 types, the limit is 2 (MaxTypes)"},
		{"parameters", module(section(1, append([]byte{1, 0x60}, append(repeated(4, 0x7f), 0)...)...)), meter.ErrLimit, "MaxParams"},
		{"results", module(section(1, append([]byte{1, 0x60, 0}, repeated(4, 0x7f)...)...)), meter.ErrLimit, "MaxParams"},
		{"imports", module(void, section(2, repeated(3, imp("a", "b", 0, 0)...)...)), meter.ErrLimit, "MaxImports"},
		{"functions", module(void, section(2, vec(imp("a", "b", 0, 0))...), section(3, repeated(3, 0)...)), meter.ErrLimit, "4 functions"},
		{"globals", module(section(6, repeated(3, 0x7f, 0, 0x41, 0, 0x0b)...)), meter.ErrLimit, "MaxGlobals"},
		{"exports", module(section(5, 1, 0, 1), section(7, repeated(3, 1, 'a', 2, 0)...)), meter.ErrLimit, "MaxExports"},
		{"tables", module(section(4, repeated(3, 0x70, 0, 1)...)), meter.ErrLimit, "MaxTables"},
		{"table size", module(section(4, vec([]byte{0x70, 0, 11})...)), meter.ErrLimit, "11 entries"},
		{"imported table size", module(section(2, vec(imp("a", "b", 1, 0x70, 0, 11))...)), meter.ErrLimit, "11 entries"},
		{"memory size", module(section(5, vec([]byte{0, 3})...)), meter.ErrLimit, "3 pages"},
		{"body", withBody(0, bytes.Repeat([]byte{1}, 40)...), meter.ErrLimit, "MaxBodyBytes"},
		{"locals", withBody(6), meter.ErrLimit, "6 locals"},
		{"four billion locals", module(void, section(3, 1, 0), section(10, 1, 8, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x7f, 0x0b)), meter.ErrLimit, "4294967295 locals"},
		{"joins", withBody(3, bytes.Repeat([]byte{0x41, 0, 4, 0x40, 0x0b}, 3)...), meter.ErrLimit, "9 locals times joins of branches in a function, the limit is 8 (MaxJoins)"},
		{"depth", withBody(0, append(bytes.Repeat([]byte{2, 0x40}, 5), bytes.Repeat([]byte{0x0b}, 5)...)...), meter.ErrLimit, "5 nested blocks"},
		{"br_table", withBody(0, 0x41, 0, 0x0e, 4, 0, 0, 0, 0, 0), meter.ErrLimit, "4 labels"},
		{"element segments", module(section(4, 1, 0x70, 0, 1), section(9, repeated(3, 1, 0, 0)...)), meter.ErrLimit, "MaxElementSegments"},
		{"elements", module(void, section(2, vec(imp("a", "b", 0, 0))...), section(9, vec(append([]byte{1, 0}, repeated(5, 0)...))...)), meter.ErrLimit, "MaxElements"},
		{"data segments", module(section(11, repeated(3, 1, 0)...)), meter.ErrLimit, "MaxDataSegments"},
		{"data count", module(section(12, 3)), meter.ErrLimit, "MaxDataSegments"},
		{"custom sections", module(section(0, 0), section(0, 0), section(0, 0)), meter.ErrLimit, "MaxCustomSections"},
		{"name", module(section(0, str("123456789")...)), meter.ErrLimit, "9 bytes in a name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			opt := meter.Options{}
			if c.kind == meter.ErrLimit {
				opt = small
			}
			res, err := meter.Rewrite(c.module, opt)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("got %v, want %v with %q", err, c.kind, c.text)
			}
			if res.Module != nil {
				t.Error("a module beside the error")
			}
			var limit *meter.LimitError
			if errors.As(err, &limit) != (c.kind == meter.ErrLimit) || limit != nil && limit.Value <= limit.Limit {
				t.Errorf("limit error %+v", limit)
			}
		})
	}
}

// TestOptions refuses limits that the rewriter could not keep.
func TestOptions(t *testing.T) {
	for _, o := range []meter.Options{{MaxModuleBytes: 1 << 31}, {MaxBodyBytes: 1 << 30}, {MaxMemoryPages: 65537}, {MaxTable: 1 << 30}} {
		if _, err := meter.Rewrite(emptyLoop(), o); err == nil || !strings.Contains(err.Error(), "meter options") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// TestInputUnchanged keeps the caller's bytes as they are.
func TestInputUnchanged(t *testing.T) {
	in := bulkGuest()
	before := bytes.Clone(in)
	res := rewrite(t, in)
	clear(res.Module)
	if !bytes.Equal(in, before) {
		t.Error("the input has changed")
	}
}
