package meter_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/wasm/meter"
)

// TestEveryOpcode tries every opcode there could be. Those of WebAssembly 2.0 (core specification, appendix A.7) are known, and no other is:
// an engine that learns a new one must not get it past a meter that does not count it.
func TestEveryOpcode(t *testing.T) {
	type span struct{ first, last int }
	within := func(n int, spans ...span) bool {
		return slices.ContainsFunc(spans, func(s span) bool { return s.first <= n && n <= s.last })
	}
	known := func(prefix, n int) bool {
		switch prefix {
		case 0xfc: // saturating conversions, bulk memory, tables
			return n <= 17
		case 0xfd: // vectors
			return n <= 0xff && !slices.Contains([]int{0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, 0xb2, 0xb3, 0xb4, 0xbb, 0xc2, 0xc5, 0xc6, 0xcf, 0xd0, 0xd2, 0xd3, 0xd4, 0xe2, 0xee}, n)
		}
		return within(n, span{0x00, 0x05}, span{0x0b, 0x11}, span{0x1a, 0x1c}, span{0x20, 0x26}, span{0x28, 0xc4}, span{0xd0, 0xd2})
	}
	try := func(prefix, n int, code ...byte) {
		_, err := meter.Rewrite(withBody(2, append(code, make([]byte, 20)...)...), meter.Options{})
		if errors.Is(err, meter.ErrUnsupported) == known(prefix, n) {
			t.Errorf("opcode %s: %v", fmt.Sprintf("%#x %#x", prefix, n), err)
		}
	}
	for op := range 0x100 {
		switch op {
		case 0xfc, 0xfd:
		case 0x1c: // a select, whose types follow
			try(0, op, byte(op), 1, 0x7f)
		case 0xd0: // the null of a type
			try(0, op, byte(op), 0x70)
		default:
			try(0, op, byte(op))
		}
	}
	for n := range 0x4000 {
		try(0xfc, n, uleb([]byte{0xfc}, n)...)
		try(0xfd, n, uleb([]byte{0xfd}, n)...)
	}
}
