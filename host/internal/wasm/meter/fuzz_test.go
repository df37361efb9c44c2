package meter_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/patchbay-run/patchbay/host/internal/wasm/meter"
)

// FuzzRewrite feeds arbitrary bytes. Nothing panics; what is refused is refused for a stated reason; and what is
// accepted compiles if, and only if, the original compiles.
func FuzzRewrite(f *testing.F) {
	for _, seed := range [][]byte{
		emptyLoop(), bulkGuest(), hostile(), named(custom("name", namesOf("a", "b", "c")...), custom("x", 1)),
		withBody(2, 0x20, 0, 0x04, 0x7f, 0x41, 1, 0x05, 0x41, 2, 0x0b, 0x1a),
		withBody(0, 0xfd, 0x0c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0xfd, 0x80, 0x01, 0x1a),
		withBody(1, 0x02, 0x40, 0x20, 0, 0x0e, 2, 0, 1, 0, 0x0b),
		stackGuest(1, dives()["calls by table"]...), stackGuest(1, dives()["calls in a loop"]...),
	} {
		f.Add(seed)
	}
	for _, seed := range specSeeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		res, err := meter.Rewrite(b, meter.Options{MaxModuleBytes: 1 << 20})
		if err != nil {
			for _, kind := range []error{meter.ErrLimit, meter.ErrMalformed, meter.ErrReserved, meter.ErrUnsupported} {
				if errors.Is(err, kind) {
					return // not compiled plain: engines allocate what broken lengths ask for
				}
			}
			t.Fatalf("an error of no kind: %v", err)
		}
		if slices.Contains(res.Dropped, "name") {
			return // the engine would trust its lengths
		}
		ctx := context.Background()
		rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler())
		defer rt.Close(ctx)
		_, plain := rt.CompileModule(ctx, b)
		_, metered := rt.CompileModule(ctx, res.Module)
		if plain != nil && strings.Contains(plain.Error(), "custom section") {
			return // wazero refuses an empty custom section at the very end, where it no longer is
		}
		if (plain == nil) != (metered == nil) {
			t.Fatalf("plain: %v\nmetered: %v", plain, metered)
		}
	})
}

// specSeeds is every 40th small module of the specification tests, none if they are not there.
func specSeeds(f *testing.F) (seeds [][]byte) {
	dir, ok := findSpec()
	if !ok {
		return nil
	}
	files, err := filepath.Glob(filepath.Join(dir, "v2", "testdata", "*.wasm"))
	if err != nil {
		f.Fatal(err)
	}
	for i := 0; i < len(files); i += 40 {
		b, err := os.ReadFile(files[i])
		if err != nil {
			f.Fatal(err)
		}
		if len(b) < 4096 {
			seeds = append(seeds, b)
		}
	}
	return seeds
}

// TestTruncated cuts good modules at every byte, and flips every byte: an error or a module, never a panic.
func TestTruncated(t *testing.T) {
	for _, m := range [][]byte{emptyLoop(), hostile(), named(custom("name", namesOf("a", "b")...)), bulkGuest()[:600]} {
		for i := range m {
			if _, err := meter.Rewrite(m[:i], meter.Options{}); err == nil && i > 8 && i < len(m)-60 {
				// A module may well end between two sections, but not without the bodies of its functions.
				if m[0] == 0 && !endsAtSection(m, i) {
					t.Errorf("accepted %d of %d bytes", i, len(m))
				}
			}
			for _, x := range []byte{0xff, 0x80, 0x7f, 1} {
				bad := slices.Clone(m)
				bad[i] ^= x
				_, _ = meter.Rewrite(bad, meter.Options{})
			}
		}
	}
}

// endsAtSection says whether byte i begins a section of m.
func endsAtSection(m []byte, i int) bool {
	for at := 8; at <= i && at+1 < len(m); {
		if at == i {
			return true
		}
		n, size := 0, 0
		for shift := 0; ; shift += 7 {
			b := m[at+1+size]
			n |= int(b&0x7f) << shift
			size++
			if b < 0x80 {
				break
			}
		}
		at += 1 + size + n
	}
	return false
}
