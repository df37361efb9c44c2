package format_test

import (
	"errors"
	"math"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/wasm/format"
)

// TestNumbers writes numbers and reads them back.
func TestNumbers(t *testing.T) {
	for _, v := range []int64{0, 1, -1, 63, 64, -64, -65, 127, 128, math.MaxInt32, math.MinInt32, math.MaxUint32, math.MaxInt64, math.MinInt64} {
		r := format.NewReader(format.AppendS64(nil, v), 0)
		if got := r.S64(64); got != v || r.End("number") != nil {
			t.Errorf("%d became %d, %v", v, got, r.Err())
		}
		r = format.NewReader(format.AppendU32(nil, uint32(v)), 0)
		if got := r.U32(); got != uint32(v) || r.End("number") != nil {
			t.Errorf("%d became %d, %v", uint32(v), got, r.Err())
		}
		if int64(int32(v)) == v {
			r = format.NewReader(format.AppendS32(nil, int32(v)), 0)
			if got := r.S64(32); got != v || r.End("number") != nil {
				t.Errorf("%d became %d, %v", v, got, r.Err())
			}
		}
	}
}

// TestBadNumbers reads what is too long, too large or cut off.
func TestBadNumbers(t *testing.T) {
	u32 := func(r *format.Reader) { r.U32() }
	s32 := func(r *format.Reader) { r.S64(32) }
	s33 := func(r *format.Reader) { r.S64(33) }
	s64 := func(r *format.Reader) { r.S64(64) }
	for _, c := range []struct {
		name string
		read func(*format.Reader)
		b    []byte
		ok   bool
	}{
		{"padded", u32, []byte{0x80, 0x80, 0x80, 0x80, 0x00}, true},
		{"six bytes", u32, []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x00}, false},
		{"33 bits", u32, []byte{0xff, 0xff, 0xff, 0xff, 0x1f}, false},
		{"cut off", u32, []byte{0x80}, false},
		{"nothing", u32, nil, false},
		{"least of 32 bits", s32, []byte{0x80, 0x80, 0x80, 0x80, 0x78}, true},
		{"most of 32 bits", s32, []byte{0xff, 0xff, 0xff, 0xff, 0x07}, true},
		{"33 bits signed", s32, []byte{0x80, 0x80, 0x80, 0x80, 0x08}, false},
		{"33 bits where they may be", s33, []byte{0x80, 0x80, 0x80, 0x80, 0x08}, true},
		{"65 bits", s64, []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02}, false},
	} {
		r := format.NewReader(c.b, 0)
		if c.read(r); (r.Err() == nil) != c.ok || !c.ok && !errors.Is(r.Err(), format.ErrMalformed) {
			t.Errorf("%s: %v", c.name, r.Err())
		}
	}
}

// TestAfterAnError reads on: nothing moves and the first error stays.
func TestAfterAnError(t *testing.T) {
	r := format.NewReader([]byte{3, 'a', 'b', 'c', 9, 1, 2}, 100)
	if string(r.Name()) != "abc" || r.Count() != 0 || r.Err() == nil {
		t.Fatalf("nine items in two bytes: %v", r.Err())
	}
	first, at := r.Err(), r.At()
	if r.U8() != 0 || r.U32() != 0 || r.Take(1) != nil || r.S64(32) != 0 || r.Sub(1).Left() != 0 || r.Name() != nil {
		t.Error("something was read after an error")
	}
	if r.Err() != first || r.At() != at || at != 105 {
		t.Errorf("at byte %d: %v", r.At(), r.Err())
	}
}

func TestSections(t *testing.T) {
	section := func(id byte) []byte { return format.AppendSection(nil, id, []byte{0}) }
	module := func(ids ...byte) []byte {
		b := []byte(format.Header)
		for _, id := range ids {
			b = append(b, section(id)...)
		}
		return b
	}
	for _, c := range []struct {
		name  string
		b     []byte
		after string // the known section before each one
		want  error
	}{
		{"none", module(), "", nil},
		{"in order", module(0, 1, 0, 0, 9, 12, 10, 11, 0), "\x00\x00\x01\x01\x01\x09\x0c\x0a\x0b", nil},
		{"out of order", module(10, 12), "\x00", format.ErrMalformed},
		{"twice", module(1, 1), "\x00", format.ErrMalformed},
		{"unknown", module(14), "", format.ErrMalformed},
		{"tags", module(13), "", format.ErrUnsupported},
		{"cut off", module(1)[:10], "", format.ErrMalformed},
		{"component", []byte("\x00asm\x0d\x00\x01\x00"), "", format.ErrMalformed},
	} {
		var after []byte
		err := format.Sections(c.b, func(_ byte, _ *format.Reader, a byte) error {
			after = append(after, a)
			return nil
		})
		if !errors.Is(err, c.want) || string(after) != c.after {
			t.Errorf("%s: %v, after %q", c.name, err, after)
		}
	}
}
