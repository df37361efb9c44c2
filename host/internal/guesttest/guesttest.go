// Package guesttest compiles guests for tests, each once for all packages and runs: what it makes lies in a folder
// named after everything it was made from.
package guesttest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// Cache is a folder that all tests share, 0700. PATCHBAY_TEST_CACHE moves it.
func Cache(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("PATCHBAY_TEST_CACHE")
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(base, "patchbay-test")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Build compiles the Go plugin in dir, with its manifest.json when it has one, and returns the file's path.
func Build(t testing.TB, dir string) string {
	t.Helper()
	return once(t, dir, runtime.Version(), compile)
}

// once is what make made of dir with that release of Go, in this run or an earlier one.
func once(t testing.TB, dir, release string, make func(dir, path string) error) string {
	t.Helper()
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	guests := filepath.Join(Cache(t), "guests")
	if err := os.MkdirAll(guests, 0o700); err != nil {
		t.Fatal(err)
	}
	key, err := fingerprint(release, dir, filepath.Join(Root(), "sdk", "go"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(guests, filepath.Base(dir)+"-"+key+".wasm")
	unlock := lock(t, path+".lock")
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if err := make(dir, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// Root is the project's folder.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(filepath.Dir(file))))
}

// fingerprint is a hash of the Go release and of all files below the folders that a build reads.
func fingerprint(release string, dirs ...string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, release)
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			name := d.Name()
			if err != nil || d.IsDir() || strings.HasSuffix(name, "_test.go") ||
				!strings.HasSuffix(name, ".go") && name != "go.mod" && name != "manifest.json" {
				return err
			}
			b, err := os.ReadFile(path)
			fmt.Fprintf(h, "%s %d\n", path, len(b))
			h.Write(b)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

func lock(t testing.TB, path string) (unlock func()) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return func() { f.Close() }
}

func compile(dir, path string) error {
	temp := path + ".new"
	defer os.Remove(temp)
	if err := goBuild(dir, temp); err != nil {
		return fmt.Errorf("compile guest %s: %w", dir, err)
	}
	manifest, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err == nil {
		err = appendSection(temp, abi.ManifestSection, manifest)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(temp, path)
}

// goBuild has the Go command make a module of the package in dir.
func goBuild(dir, path string, env ...string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildmode=c-shared", "-ldflags=-s -w", "-o", path, ".")
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0"), env...)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, said)
	}
	return nil
}

// appendSection puts a custom section at the end of a module.
func appendSection(path, name string, content []byte) error {
	section := binary.AppendUvarint(nil, uint64(len(name)))
	section = append(append(section, name...), content...)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	head := binary.AppendUvarint([]byte{0}, uint64(len(section)))
	if _, err := io.Copy(f, io.MultiReader(bytes.NewReader(head), bytes.NewReader(section))); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
