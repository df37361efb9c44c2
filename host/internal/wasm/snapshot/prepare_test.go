package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/patchbay-run/patchbay/host/internal/wasm/format"
	"github.com/patchbay-run/patchbay/host/internal/wasm/snapshot"
)

// nothing is a function that does nothing, code one that runs code.
func nothing() []function            { return []function{{"run", sigVoid, nil}} }
func code(b ...byte) []function      { return []function{{"run", sigVoid, b}} }
func table(t byte) []byte            { return vec(format.SecTable, []byte{t, 1, 4, 4}) }
func passiveFuncs() []byte           { return vec(format.SecElement, []byte{1, 0, 1, 0}) }
func passiveData(text string) []byte { return vec(format.SecData, append([]byte{1}, str(text)...)) }
func dataCount(n byte) []byte        { return section(format.SecDataCount, n) }
func activeData(at []byte) []byte {
	return vec(format.SecData, slices.Concat([]byte{0}, at, str("data")))
}
func globals(items ...[]byte) []byte     { return vec(format.SecGlobal, items...) }
func vector(b byte) []byte               { return append([]byte{0xfd, 0x0c}, bytes.Repeat([]byte{b}, 16)...) }
func ended(expr ...byte) []byte          { return append(expr, format.OpEnd) }
func global(t, m byte, e ...byte) []byte { return append([]byte{t, m}, ended(e...)...) }

// TestPrepare looks at decisions: a want is part of the reason against a snapshot. What is accepted is compiled.
func TestPrepare(t *testing.T) {
	zero := ended(0x41, 0)
	for _, c := range []struct {
		name   string
		module []byte
		want   string
	}{
		{"simple", guest(nothing()), ""},
		{"active data", guest(nothing(), activeData(zero)), ""},
		{"passive data", guest(code(0x41, 0, 0x41, 0, 0x41, 1, 0xfc, 8, 0, 0), passiveData("p"), dataCount(1)), ""},
		{"passive data that is dropped", guest(code(0xfc, 9, 0), passiveData("p"), dataCount(1)), "drops its data segment 0 (data.drop at byte"},
		{"active data that is dropped", guest(code(0xfc, 9, 0), activeData(zero), dataCount(1)), ""},
		{"data at an imported global", guest(nothing(), vec(format.SecImport, imp(3, 0x7f, 0)), activeData(ended(0x23, 0))), "imports env.thing, which is no function"},
		{"data at its own global", guest(nothing(), globals(global(0x7f, 0, 0x41, 0)), activeData(ended(0x23, 0))), "the place of its data segment 0 is no constant"},

		{"imported function", guest(nothing(), vec(format.SecImport, imp(0, sigVoid))), ""},
		{"imported table", guest(nothing(), vec(format.SecImport, imp(1, 0x70, 0, 1))), "imports env.thing"},
		{"imported memory", module(types(), vec(format.SecImport, imp(2, 0, 1)), vec(format.SecExport, export("memory", 2, 0))), "imports env.thing"},
		{"no memory", module(types()), "no memory of its own"},
		{"two memories", module(vec(format.SecMemory, []byte{0, 1}, []byte{0, 1})), "has 2 memories"},
		{"no exports", module(vec(format.SecMemory, []byte{0, 1})), "exports nothing"},
		{"a reserved export", guest([]function{{"patchbay_snapshot.start", sigVoid, nil}}), `exports "patchbay_snapshot.start"`},

		{"numbers", guest(nothing(), globals(global(0x7f, 1, 0x41, 1), global(0x7e, 1, 0x42, 1), global(0x7d, 1, 0x43, 0, 0, 0, 0), global(0x7c, 1, 0x44, 0, 0, 0, 0, 0, 0, 0, 0))), ""},
		{"constant vector", guest(nothing(), globals(global(0x7b, 0, vector(7)...))), ""},
		{"vector", guest(nothing(), globals(global(0x7f, 1, 0x41, 0), global(0x7b, 1, vector(7)...))), "its global 1 can change and is no"},
		{"constant externref", guest(nothing(), globals(global(0x6f, 0, 0xd0, 0x6f))), ""},
		{"externref", guest(nothing(), globals(global(0x6f, 1, 0xd0, 0x6f))), "its global 0 can change and is no"},
		{"constant funcref", guest(nothing(), globals(global(0x70, 0, 0xd2, 0))), ""},
		{"funcref", guest(nothing(), globals(global(0x70, 1, 0xd2, 0))), "its global 0 can change and is no"},

		{"table.get", guest(code(0x41, 0, 0x25, 0, 0x1a), table(0x70)), ""},
		{"table.size", guest(code(0xfc, 16, 0, 0x1a), table(0x70)), ""},
		{"table.set", guest(code(0x41, 0, 0xd0, 0x6f, 0x26, 0), table(0x6f)), "changes a table (table.set at byte"},
		{"table.init", guest(code(0x41, 0, 0x41, 0, 0x41, 1, 0xfc, 12, 0, 0), table(0x70), passiveFuncs()), "table.init"},
		{"table.copy", guest(code(0x41, 0, 0x41, 0, 0x41, 1, 0xfc, 14, 0, 0), table(0x70)), "table.copy"},
		{"table.grow", guest(code(0xd0, 0x70, 0x41, 0, 0xfc, 15, 0, 0x1a), table(0x70)), "table.grow"},
		{"table.fill", guest(code(0x41, 0, 0xd0, 0x70, 0x41, 1, 0xfc, 17, 0), table(0x70)), "table.fill"},
		{"elem.drop alone", guest(code(0xfc, 13, 0), table(0x70), passiveFuncs()), ""},
		{"behind a block and a branch table", guest(code(0x02, 0x40, 0x41, 0, 0x0e, 1, 0, 0, 0x0b, 0x41, 0, 0xd0, 0x6f, 0x26, 0), table(0x6f)), "table.set"},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan, err := snapshot.Prepare(c.module)
			if c.want != "" {
				if !errors.Is(err, snapshot.ErrUnsuitable) || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("the answer is %v, want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			ctx := context.Background()
			r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
			defer r.Close(ctx)
			if _, err := r.CompileModule(ctx, plan.Module); err != nil {
				t.Fatal(err)
			}
			if _, err := snapshot.Prepare(plan.Module); (err != nil) != (bytes.Contains(plan.Module, []byte("patchbay_snapshot"))) {
				t.Errorf("the variant again: %v", err)
			}
		})
	}
}

// TestDataLeftOut looks for what is left of active data that no instruction names: an instance would still begin by looking at each.
func TestDataLeftOut(t *testing.T) {
	plan, err := snapshot.Prepare(guest(nothing(), activeData(ended(0x41, 0)), dataCount(1)))
	if err != nil {
		t.Fatal(err)
	}
	err = format.Sections(plan.Module, func(id byte, _ *format.Reader, _ byte) error {
		if id == format.SecData || id == format.SecDataCount {
			t.Errorf("section %d is there", id)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestMalformed cuts a module at every byte and flips every byte: an error or a plan, never a panic.
func TestMalformed(t *testing.T) {
	good := guest(code(0x41, 0, 0x41, 0, 0x41, 1, 0xfc, 8, 0, 0), globals(global(0x7f, 1, 0x41, 1)), table(0x70), passiveData("p"), dataCount(1))
	for i := range good {
		check(t, good[:i])
		for _, x := range []byte{0xff, 0x80, 0x7f, 1} {
			bad := slices.Clone(good)
			bad[i] ^= x
			check(t, bad)
		}
	}
}

// FuzzPrepare feeds arbitrary bytes.
func FuzzPrepare(f *testing.F) {
	for _, c := range seeds() {
		f.Add(c)
	}
	f.Fuzz(func(t *testing.T, b []byte) { check(t, b) })
}

func seeds() [][]byte {
	return [][]byte{
		guest(nothing()), counting(), everyNumber(), twoTables(), starting(),
		guest(code(0x41, 0, 0x41, 0, 0x41, 1, 0xfc, 8, 0, 0), passiveData("p"), dataCount(1)),
		guest(code(0x02, 0x40, 0x41, 0, 0x0e, 1, 0, 0, 0x0b)),
		guest(nothing(), vec(format.SecImport, imp(0, sigVoid)), activeData(ended(0x41, 0))),
	}
}

// check prepares any bytes. An error is of a known kind, a variant has the same sections or fewer, and what is
// filled in is within the memory or refused.
func check(t *testing.T, b []byte) {
	t.Helper()
	plan, err := snapshot.Prepare(b)
	if err != nil {
		if !errors.Is(err, snapshot.ErrUnsuitable) && !errors.Is(err, format.ErrMalformed) && !errors.Is(err, format.ErrUnsupported) {
			t.Fatalf("an error of no kind: %v", err)
		}
		return
	}
	ids := func(module []byte) (all []byte) {
		if err := format.Sections(module, func(id byte, _ *format.Reader, _ byte) error {
			all = append(all, id)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return all
	}
	left := ids(plan.Module)
	for _, id := range ids(b) {
		if len(left) > 0 && left[0] == id {
			left = left[1:]
		} else if id != format.SecStart && id != format.SecData && id != format.SecDataCount {
			t.Fatalf("section %d is gone", id)
		}
	}
	if len(left) > 0 {
		t.Fatalf("sections %v are new", left)
	}
	_ = plan.Fill(make([]byte, 1<<16))
}
