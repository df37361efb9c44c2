package plugin_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// The part of the SDK that only a module has compiles, and gives it the exports and imports of the ABI.
func TestBuild(t *testing.T) {
	out := filepath.Join(t.TempDir(), "sample.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", out, "./testdata/sample")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{abi.ExportHandshake, abi.ExportPoll, "_initialize"} {
		if !bytes.Contains(b, append([]byte{byte(len(name))}, name...)) {
			t.Errorf("no export %q", name)
		}
	}
	for _, name := range []string{abi.ImportTake, abi.ImportSubmit, abi.ImportRespond, abi.ImportLog} {
		entry := append([]byte{byte(len(abi.ImportModule))}, abi.ImportModule...)
		entry = append(append(entry, byte(len(name))), name...)
		if !bytes.Contains(b, entry) {
			t.Errorf("no import %q", name)
		}
	}
}
