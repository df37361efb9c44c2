package wasm_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// TestStart: how workers begin is told.
func TestStart(t *testing.T) {
	for want, change := range map[string]func(*wasm.Options){
		"snapshot":          nil,
		"plain: configured": func(o *wasm.Options) { o.PlainStart = true },
	} {
		if got := startKitchen(t, change).Stats().Start; got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
}

// TestCopiesDifferInWhatTheHostGives: random bytes of the host and clocks are a copy's own. What a guest seeded itself repeats, as
// docs/plugins.md says, unless its workers start plainly.
func TestCopiesDifferInWhatTheHostGives(t *testing.T) {
	for name, plain := range map[string]bool{"copies": false, "plain": true} {
		k := startKitchen(t, func(o *wasm.Options) { o.Fresh, o.PlainStart = true, plain })
		seen, dice := map[string]bool{}, map[string]bool{}
		lastWall, lastAge := time.Now().UnixNano(), int64(-1)
		for range 4 {
			seen[k.must(t, "GET /random", "")] = true
			dice[k.must(t, "GET /dice", "")] = true
			var wall, age int64
			if _, err := fmt.Sscan(k.must(t, "GET /clock", ""), &wall, &age); err != nil {
				t.Fatal(err)
			}
			if wall < lastWall || wall > time.Now().UnixNano() || !plain && age <= lastAge {
				t.Errorf("%s: the clock says %d, and %d since the first began; before it said %d and %d", name, wall, age, lastWall, lastAge)
			}
			lastWall, lastAge = wall, age
		}
		if len(seen) != 4 || (len(dice) == 4) != plain {
			t.Errorf("%s: four workers gave %d texts of crypto/rand, and %d numbers of math/rand", name, len(seen), len(dice))
		}
	}
}

// BenchmarkStart is a worker that begins plainly, with its configuration and until READY, beside one that begins as a copy of it. Both are
// started for one request, of which the time is part.
func BenchmarkStart(b *testing.B) {
	for name, plain := range map[string]bool{"plain": true, "snapshot": false} {
		k := startKitchen(b, func(o *wasm.Options) { o.Fresh, o.PlainStart = true, plain })
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				k.must(b, "GET /noop", "")
			}
		})
	}
}

// TestCopyWithDueTimer: a copy may be polled for its timer while it still starts. The race detector is what can fail here.
func TestCopyWithDueTimer(t *testing.T) {
	k := startC(t, "testdata/evade/timer.c", []string{"GET /"}, func(o *wasm.Options) { o.Fresh, o.Memory = true, 512<<20 })
	time.Sleep(50 * time.Millisecond)
	if s := k.Stats(); s.Start != "snapshot" {
		t.Fatal(s.Start)
	}
	for range 3000 {
		k.must(t, "GET /", "")
	}
}

// TestReadyAndGrow: a guest goes on growing in the poll in which it says READY, which a timer's goroutine runs. The race detector is what can
// fail here.
func TestReadyAndGrow(t *testing.T) {
	for range 10 {
		k := startC(t, "testdata/evade/readylate.c", []string{"GET /"}, func(o *wasm.Options) { o.Memory = 64 << 20 })
		k.must(t, "GET /", "")
	}
}
