package plugin

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Build compiles the Go plugin in dir, checks its manifest.json and writes the module with the manifest in it to out;
// "" is <dir>/<name>.wasm. It needs the go command. Nothing is written when something is wrong.
func Build(ctx context.Context, dir, out string) (path string, err error) {
	manifest, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		return "", fmt.Errorf("build plugin: %w: a plugin's folder holds manifest.json beside its Go files", err)
	}
	m, err := ParseManifest(manifest)
	if err != nil {
		return "", fmt.Errorf("build plugin: %s: %w", filepath.Join(dir, "manifest.json"), err)
	}
	if out == "" {
		out = filepath.Join(dir, m.Name+".wasm")
	}
	temp, err := os.MkdirTemp("", "patchbay-build-")
	if err != nil {
		return "", fmt.Errorf("build plugin: %w", err)
	}
	defer os.RemoveAll(temp)
	compiled := filepath.Join(temp, "plugin.wasm")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildmode=c-shared", "-ldflags=-s -w", "-o", compiled, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = 5 * time.Second // a compiler that go has started may hold its output open
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build plugin %q: go build: %w\n%s", m.Name, err, bytes.TrimSpace(said.Bytes()))
	}
	module, err := os.ReadFile(compiled)
	if err != nil {
		return "", fmt.Errorf("build plugin %q: %w", m.Name, err)
	}
	if module, err = EmbedManifest(module, manifest); err != nil {
		return "", fmt.Errorf("build plugin %q: %w", m.Name, err)
	}
	if err := replace(out, module); err != nil {
		return "", fmt.Errorf("build plugin %q: %w", m.Name, err)
	}
	return out, nil
}

// replace writes a file so that a server that watches it sees the old one or the new one, never half of it.
func replace(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".patchbay-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(content); err != nil {
		f.Close()
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
