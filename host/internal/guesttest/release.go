package guesttest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// BuildRelease compiles the Go plugin in dir with another release of Go, such as "go1.24.9", and returns the file's path. The
// plugin becomes a module of its own for that, as an author's is: it may need the SDK and the standard library. The Go command
// fetches the release; outside of CI only one that it has already is used, and the test is skipped where it has not.
func BuildRelease(t testing.TB, dir, release string) string {
	t.Helper()
	needRelease(t, release)
	return once(t, dir, release, func(dir, path string) error {
		module := t.TempDir()
		const sdk = "github.com/patchbay-run/patchbay/sdk/go"
		mod := fmt.Sprintf("module guest\n\ngo 1.24\n\nrequire %s v0.0.0\n\nreplace %s => %s\n", sdk, sdk, filepath.Join(Root(), "sdk", "go"))
		if err := os.WriteFile(filepath.Join(module, "go.mod"), []byte(mod), 0o600); err != nil {
			return err
		}
		sources, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			return err
		}
		for _, source := range sources {
			b, err := os.ReadFile(source)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(module, filepath.Base(source)), b, 0o600); err != nil {
				return err
			}
		}
		temp := path + ".new"
		defer os.Remove(temp)
		if err := goBuild(module, temp, "GOTOOLCHAIN="+release, "GOWORK=off"); err != nil {
			return fmt.Errorf("compile guest %s with %s: %w", dir, release, err)
		}
		return os.Rename(temp, path)
	})
}

// needRelease skips a test where a release of Go is not at hand. In CI it is fetched.
func needRelease(t testing.TB, release string) {
	t.Helper()
	ci := os.Getenv("CI") != ""
	cmd := exec.Command("go", "version")
	cmd.Dir = t.TempDir() // no go.work may choose the release
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN="+release, "GOWORK=off")
	if !ci {
		cmd.Env = append(cmd.Env, "GOPROXY=off")
	}
	said, err := cmd.CombinedOutput()
	if err == nil && strings.Contains(string(said), release+" ") {
		return
	}
	say := fmt.Sprintf("%s is not at hand (GOTOOLCHAIN=%s go version fetches it): %v %s", release, release, err, said)
	if ci {
		t.Fatal(say)
	}
	t.Skip(say)
}
