package meter_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
)

var errStop = errors.New("out of time")

// hostile exports guests that never end.
func hostile() []byte {
	rep := func(n int, code ...byte) []byte { return bytes.Repeat(code, n) }
	return module(
		section(1, vec([]byte{0x60, 0, 0})...),
		section(3, vec([]byte{0}, []byte{0}, []byte{0}, []byte{0}, []byte{0}, []byte{0}, []byte{0})...),
		section(4, vec([]byte{0x70, 0, 8})...),
		section(7, vec(export("spin", 0, 0), export("recurse", 0, 1), export("pingpong", 0, 2), export("leaves", 0, 4), export("indirect", 0, 6))...),
		section(9, vec([]byte{0, 0x41, 0, 0x0b, 1, 6})...),
		section(10, vec(
			fn(0, 0x03, 0x40, 0x0c, 0, 0x0b), // loop br 0
			fn(0, 0x10, 1),                   // calls itself
			fn(0, 0x10, 3, 0x10, 3),          // calls the next, twice
			fn(0, 0x10, 2, 0x10, 2),          // and back
			fn(0, append(append([]byte{0x03, 0x40}, rep(500, 0x10, 5)...), 0x0c, 0, 0x0b)...), // loop of calls of a leaf
			fn(0),                      // the leaf
			fn(0, 0x41, 0, 0x11, 0, 0), // calls itself through the table
		)...),
		section(0, append(str("name"), namesOf("spin", "recurse", "ping", "pong", "leaves", "leaf", "indirect")...)...),
	)
}

// namesOf is the content of a name section for functions from 0 on.
func namesOf(names ...string) []byte {
	var items [][]byte
	for i, n := range names {
		items = append(items, append([]byte{byte(i)}, str(n)...))
	}
	sub := vec(items...)
	return append(uleb([]byte{1}, len(sub)), sub...)
}

// TestStop ends guests that would never end, from the tick, and looks at the stack traces.
func TestStop(t *testing.T) {
	res := rewrite(t, hostile())
	for _, c := range []struct{ export, frame string }{
		{"spin", ".spin()"}, {"recurse", ".recurse()"}, {"pingpong", ".ping()"}, {"leaves", ".leaves()"}, {"indirect", ".indirect()"},
	} {
		t.Run(c.export, func(t *testing.T) {
			g := start(t, context.Background(), wazero.NewRuntimeConfigCompiler(), res.Module)
			g.budget = 3_000
			g.onTick = func() {
				if g.ticks > 50 {
					panic(errStop)
				}
			}
			_, err := g.ExportedFunction(c.export).Call(g.ctx)
			if !errors.Is(err, errStop) {
				t.Fatalf("ended with %v", err)
			}
			for _, frame := range []string{"patchbay_meter.tick", "patchbay_meter.renew", c.frame} {
				if !strings.Contains(err.Error(), frame) {
					t.Errorf("no %s in the trace:\n%v", frame, err)
				}
			}
			// The budget is still used up, so the next call ticks at once.
			before := g.ticks
			if _, err := g.ExportedFunction(c.export).Call(g.ctx); !errors.Is(err, errStop) || g.ticks != before+1 {
				t.Errorf("after the stop: %d ticks, %v", g.ticks-before, err)
			}
		})
	}
}

// TestPace compares the work between two ticks: with twice the budget, half the ticks.
func TestPace(t *testing.T) {
	wasm := emptyLoop()
	ticks := func(budget uint64) int {
		g := start(t, context.Background(), wazero.NewRuntimeConfigCompiler(), rewrite(t, wasm).Module)
		g.budget = budget
		g.call(t, "empty", 100_000)
		return g.ticks
	}
	one, two := ticks(1_000), ticks(2_000)
	if one < 300 || one > 2_000 || two < one/2-5 || two > one/2+5 {
		t.Errorf("%d and %d ticks", one, two)
	}
}

// TestLongCode pays more for more code: straight lines are not free.
func TestLongCode(t *testing.T) {
	long := func(n int) []byte {
		code := append([]byte{0x03, 0x40}, bytes.Repeat([]byte{0x20, 0, 0x1a}, n)...) // local.get drop
		code = append(code, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b)
		return module(
			section(1, vec([]byte{0x60, 1, 0x7f, 0})...),
			section(3, vec([]byte{0})...),
			section(7, vec(export("run", 0, 0))...),
			section(10, vec(fn(0, code...))...))
	}
	last := 0
	for _, n := range []int{1, 50, 5_000, 100_000} {
		g := start(t, context.Background(), wazero.NewRuntimeConfigCompiler(), rewrite(t, long(n)).Module)
		g.budget = 100_000
		g.call(t, "run", 1_000)
		if g.ticks < 2*last {
			t.Errorf("%d instructions: %d ticks, fewer instructions had %d", 2*n, g.ticks, last)
		}
		last = max(g.ticks, 1)
	}
}
