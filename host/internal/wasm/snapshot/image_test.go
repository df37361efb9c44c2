//go:build linux

package snapshot_test

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/wasm/snapshot"
)

// imageOf is an image of a memory of this content.
func imageOf(t *testing.T, memory []byte) *snapshot.Image {
	t.Helper()
	return capture(t, new(snapshot.Plan), memory, nil)
}

// TestSparse stores what is not zero, and gives back all of it.
func TestSparse(t *testing.T) {
	page := os.Getpagesize()
	for _, c := range []struct {
		name   string
		pages  []int // those with something in them
		stored int
	}{
		{"nothing", nil, 0},
		{"the first", []int{0}, 1},
		{"the last", []int{47}, 1},
		{"some", []int{3, 4, 5, 9, 30}, 5},
		{"both ends", []int{0, 47}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			memory := make([]byte, 48*page)
			for _, i := range c.pages {
				memory[i*page+page-1] = byte(i + 1)
			}
			image := imageOf(t, memory)
			if image.Size() != int64(len(memory)) || image.Stored() != int64(c.stored*page) {
				t.Errorf("size %d, stored %d", image.Size(), image.Stored())
			}
			want := bytes.Clone(memory)
			clear(memory) // the image is a copy
			for range 2 { // what the first one writes, the second does not see
				m, err := image.Map(int64(64 * page))
				if err != nil {
					t.Fatal(err)
				}
				got := m.Reallocate(uint64(64 * page))
				if !bytes.Equal(got[:len(want)], want) {
					t.Error("the memory is not as it was")
				}
				if len(bytes.Trim(got[len(want):], "\x00")) != 0 {
					t.Error("something lies beyond the image")
				}
				for i := range got {
					got[i] = 0xff
				}
				m.Free()
			}
		})
	}
}

// TestSealed opens the image's file through its descriptor: nobody can change what instances start from.
func TestSealed(t *testing.T) {
	memory := bytes.Repeat([]byte{1}, 1<<16)
	imageOf(t, memory)
	files, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, name := range files {
		if to, err := os.Readlink(name); err != nil || !strings.HasPrefix(to, "/memfd:patchbay-snapshot") {
			continue
		}
		found = true
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			continue // refused already
		}
		if _, err := f.WriteAt([]byte{2}, 0); err == nil {
			t.Error("the image was written to")
		}
		if err := f.Truncate(0); err == nil {
			t.Error("the image was cut off")
		}
		f.Close()
	}
	if !found {
		t.Error("no image is open")
	}
}

// TestGrow goes to the limit and no further.
func TestGrow(t *testing.T) {
	mod, p := instance(t, counting())
	small, err := p.image.Map(4 << 16)
	if err != nil {
		t.Fatal(err)
	}
	first := small.Reallocate(2 << 16)
	first[8]++
	for _, c := range []struct {
		size uint64
		ok   bool
	}{{3 << 16, true}, {4<<16 + 1, false}, {1 << 40, false}, {4 << 16, true}, {5 << 16, false}} {
		b := small.Reallocate(c.size)
		if ok := b != nil; ok != c.ok || ok && uint64(len(b)) != c.size {
			t.Errorf("%d bytes: got %d", c.size, len(b))
		}
		if b != nil {
			if &b[0] != &first[0] || b[8] != first[8] {
				t.Error("it has moved")
			}
			b[len(b)-1] = 1
		}
	}
	small.Free()
	small.Free()
	if small.Reallocate(1<<16) != nil {
		t.Error("a freed memory gives bytes")
	}

	// The guest sees the same: the module's own maximum is nine pages.
	if got := call(t, mod, "grow", 7); got != 2 {
		t.Errorf("grow by 7 is %d", int32(got))
	}
	if got := call(t, mod, "load", 9<<16-1); got != 0 {
		t.Errorf("the last byte is %d", got)
	}
	if got := call(t, mod, "grow", 1); int32(got) != -1 {
		t.Errorf("grow by one more is %d", int32(got))
	}
	if got := call(t, mod, "load", 8); got != 40 {
		t.Errorf("after growing the byte is %d", got)
	}
}

func TestMapRefuses(t *testing.T) {
	image := imageOf(t, make([]byte, 2<<16))
	if _, err := image.Map(1 << 16); err == nil || !strings.Contains(err.Error(), "raise limits.memory") {
		t.Errorf("a limit below the image: %v", err)
	}
	memory := make([]byte, 1<<16)
	memory[0] = 1
	image = imageOf(t, memory)
	kept, err := image.Map(1 << 16)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := image.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := image.Map(1 << 16); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("a closed image: %v", err)
	}
	if image.Mapped() != 1 || kept.Reallocate(1 << 16)[0] != 1 {
		t.Errorf("after closing %d memories are mapped", image.Mapped())
	}
	kept.Free()
	if image.Mapped() != 0 {
		t.Errorf("%d memories are left", image.Mapped())
	}
	if _, err := new(snapshot.Plan).Capture(make([]byte, 100), nil); err == nil {
		t.Error("a part of a page was taken")
	}
}

// TestCloseWhileMapping races makers of memories against Close: each gets the image's bytes or an error.
func TestCloseWhileMapping(t *testing.T) {
	memory := make([]byte, 1<<16)
	memory[7] = 7
	for range 20 {
		image := imageOf(t, memory)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 20 {
					m, err := image.Map(1 << 16)
					if err != nil {
						return
					}
					if m.Reallocate(1 << 16)[7] != 7 {
						t.Error("these are another file's bytes")
					}
					m.Free()
				}
			})
		}
		image.Close()
		wg.Wait()
		if image.Mapped() != 0 {
			t.Errorf("%d memories are left", image.Mapped())
		}
	}
}

// TestLeavesNothing creates and closes 2,000 instances, and 200 images.
func TestLeavesNothing(t *testing.T) {
	p := newProgram(t, counting())
	donor := p.plain()
	p.take(donor)
	cycle := func(n int) {
		for i := range n {
			mod := p.start()
			if i%100 == 0 {
				call(t, mod, "grow", 3)
			}
			mod.Close(p.ctx)
			if i%10 == 0 {
				image, err := p.plan.Capture(whole(donor), func(string) uint64 { return 0 })
				if err != nil {
					t.Fatal(err)
				}
				image.Close()
			}
		}
	}
	cycle(100) // the runtime's own mappings and caches
	before := inUse(t)
	cycle(2000)
	var after usage
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		after = inUse(t)
		if after.files <= before.files && after.goroutines <= before.goroutines && after.mappings <= before.mappings+200 { // Go's heap grows, too
			return
		}
		if time.Now().After(end) {
			t.Fatalf("before %+v, after %+v", before, after)
		}
	}
}

type usage struct{ mappings, files, goroutines int }

func inUse(t *testing.T) usage {
	t.Helper()
	runtime.GC()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return usage{bytes.Count(maps, []byte("\n")), len(files), runtime.NumGoroutine()}
}
