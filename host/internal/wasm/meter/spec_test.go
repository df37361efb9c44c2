package meter_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/patchbay-run/patchbay/host/internal/wasm/meter"
)

// findSpec finds the engine's own specification tests. They come with its source, which the Go command keeps in the
// module cache; a vendored build has no tests of its dependencies.
func findSpec() (dir string, ok bool) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		return "", false
	}
	dir = filepath.Join(strings.TrimSpace(string(out)), "internal", "integration_test", "spectest")
	_, err = os.Stat(filepath.Join(dir, "v2", "testdata"))
	return dir, err == nil
}

// specOptions leaves the room that the specification tests need.
func specOptions() meter.Options {
	return meter.Options{MaxMemoryPages: 65536, MaxTable: 1 << 20, MaxBodyBytes: 16 << 20, MaxLocals: 70_000, MaxFunctions: 70_000, MaxName: 1 << 20}
}

// specScript is a script of the WebAssembly specification, as wast2json writes it.
type specScript struct {
	Commands []specCommand `json:"commands"`
}

type specCommand struct {
	Type       string `json:"type"`
	Line       int    `json:"line"`
	Name       string `json:"name"`
	Filename   string `json:"filename"`
	As         string `json:"as"`
	ModuleType string `json:"module_type"`
	Action     struct {
		Type   string      `json:"type"`
		Field  string      `json:"field"`
		Module string      `json:"module"`
		Args   []specValue `json:"args"`
	} `json:"action"`
}

type specValue struct {
	Type  string `json:"type"`
	Lane  string `json:"lane_type"`
	Value any    `json:"value"`
}

// words are the arguments as the engine takes them.
func (v specValue) words(t *testing.T) []uint64 {
	if v.Type != "v128" {
		s, ok := v.Value.(string)
		if !ok || s == "null" {
			return []uint64{0}
		}
		n := specInt(t, s)
		if v.Type == "externref" {
			n++ // zero is the null reference
		}
		return []uint64{n}
	}
	lanes := v.Value.([]any)
	width := 128 / len(lanes)
	var words [2]uint64
	for i, l := range lanes {
		bit := i * width
		words[bit/64] |= specInt(t, l.(string)) << (bit % 64) & (^uint64(0) >> (64 - width) << (bit % 64))
	}
	return words[:]
}

func specInt(t *testing.T, s string) uint64 {
	if strings.HasPrefix(s, "-") {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return uint64(n)
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// world is one engine with the modules of a script in it.
type world struct {
	rt     wazero.Runtime
	prep   func([]byte) ([]byte, error)
	byName map[string]api.Module
	last   api.Module
	all    []api.Module
	ticks  int
}

func newWorld(t *testing.T, metered bool) *world {
	ctx := context.Background()
	w := &world{rt: wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler()), byName: map[string]api.Module{}}
	t.Cleanup(func() { w.rt.Close(ctx) })
	w.prep = func(b []byte) ([]byte, error) { return b, nil }
	if metered {
		w.prep = func(b []byte) ([]byte, error) {
			res, err := meter.Rewrite(b, specOptions())
			return res.Module, err
		}
		// Budgets from nothing to plenty, so that ticks fall everywhere.
		budgets := []uint64{0, 1, 40, 0, 300, 5000}
		hostTick(t, w.rt, func() uint64 { w.ticks++; return budgets[w.ticks%len(budgets)] })
	}
	return w
}

// hostTick offers the tick function.
func hostTick(tb testing.TB, rt wazero.Runtime, tick func() uint64) {
	tb.Helper()
	_, err := rt.NewHostModuleBuilder("patchbay_meter").NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, _ api.Module, stack []uint64) {
			stack[0] = tick()
		}), nil, []api.ValueType{api.ValueTypeI64}).Export("tick").Instantiate(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
}

// instantiate loads a module; errPrep is a refusal by the rewriter.
func (w *world) instantiate(b []byte, name string) (api.Module, error) {
	b, err := w.prep(b)
	if err != nil {
		return nil, err
	}
	m, err := w.rt.InstantiateWithConfig(context.Background(), b, wazero.NewModuleConfig().WithName(name))
	if err == nil {
		w.all = append(w.all, m)
	}
	return m, err
}

// giveStack sets how much stack the next call of a metered module may take, in bytes.
func giveStack(m api.Module, n int32) {
	if g := m.ExportedGlobal("patchbay_meter.stack"); g != nil {
		g.(api.MutableGlobal).Set(uint64(n))
	}
}

// outcome is what a call left behind, in a form that can be compared between two engines.
func (w *world) outcome(t *testing.T, c specCommand) string {
	m := w.last
	if c.Action.Module != "" {
		m = w.byName[c.Action.Module]
	}
	if c.Action.Type == "get" {
		return fmt.Sprintf("global %#x", m.ExportedGlobal(c.Action.Field).Get())
	}
	var args []uint64
	for _, a := range c.Action.Args {
		args = append(args, a.words(t)...)
	}
	for _, m := range w.all { // as the host does before each of its calls; here so much that wazero's own bound is what ends a recursion
		giveStack(m, math.MaxInt32)
	}
	f := m.ExportedFunction(c.Action.Field)
	res, err := f.Call(context.Background(), args...)
	if err != nil {
		return "trap " + cause(err)
	}
	i := 0
	var out strings.Builder
	for _, typ := range f.Definition().ResultTypes() {
		switch typ {
		case 0x7b: // v128
			fmt.Fprintf(&out, " %#x:%#x", res[i], res[i+1])
			i++
		case 0x70: // funcref: an address, which differs between engines
			fmt.Fprintf(&out, " null=%v", res[i] == 0)
		case api.ValueTypeI32, api.ValueTypeF32:
			fmt.Fprintf(&out, " %#x", uint32(res[i]))
		default:
			fmt.Fprintf(&out, " %#x", res[i])
		}
		i++
	}
	return out.String()
}

// cause is an error without its stack trace, whose frames the rewriter may add to.
func cause(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\nwasm stack trace")
	s, _, _ = strings.Cut(s, " (recovered by wazero)")
	return s
}

// TestSpec runs the specification tests plain and metered side by side: same results, same traps, same memory.
func TestSpec(t *testing.T) {
	dir, ok := findSpec()
	if !ok {
		t.Skip("the specification tests of wazero are not in the module cache: run go mod download github.com/tetratelabs/wazero")
	}
	for _, version := range []string{"v1", "v2"} {
		files, err := filepath.Glob(filepath.Join(dir, version, "testdata", "*.json"))
		if err != nil || len(files) < 50 {
			t.Fatalf("%d scripts in %s: %v", len(files), dir, err)
		}
		for i, file := range files {
			if testing.Short() && i%8 != 0 && !strings.Contains(file, "memory_") {
				continue
			}
			t.Run(version+"/"+strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
				t.Parallel()
				runScript(t, file)
			})
		}
	}
}

func runScript(t *testing.T, file string) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var script specScript
	if err := json.Unmarshal(raw, &script); err != nil {
		t.Fatal(err)
	}
	plain, metered := newWorld(t, false), newWorld(t, true)
	spectest, err := os.ReadFile(filepath.Join(filepath.Dir(file), "..", "..", "testdata", "spectest.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []*world{plain, metered} {
		if _, err := w.instantiate(spectest, "spectest"); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range script.Commands {
		switch c.Type {
		case "module":
			name := ""
			if i+1 < len(script.Commands) && script.Commands[i+1].Type == "register" {
				name = script.Commands[i+1].As
			}
			b := readModule(t, file, c)
			for _, w := range []*world{plain, metered} {
				m, err := w.instantiate(b, name)
				if err != nil {
					t.Fatalf("line %d: %v", c.Line, err)
				}
				w.last = m
				if c.Name != "" {
					w.byName[c.Name] = m
				}
			}
		case "assert_return", "assert_trap", "action", "assert_exhaustion":
			p, m := plain.outcome(t, c), metered.outcome(t, c)
			if p != m {
				t.Errorf("line %d: %s%v: plain %q, metered %q", c.Line, c.Action.Field, c.Action.Args, p, m)
			}
			sameMemory(t, c, plain, metered)
		case "assert_invalid", "assert_malformed", "assert_unlinkable", "assert_uninstantiable":
			if c.ModuleType == "text" {
				continue
			}
			b := readModule(t, file, c)
			_, p := plain.instantiate(b, "")
			_, m := metered.instantiate(b, "")
			if p == nil && m != nil && !errors.Is(m, meter.ErrUnsupported) && !errors.Is(m, meter.ErrLimit) {
				t.Errorf("line %d: plain loads, metered: %v", c.Line, m)
			}
			if p != nil && m == nil {
				t.Errorf("line %d: metered loads, plain: %v", c.Line, p)
			}
		case "register":
		default:
			t.Errorf("line %d: unknown command %q", c.Line, c.Type)
		}
	}
}

func readModule(t *testing.T, file string, c specCommand) []byte {
	b, err := os.ReadFile(filepath.Join(filepath.Dir(file), c.Filename))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sameMemory(t *testing.T, c specCommand, plain, metered *world) {
	p, m := plain.last.Memory(), metered.last.Memory()
	if reflect.ValueOf(p).IsNil() || p.Size() > 1<<20 { // a nil pointer in an interface means no memory
		return
	}
	pb, _ := p.Read(0, p.Size())
	mb, _ := m.Read(0, m.Size())
	if !bytes.Equal(pb, mb) {
		t.Errorf("line %d: memory differs after %s", c.Line, c.Action.Field)
	}
}
