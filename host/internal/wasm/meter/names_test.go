package meter_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/patchbay-run/patchbay/host/internal/wasm/meter"
)

// named is a module that imports one function and defines two; export "run" calls the second, which traps.
func named(customs ...[]byte) []byte {
	m := module(
		section(1, vec([]byte{0x60, 0, 0})...),
		section(2, vec(append(append(str("env"), str("nop")...), 0, 0))...),
		section(3, vec([]byte{0}, []byte{0})...),
		section(7, vec(export("run", 0, 1))...),
		section(10, vec(fn(0, 0x10, 0, 0x10, 2, 0x01), fn(0, 0x00))...),
	)
	for _, c := range customs {
		m = append(m, c...)
	}
	return m
}

func custom(name string, data ...byte) []byte { return section(0, append(str(name), data...)...) }

// TestNames looks at the names in a stack trace, with imported functions before the tick and defined ones behind it.
func TestNames(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		name  string
		names []byte
		kept  bool
		want  []string
	}{
		{"good", namesOf("nop", "outer", "inner"), true, []string{".inner()", ".outer()"}},
		{"with locals", append(namesOf("nop", "outer", "inner"), 2, 6, 1, 2, 1, 0, 1, 'x'), true, []string{".inner()", ".outer()"}},
		{"with labels", append(namesOf("nop", "outer", "inner"), 3, 1, 0), true, []string{".inner()", ".outer()"}},
		{"some", []byte{1, 4, 1, 2, 1, 'i'}, true, []string{".i()"}},
		{"of nothing", nil, true, nil},
		{"cut off", namesOf("nop", "outer", "inner")[:10], false, nil},
		{"descending", []byte{1, 7, 2, 2, 1, 'i', 1, 1, 'o'}, false, nil},
		{"of a function that is not there", []byte{1, 4, 1, 3, 1, 'i'}, false, nil},
		{"a count of billions", []byte{1, 5, 0xff, 0xff, 0xff, 0xff, 0x0f}, false, nil},
		{"locals, a count of billions", []byte{2, 5, 0xff, 0xff, 0xff, 0xff, 0x0f}, false, nil},
		{"fewer locals than said", []byte{2, 3, 2, 1, 0}, false, nil},
		{"not UTF-8", []byte{1, 4, 1, 2, 1, 0xff}, false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := rewrite(t, named(custom("name", c.names...)))
			if kept := !slices.Contains(res.Dropped, "name"); kept != c.kept {
				t.Errorf("kept %v", kept)
			}
			rt := wazero.NewRuntime(ctx)
			defer rt.Close(ctx)
			hostTick(t, rt, func() uint64 { return 1 << 20 })
			if _, err := rt.NewHostModuleBuilder("env").NewFunctionBuilder().WithFunc(func() {}).Export("nop").Instantiate(ctx); err != nil {
				t.Fatal(err)
			}
			m, err := rt.Instantiate(ctx, res.Module)
			if err != nil {
				t.Fatal(err)
			}
			_, err = m.ExportedFunction("run").Call(ctx)
			if err == nil || !strings.Contains(err.Error(), "unreachable") {
				t.Fatalf("run: %v", err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("no %s in the trace:\n%v", w, err)
				}
			}
		})
	}
}

// TestCustomSections keeps what stays true and drops what does not.
func TestCustomSections(t *testing.T) {
	keep := custom("producers", 1, 2, 3)
	in := named(keep, custom(".debug_line", 1), custom("sourceMappingURL", 0), custom("linking", 2), custom("reloc.CODE"),
		custom("name", namesOf("a")...), custom("name", namesOf("b")...), custom("patchwork", 9))
	res := rewrite(t, in)
	if want := []string{".debug_line", "sourceMappingURL", "linking", "reloc.CODE", "name"}; !slices.Equal(res.Dropped, want) {
		t.Errorf("dropped %q, want %q", res.Dropped, want)
	}
	for _, c := range [][]byte{keep, custom("patchwork", 9)} {
		if !bytes.Contains(res.Module, c) {
			t.Errorf("section %q is gone", c)
		}
	}
	if bytes.Contains(res.Module, []byte("debug_line")) {
		t.Error("a dropped section is still there")
	}
	if want := []meter.Import{{Module: "env", Name: "nop", Kind: "func"}}; !slices.Equal(res.Imports, want) {
		t.Errorf("imports %v", res.Imports)
	}
}

// TestOwnNames uses other names for the tick.
func TestOwnNames(t *testing.T) {
	res, err := meter.Rewrite(emptyLoop(), meter.Options{Module: "m", Tick: "t"})
	if err != nil {
		t.Fatal(err)
	}
	if res.ImportModule != "m" || res.ImportTick != "t" || !bytes.Contains(res.Module, []byte("\x01m\x01t\x00")) {
		t.Errorf("%q %q", res.ImportModule, res.ImportTick)
	}
}
