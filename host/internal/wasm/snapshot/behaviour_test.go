package snapshot_test

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/wasm/format"
	"github.com/patchbay-run/patchbay/host/internal/wasm/snapshot"
)

// counting has a counter in a global and one in memory, both of which initialisation sets to 40, and a memory that initialisation
// grows by a page.
func counting() []byte {
	return guest([]function{
		{"_initialize", sigVoid, []byte{0x41, 40, 0x24, 0, 0x41, 8, 0x41, 40, 0x3a, 0, 0, 0x41, 1, 0x40, 0, 0x1a}},
		{"count", sigGet, []byte{0x23, 0, 0x41, 1, 0x6a, 0x24, 0, 0x23, 0}}, // global += 1
		{"note", sigSet, []byte{0x41, 8, 0x20, 0, 0x3a, 0, 0}},              // memory[8] = argument
		{"grow", sigBoth, []byte{0x20, 0, 0x40, 0}},
		load(),
	}, globals(global(0x7f, 1, 0x41, 1)), activeData(ended(0x41, 8)))
}

// TestApart runs two instances of one image: neither sees what the other writes, and both begin where the donor was.
func TestApart(t *testing.T) {
	a, p := instance(t, counting())
	b := p.start()
	for i := range uint64(3) {
		if got := call(t, a, "count"); got != 41+i {
			t.Errorf("count is %d", got)
		}
	}
	if got := call(t, b, "count"); got != 41 {
		t.Errorf("count in the other instance is %d", got)
	}
	if got := call(t, b, "load", 8); got != 40 {
		t.Errorf("the byte is %d, initialisation wrote 40", got)
	}
	call(t, a, "note", 99)
	if a, b := call(t, a, "load", 8), call(t, b, "load", 8); a != 99 || b != 40 {
		t.Errorf("after one wrote 99 the bytes are %d and %d", a, b)
	}
	if got := call(t, p.start(), "load", 8); got != 40 {
		t.Errorf("a later instance has %d", got)
	}
	if n := a.Memory().Size(); n != 2<<16 {
		t.Errorf("the memory has %d bytes, the donor's had two pages", n)
	}
}

// everyNumber has a global of every number type, with a getter for each.
func everyNumber() []byte {
	return guest([]function{
		{"_initialize", sigVoid, append([]byte{0x41, 0x7f, 0x24, 0, 0x42, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f, 0x24, 1,
			0x43, 1, 0, 0xa0, 0x7f, 0x24, 2, 0x44}, append(binary.LittleEndian.AppendUint64(nil, math.Float64bits(-0.5)), 0x24, 3)...)},
		{"low", sigGet, []byte{0x23, 0}},
		{"wide", sigGet, []byte{0x23, 1, 0x42, 32, 0x88, 0xa7}}, // the upper half
		{"nan", sigGet, []byte{0x23, 2, 0xbc}},                  // reinterpreted
		{"half", sigGet, []byte{0x23, 3, 0xbd, 0x42, 32, 0x88, 0xa7}},
		{"constant", sigGet, []byte{0x23, 4, 0xfd, 0x1b, 0}}, // i32x4.extract_lane
	}, globals(global(0x7f, 1, 0x41, 0), global(0x7e, 1, 0x42, 0), global(0x7d, 1, 0x43, 0, 0, 0, 0), global(0x7c, 1, 0x44, 0, 0, 0, 0, 0, 0, 0, 0),
		global(0x7b, 0, vector(7)...)))
}

func TestGlobals(t *testing.T) {
	mod, _ := instance(t, everyNumber())
	for name, want := range map[string]uint64{
		"low":      math.MaxUint32,
		"wide":     1 << 31,
		"nan":      0x7fa00001,
		"half":     math.Float64bits(-0.5) >> 32,
		"constant": 0x07070707,
	} {
		if got := call(t, mod, name); got != want {
			t.Errorf("%s is %#x, want %#x", name, got, want)
		}
	}
}

// twoTables calls through two tables that its element segments fill.
func twoTables() []byte {
	return guest([]function{
		{"one", sigGet, []byte{0x41, 1}},
		{"two", sigGet, []byte{0x41, 2}},
		{"first", sigBoth, []byte{0x20, 0, 0x11, sigGet, 0}},
		{"second", sigBoth, []byte{0x20, 0, 0x11, sigGet, 1}},
	}, vec(format.SecTable, []byte{0x70, 0, 2}, []byte{0x70, 0, 2}),
		vec(format.SecElement, []byte{0, 0x41, 0, 0x0b, 2, 0, 1}, []byte{2, 1, 0x41, 0, 0x0b, 0, 2, 1, 0}))
}

func TestTables(t *testing.T) {
	mod, _ := instance(t, twoTables())
	for _, c := range []struct {
		name      string
		arg, want uint64
	}{{"first", 0, 1}, {"first", 1, 2}, {"second", 0, 2}, {"second", 1, 1}} {
		if got := call(t, mod, c.name, c.arg); got != c.want {
			t.Errorf("%s(%d) is %d, want %d", c.name, c.arg, got, c.want)
		}
	}
}

// TestSegments copies from a passive segment in an instance. Active data around it has gone, and keeps its number; it lies
// where the donor has written over it.
func TestSegments(t *testing.T) {
	mod, p := instance(t, guest([]function{
		{"_initialize", sigVoid, []byte{0x41, 16, 0x41, '!', 0x3a, 0, 0}},
		{"copy", sigSet, []byte{0x20, 0, 0x41, 0, 0x41, 4, 0xfc, 8, 1, 0}}, // memory.init 1
		{"again", sigSet, []byte{0x20, 0, 0x41, 0, 0x41, 4, 0xfc, 8, 0, 0}},
		load(),
	}, dataCount(3), vec(format.SecData,
		append([]byte{0, 0x41, 16, 0x0b}, str("left")...),
		append([]byte{1}, str("mine")...),
		append([]byte{2, 0, 0x41, 32, 0x0b}, str("tail")...))))
	call(t, mod, "copy", 0)
	read := func(at uint32) string {
		b, _ := mod.Memory().Read(at, 4)
		return string(b)
	}
	if a, b, c := read(0), read(16), read(32); a != "mine" || b != "!eft" || c != "tail" {
		t.Errorf("memory has %q, %q and %q", a, b, c)
	}
	// Data that was active is dropped by now, as the standard has it.
	if _, err := mod.ExportedFunction("again").Call(p.ctx, 0); err == nil {
		t.Error("an active segment was copied once more")
	}
}

// starting counts how often its start function ran, in memory at 0.
func starting() []byte {
	return guest([]function{
		{"begin", sigVoid, []byte{0x41, 0, 0x41, 0, 0x2d, 0, 0, 0x41, 1, 0x6a, 0x3a, 0, 0}},
		load(),
	}, section(format.SecStart, 0))
}

func TestStartFunction(t *testing.T) {
	mod, p := instance(t, starting())
	if p.plan.Start == "" {
		t.Fatal("the start function has no name")
	}
	if got := call(t, mod, "load", 0); got != 1 {
		t.Errorf("the start function ran %d times", got)
	}
}

func TestFillTooFar(t *testing.T) {
	plan, err := snapshot.Prepare(guest(nothing(), activeData(ended(0x41, 0xfd, 0xff, 3)))) // at the last three bytes
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Fill(make([]byte, 1<<16)); err == nil {
		t.Error("four bytes fit into three")
	}
	memory := make([]byte, 1<<16+1)
	if err := plan.Fill(memory); err != nil || string(memory[len(memory)-4:]) != "data" {
		t.Errorf("filled %q, %v", memory[len(memory)-4:], err)
	}
}
