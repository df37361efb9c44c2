package snapshot_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/patchbay-run/patchbay/host/internal/wasm/snapshot"
)

// TestSpec prepares the modules of the engine's own specification tests: a variant is valid if, and only if, the original is.
func TestSpec(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		t.Skip("where the engine's modules are is not known")
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "internal/integration_test/spectest/v2/testdata/*.wasm"))
	if err != nil || len(files) == 0 {
		t.Skip("the engine's modules are not there")
	}
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer r.Close(ctx)
	prepared := 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := snapshot.Prepare(b)
		if err != nil {
			continue
		}
		prepared++
		original, want := r.CompileModule(ctx, b)
		if want == nil {
			original.Close(ctx)
		}
		variant, got := r.CompileModule(ctx, plan.Module)
		if got == nil {
			variant.Close(ctx)
		}
		if (want == nil) != (got == nil) {
			t.Errorf("%s: original %v, variant %v", filepath.Base(file), want, got)
		}
	}
	if prepared < 100 {
		t.Errorf("%d of %d modules were prepared", prepared, len(files))
	}
	t.Logf("%d of %d", prepared, len(files))
}
