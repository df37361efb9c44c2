package snapshot_test

import (
	"os"
	"testing"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/patchbay-run/patchbay/host/internal/guesttest"
)

// goProgram is testdata/guest with an image of an initialised instance.
func goProgram(tb testing.TB) *program {
	tb.Helper()
	module, err := os.ReadFile(guesttest.Build(tb, "testdata/guest"))
	if err != nil {
		tb.Fatal(err)
	}
	p := newProgram(tb, module)
	donor := p.plain()
	p.take(donor)
	donor.Close(p.ctx)
	return p
}

// TestGo starts 100 instances of a Go guest that live side by side.
func TestGo(t *testing.T) {
	p := goProgram(t)
	if p.image.Stored() == 0 || p.image.Stored() >= p.image.Size() {
		t.Errorf("%d bytes of %d are stored", p.image.Stored(), p.image.Size())
	}
	var instances []api.Module
	secrets, dice := map[uint64]bool{}, map[uint64]bool{}
	var lastWall, lastAge int64
	for i := range uint64(100) {
		before := time.Now().UnixNano()
		mod := p.start()
		instances = append(instances, mod)

		if got := call(t, mod, "swap", i+1); got != 0 {
			t.Fatalf("instance %d: the global of another one: %d", i, got)
		}
		if got := call(t, mod, "work", 50); got != 3+64 {
			t.Fatalf("instance %d: work is %d", i, got)
		}
		if got := call(t, mod, "spawn", 50); got != 50*49/2 {
			t.Fatalf("instance %d: spawn is %d", i, got)
		}
		wall, age := int64(call(t, mod, "walltime")), int64(call(t, mod, "age"))
		if wall < before || wall > time.Now().UnixNano() || wall <= lastWall {
			t.Fatalf("instance %d: the time is %d, it began after %d, the one before said %d", i, wall, before, lastWall)
		}
		if age <= lastAge {
			t.Fatalf("instance %d: %d ns since the donor began, the one before said %d", i, age, lastAge)
		}
		lastWall, lastAge = wall, age
		secrets[call(t, mod, "secret")] = true
		dice[call(t, mod, "dice")] = true
	}
	if len(secrets) != len(instances) {
		t.Errorf("crypto/rand gave %d numbers to %d instances", len(secrets), len(instances))
	}
	if len(dice) != 1 {
		t.Errorf("math/rand gave %d numbers, and the documentation says that it repeats", len(dice))
	}
	for i, mod := range instances {
		if got := call(t, mod, "swap", 0); got != uint64(i+1) {
			t.Errorf("instance %d: its global became %d", i, got)
		}
		mod.Close(p.ctx)
	}
	if n := p.image.Mapped(); n != 0 {
		t.Errorf("%d memories are left", n)
	}
}

// TestGoGrows lets one instance allocate far beyond the image, with its collector at work.
func TestGoGrows(t *testing.T) {
	p := goProgram(t)
	mod := p.start()
	defer mod.Close(p.ctx)
	before := mod.Memory().Size()
	if got := call(t, mod, "hold", 24); got != 64+24 {
		t.Errorf("hold is %d", got)
	}
	for range 20 {
		call(t, mod, "work", 1000)
	}
	if after := mod.Memory().Size(); after < 24<<20 || after <= before {
		t.Errorf("the memory went from %d to %d bytes", before, after)
	}
}
