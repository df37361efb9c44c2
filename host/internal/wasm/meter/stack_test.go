package meter_test

import (
	"bytes"
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/patchbay-run/patchbay/host/internal/wasm/meter"
)

// Opcodes of the modules below.
const (
	opBlock, opLoop, opIf, opEnd  = 0x02, 0x03, 0x04, 0x0b
	opBr, opBrIf, opBrTable       = 0x0c, 0x0d, 0x0e
	opReturn, opCall, opCallTable = 0x0f, 0x10, 0x11
	get, set, tee                 = 0x20, 0x21, 0x22
	globalGet                     = 0x23
	i32Const, eqz, add, sub       = 0x41, 0x45, 0x6a, 0x6b
	none, i32                     = 0x40, 0x7f
)

// stackGuest is a module whose export dive(n) calls itself n deep by the given code, and whose export again(n) dives 4000 times. The
// code is that of a function (i32) -> i32 of number 0; a table holds it twice, and global 0 can change.
func stackGuest(locals int, dive ...byte) []byte {
	again := []byte{opLoop, none, get, 0, opCall, 0, 0x1a, get, 1, i32Const, 1, add, tee, 1, i32Const, 0xa0, 0x1f, 0x47, opBrIf, 0, opEnd, get, 1}
	return module(
		section(1, vec([]byte{0x60, 1, i32, 1, i32})...),
		section(3, vec([]byte{0}, []byte{0})...),
		section(4, vec([]byte{0x70, 0, 2})...),
		section(6, vec([]byte{i32, 1, i32Const, 7, opEnd})...),
		section(7, vec(append(str("dive"), 0, 0), append(str("again"), 0, 1))...),
		section(9, vec([]byte{0, i32Const, 0, opEnd, 2, 0, 0})...),
		section(10, vec(fn(locals, dive...), fn(1, again...))...),
	)
}

// dives are the ways into a call and out of a function.
func dives() map[string][]byte {
	deeper := []byte{get, 0, i32Const, 1, sub, opCall, 0}
	cat := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	return map[string][]byte{
		"falls off the end":    cat([]byte{get, 0, opIf, i32}, deeper, []byte{i32Const, 1, add, 0x05, i32Const, 0, opEnd}),
		"returns":              cat([]byte{get, 0, eqz, opIf, none, i32Const, 0, opReturn, opEnd}, deeper, []byte{opReturn}),
		"branches out":         cat([]byte{get, 0, eqz, opIf, none, i32Const, 0, opBr, 1, opEnd}, deeper, []byte{opBr, 0}),
		"branches by table":    cat([]byte{opBlock, i32, i32Const, 0, get, 0, opBrTable, 1, 1, 0, opEnd, 0x1a}, deeper),
		"calls by table":       cat([]byte{get, 0, eqz, opIf, none, i32Const, 0, opReturn, opEnd, get, 0, i32Const, 1, sub, i32Const, 1, opCallTable, 0, 0}),
		"calls in an argument": cat([]byte{get, 0, opIf, i32, i32Const, 0, opCall, 0}, deeper, []byte{add, i32Const, 0, opCall, 0, add, 0x05, i32Const, 0, opEnd}),
		"calls in a loop": cat([]byte{get, 0, eqz, opIf, none, i32Const, 0, opReturn, opEnd, opLoop, none, i32Const, 0, opCall, 0, 0x1a,
			get, 1, i32Const, 1, add, tee, 1, i32Const, 3, 0x47, opBrIf, 0, opEnd}, deeper),
	}
}

// stackWorld instantiates a metered module.
func stackWorld(t *testing.T, wasm []byte) *guest {
	t.Helper()
	return start(t, context.Background(), wazero.NewRuntimeConfigCompiler(), rewrite(t, wasm).Module)
}

// dive calls an export with a stack of so many bytes, and returns the trap and what it left.
func (g *guest) dive(name string, n uint64, stack int32) (trap string, left int32) {
	giveStack(g.Module, stack)
	if _, err := g.ExportedFunction(name).Call(g.ctx, n); err != nil {
		trap = err.Error()
	}
	return trap, int32(g.ExportedGlobal(meter.DefaultOptions().Module + ".stack").Get())
}

// TestStack dives as deep as the stack allows, often, and deeper.
func TestStack(t *testing.T) {
	const stack = 64 << 10
	for name, code := range dives() {
		t.Run(name, func(t *testing.T) {
			g := stackWorld(t, stackGuest(1, code...))
			if trap, left := g.dive("dive", 100, stack); trap != "" || left < 0 {
				t.Errorf("100 deep: %s, %d bytes left", trap, left)
			}
			trap, left := g.dive("dive", 100_000, stack)
			if !strings.Contains(trap, "unreachable") || left >= 0 {
				t.Errorf("100,000 deep: %q, %d bytes left", trap, left)
			}
			// As deep as can be, less a little: that a call has returned must not show in the next one.
			deepest := uint64(100)
			for n := uint64(1 << 12); n > 0; n /= 2 {
				if trap, _ := g.dive("dive", deepest+n, stack); trap == "" {
					deepest += n
				}
			}
			if trap, left := g.dive("again", deepest-3, stack); trap != "" {
				t.Errorf("4000 times %d deep: %s, %d bytes left", deepest-3, trap, left)
			}
		})
	}
}

// TestStackOfLeaf calls nothing, with a large frame and with a small one.
func TestStackOfLeaf(t *testing.T) {
	large := append(bytes.Repeat([]byte{get, 0, globalGet, 0, add, set, 0}, 5000), get, 0)
	for _, c := range []struct {
		name string
		code []byte
		trap bool
	}{{"small", []byte{get, 0}, false}, {"large", large, true}} {
		g := stackWorld(t, stackGuest(0, c.code...))
		if trap, left := g.dive("dive", 1, 100); (trap != "") != c.trap || (left < 0) != c.trap {
			t.Errorf("%s: %q, %d bytes left", c.name, trap, left)
		}
	}
}

// TestFrames lets functions recurse up to the engine's own bound, and holds what was counted on the way against it: its stack
// doubles from 10 KiB until it is over 50 MB.
func TestFrames(t *testing.T) {
	const bound = 10240 << 13
	live := func(n int) []byte { // n values from before the call are needed after it
		code := []byte{get, 0, eqz, opIf, none, i32Const, 0, opReturn, opEnd}
		for i := range n {
			code = append(append(code, globalGet, 0, get, 0, add, set), uleb(nil, 1+i)...)
		}
		code = append(code, get, 0, i32Const, 1, sub, opCall, 0)
		for i := range n {
			code = append(append(append(code, get), uleb(nil, 1+i)...), add)
		}
		return code
	}
	shapes := map[string][]byte{}
	locals := map[string]int{"4 live": 4, "16 live": 16, "100 live": 100, "1000 live": 1000}
	for name, n := range locals {
		shapes[name] = live(n)
	}
	for name, code := range dives() {
		if name != "calls in an argument" {
			shapes[name] = code
		}
	}
	for name, code := range shapes {
		g := stackWorld(t, stackGuest(max(locals[name], 1), code...))
		trap, left := g.dive("dive", 1<<30, math.MaxInt32)
		if !strings.Contains(trap, "stack overflow") {
			t.Errorf("%s: %q", name, trap)
		}
		if ratio := float64(math.MaxInt32-left) / bound; ratio < 0.5 || ratio > 2 {
			t.Errorf("%s: the estimate is %.2f of what the engine takes", name, ratio)
		} else {
			t.Logf("%s: %.2f", name, ratio)
		}
	}
}
