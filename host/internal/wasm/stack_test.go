package wasm_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// TestStackLimit has pools of one compiled module with stacks of their own, with workers that start plainly and as copies, serve
// a request of a thousand calls within calls, which takes some 80 KiB.
func TestStackLimit(t *testing.T) {
	needClang(t)
	m, err := openEngine(t).Compile(t.Context(), buildC(t, "testdata/hostile/recursion_bounded.c"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Release)
	s := &subject{module: m, routes: []string{"GET /"}}
	for _, c := range []struct {
		name  string
		plain bool
		stack int64
		limit string // of the error; empty is an answer
	}{
		{"the first", false, 256 << 10, ""},
		{"copy with less", false, 64 << 10, "64 KiB"},
		{"copy with more", false, 32 << 20, ""},
		{"plain with less", true, 64 << 10, "64 KiB"},
		{"plain with more", true, 1 << 20, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := s.start(t, func(o *wasm.Options) { o.PlainStart, o.Stack = c.plain, c.stack })
			if c.limit == "" {
				for range 100 { // each has the whole of it
					if got := k.must(t, "GET /", ""); got != "1000" {
						t.Fatalf("it went %s deep", got)
					}
				}
				return
			}
			_, err := k.do(t, "GET /", "")
			var trap *wasm.TrapError
			var stack *wasm.StackError
			if !errors.As(err, &trap) || !errors.As(err, &stack) || stack.Limit != c.stack {
				t.Fatalf("got %v, want a StackError", err)
			}
			if want := "it used more stack than limits.stack (" + c.limit + "): recursion without end?"; trap.Reason() != want {
				t.Errorf("the reason is %q, want %q", trap.Reason(), want)
			}
			if !strings.Contains(err.Error(), "deeper") {
				t.Errorf("the guest's stack is not in %v", err)
			}
		})
	}
}
