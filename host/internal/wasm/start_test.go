package wasm_test

import (
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// TestWorkersBeginAsCopies: the second pool of the same bytes starts from the image of the first one's worker, which has
// its configuration and its counter to itself.
func TestWorkersBeginAsCopies(t *testing.T) {
	m := compile(t, openEngine(t))
	open := func(change func(*wasm.Options)) *kitchen {
		o := kitchenOptions(t)
		change(&o)
		p, err := m.Start(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		return &kitchen{Pool: p, routes: o.Routes}
	}
	donor := open(func(*wasm.Options) {})
	for range 3 {
		donor.must(t, "GET /count", "")
	}
	copied := open(func(o *wasm.Options) { o.Config = []byte(`{"word":"other"}`) })
	plain := open(func(o *wasm.Options) { o.PlainStart = true })
	for name, c := range map[string]struct {
		k           *kitchen
		start, word string
	}{
		"donor": {donor, "snapshot", "hello"},
		"copy":  {copied, "snapshot", "other"},
		"plain": {plain, "plain: configured", "hello"},
	} {
		if got := c.k.Stats().Start; got != c.start {
			t.Errorf("%s: it started %q, want %q", name, got, c.start)
		}
		if got := c.k.must(t, "GET /word", ""); got != c.word {
			t.Errorf("%s: its word is %q, want %q", name, got, c.word)
		}
	}
	if got := copied.must(t, "GET /count", ""); got != "1" {
		t.Errorf("the copy counts from %s", got)
	}
	if got := copied.must(t, "GET /sleep?for=5ms", ""); got != "slept" {
		t.Errorf("a timer in the copy: %q", got)
	}
	if got := donor.must(t, "GET /count", ""); got != "4" {
		t.Errorf("the donor counts %s", got)
	}
	if _, err := copied.do(t, "GET /memory", ""); err == nil {
		t.Error("a copy has no limit of memory")
	}
	if got := copied.must(t, "GET /word", ""); got != "other" {
		t.Errorf("the copy of a copy: %q", got)
	}
}

// TestCopiesDifferInWhatTheHostGives: random bytes of the host and clocks are their own.
func TestCopiesDifferInWhatTheHostGives(t *testing.T) {
	m := compile(t, openEngine(t))
	seen := map[string]bool{}
	for range 4 {
		o := kitchenOptions(t)
		p, err := m.Start(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		k := &kitchen{Pool: p, routes: o.Routes}
		seen[k.must(t, "GET /random", "")] = true
		p.Close()
	}
	if len(seen) != 4 {
		t.Errorf("four workers gave %d different random texts", len(seen))
	}
}

// BenchmarkStart is a worker that begins plainly beside one that begins as a copy, configuration and READY included.
func BenchmarkStart(b *testing.B) {
	m := compile(b, openEngine(b))
	for name, plain := range map[string]bool{"plain": true, "snapshot": false} {
		b.Run(name, func(b *testing.B) {
			o := kitchenOptions(b)
			o.PlainStart = plain
			for b.Loop() {
				p, err := m.Start(b.Context(), o)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				p.Close()
				b.StartTimer()
			}
		})
	}
}
