package wasm_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/guesttest"
)

// buildC compiles a guest of one C source with sdk/c/patchbay.h and gives the module. What it was made from names where
// it is kept: the source, the headers and the manifest beside it, the compiler.
func buildC(t testing.TB, source string) []byte {
	t.Helper()
	needClang(t)
	sdk := filepath.Join(guesttest.Root(), "sdk", "c")
	version, err := exec.Command("clang", "--version").Output()
	if err != nil {
		t.Fatalf("ask clang for its version: %v", err)
	}
	h := sha256.New()
	h.Write(version)
	beside, _ := filepath.Glob(filepath.Join(filepath.Dir(source), "*.h"))
	for _, path := range append(beside, source, filepath.Join(sdk, "patchbay.h"), filepath.Join(filepath.Dir(source), "manifest.json")) {
		b, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		h.Write([]byte(path))
		h.Write(b)
	}
	folder := filepath.Join(guesttest.Cache(t), "guests-c")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	name := strings.TrimSuffix(filepath.Base(source), ".c")
	kept := filepath.Join(folder, name+"-"+hex.EncodeToString(h.Sum(nil))[:16]+".wasm")
	if b, err := os.ReadFile(kept); err == nil {
		return b
	}
	temp := filepath.Join(t.TempDir(), "guest.wasm")
	cmd := exec.Command("clang", "--target=wasm32", "-nostdlib", "-O2", "-Wall", "-Wextra", "-Werror", "-Wl,--no-entry",
		"-I"+sdk, "-o", temp, filepath.Base(source))
	cmd.Dir = filepath.Dir(source)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("compile %s: %v\n%s", source, err, said)
	}
	b, err := os.ReadFile(temp)
	if err != nil {
		t.Fatal(err)
	}
	// A name of its own until it is whole: another run may be at the same.
	whole, err := os.CreateTemp(folder, name)
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(whole.Name())
	_, err = whole.Write(b)
	if closed := whole.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(whole.Name(), kept)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// needClang skips a test where there is no clang. In CI there must be one.
func needClang(t testing.TB) {
	t.Helper()
	for _, tool := range []string{"clang", "wasm-ld"} {
		if _, err := exec.LookPath(tool); err == nil {
			continue
		}
		const say = "clang is not installed: apt install clang lld"
		if os.Getenv("CI") != "" {
			t.Fatal(say)
		}
		t.Skip(say)
	}
}
