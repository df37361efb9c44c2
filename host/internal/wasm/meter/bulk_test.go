package meter_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"github.com/tetratelabs/wazero"
)

const (
	piece      = 64 << 10 // what the meter cuts bulk instructions into
	bulkPages  = 8
	bulkMemory = bulkPages * 65536
	bulkData   = 200_000
)

// bulkGuest exports fill, copy and init over its whole memory, drop for its one passive segment, and grow and fillTable.
func bulkGuest() []byte {
	data := make([]byte, bulkData)
	for i := range data {
		data[i] = byte(i*31 + i>>8)
	}
	args := []byte{0x20, 0, 0x20, 1, 0x20, 2}
	with := func(code ...byte) []byte { return fn(0, append(bytes.Clone(args), code...)...) }
	return module(
		section(1, vec([]byte{0x60, 3, 0x7f, 0x7f, 0x7f, 0}, []byte{0x60, 0, 0}, []byte{0x60, 1, 0x7f, 1, 0x7f})...),
		section(3, vec([]byte{0}, []byte{0}, []byte{0}, []byte{1}, []byte{2}, []byte{2})...),
		section(4, vec([]byte{0x70, 0, 1})...),
		section(5, vec([]byte{0, bulkPages})...),
		section(7, vec(
			export("memory", 2, 0), export("fill", 0, 0), export("copy", 0, 1), export("init", 0, 2),
			export("drop", 0, 3), export("growTable", 0, 4), export("growMemory", 0, 5))...),
		section(12, 1),
		section(10, vec(
			with(0xfc, 11, 0),
			with(0xfc, 10, 0, 0),
			with(0xfc, 8, 0, 0),
			fn(0, 0xfc, 9, 0),
			fn(0, 0xd0, 0x70, 0x20, 0, 0xfc, 15, 0),
			fn(0, 0x20, 0, 0x40, 0),
		)...),
		section(11, vec(append(uleb([]byte{1}, len(data)), data...))...),
	)
}

// TestBulk cuts copies and fills of every awkward size and place, plain and metered: same bytes, same traps.
func TestBulk(t *testing.T) {
	ctx := context.Background()
	wasm := bulkGuest()
	plain := start(t, ctx, wazero.NewRuntimeConfigCompiler(), wasm)
	metered := start(t, ctx, wazero.NewRuntimeConfigCompiler(), rewrite(t, wasm).Module)
	metered.budget = 9_000 // a little over one piece

	edges := []uint64{0, 1, piece - 1, piece, piece + 1, 2 * piece, 2*piece + 5, bulkData - 1, bulkData, bulkData + 1,
		bulkMemory - piece, bulkMemory - 1, bulkMemory, bulkMemory + 1, 1 << 31, 1<<32 - piece, 1<<32 - 1}
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func() uint64 {
		if rnd.IntN(3) > 0 {
			return edges[rnd.IntN(len(edges))]
		}
		return rnd.Uint64N(bulkMemory / 2)
	}
	seed, ok := plain.Memory().Read(0, bulkMemory)
	if !ok {
		t.Fatal("no memory")
	}
	for i := range seed {
		seed[i] = byte(rnd.Uint32())
	}
	metered.Memory().Write(0, seed)

	trapped, moved := 0, 0
	try := func(name string, args ...uint64) {
		t.Helper()
		_, p := plain.ExportedFunction(name).Call(ctx, args...)
		_, m := metered.ExportedFunction(name).Call(ctx, args...)
		if (p == nil) != (m == nil) || p != nil && cause(p) != cause(m) {
			t.Fatalf("%s%v: plain %v, metered %v", name, args, p, m)
		}
		pb, _ := plain.Memory().Read(0, bulkMemory)
		mb, _ := metered.Memory().Read(0, bulkMemory)
		if !bytes.Equal(pb, mb) {
			t.Fatalf("%s%v: memory differs", name, args)
		}
		if p != nil {
			trapped++
		} else if args != nil && args[2] > piece {
			moved++
		}
	}
	for range 1500 {
		switch rnd.IntN(4) {
		case 0:
			try("fill", pick(), rnd.Uint64N(256), pick())
		case 1:
			try("init", pick(), pick(), pick())
		case 2:
			try("copy", pick(), pick(), pick())
		default: // overlapping, by less or more than a piece, either way
			n, by, at := piece+rnd.Uint64N(3*piece), rnd.Uint64N(2*piece), rnd.Uint64N(piece)
			if rnd.IntN(2) == 0 {
				try("copy", at, at+by, n)
			} else {
				try("copy", at+by, at, n)
			}
		}
	}
	if trapped < 100 || moved < 100 {
		t.Errorf("%d trapped and %d moved over a piece: the cases are not mixed", trapped, moved)
	}
	try("drop")
	try("init", 0, 0, bulkData)
	try("init", 0, 0, 0)
	try("init", 0, 1, 0)
}

// TestBulkTicks counts the ticks within one long instruction: at least one per piece when nothing can be paid.
func TestBulkTicks(t *testing.T) {
	g := start(t, context.Background(), wazero.NewRuntimeConfigCompiler(), rewrite(t, bulkGuest()).Module)
	g.budget = 0
	for _, name := range []string{"fill", "copy"} {
		g.ticks = 0
		if _, err := g.ExportedFunction(name).Call(g.ctx, 0, 0, bulkMemory); err != nil {
			t.Fatal(err)
		}
		if g.ticks < bulkMemory/piece {
			t.Errorf("%s of %d bytes: %d ticks", name, bulkMemory, g.ticks)
		}
	}
	g.ticks = 0
	g.budget = 5000
	g.call(t, "growTable", 40_000)
	g.ticks = 0
	g.call(t, "growTable", 10)
	if g.ticks != 0 {
		t.Errorf("10 entries cost %d ticks", g.ticks)
	}
	g.call(t, "growTable", 20_000)
	if g.ticks == 0 {
		t.Error("20,000 entries cost no tick")
	}
}

// TestClamp grows past the caps: growth fails, as the format allows, and nothing else does.
func TestClamp(t *testing.T) {
	res := rewrite(t, bulkGuest())
	g := start(t, context.Background(), wazero.NewRuntimeConfigCompiler(), res.Module)
	const failed = 1<<32 - 1
	for _, c := range []struct {
		export   string
		by, want uint64
	}{
		{"growTable", 65_535, 1},
		{"growTable", 1, failed},
		{"growTable", 1 << 31, failed},
		{"growMemory", 100, bulkPages},
		{"growMemory", 4_096 - 107, failed},
		{"growMemory", 1, bulkPages + 100},
	} {
		if got := g.call(t, c.export, c.by); got != c.want {
			t.Errorf("%s(%d) = %d, want %d", c.export, c.by, got, c.want)
		}
	}
	if res.MemoryMin != bulkPages || res.MemoryMax != 4_096 {
		t.Errorf("memory %d to %d pages", res.MemoryMin, res.MemoryMax)
	}
}
