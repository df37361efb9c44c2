// Package extism times what Extism's go-sdk does, as a peer of the wasm engine. It is a module of its own, so that the
// project inherits nothing of it.
package extism

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	extism "github.com/extism/go-sdk"
	"github.com/tetratelabs/wazero"
)

// BenchmarkExtism calls plugins: Extism's own that does nothing, and ours in Go and C that do nothing and echo 1 KiB. An instance serves one
// call at a time; "all" has one for each CPU.
func BenchmarkExtism(b *testing.B) {
	kib := []byte(strings.Repeat("0123456789abcdef", 64))
	inC, inGo := compileC(b), compileGo(b)
	for _, c := range []struct {
		name, module, function string
		input                  []byte
	}{
		{"own/noop", ownNoop(b), "run_test", nil},
		{"go/noop", inGo, "noop", nil},
		{"go/echo", inGo, "echo", kib},
		{"c/noop", inC, "noop", nil},
		{"c/echo", inC, "echo", kib},
	} {
		if c.module == "" {
			continue
		}
		cache := wazero.NewCompilationCache()
		b.Cleanup(func() { cache.Close(context.Background()) })
		compiled, err := extism.NewCompiledPlugin(context.Background(),
			extism.Manifest{Wasm: []extism.Wasm{extism.WasmFile{Path: c.module}}},
			extism.PluginConfig{EnableWasi: true, RuntimeConfig: wazero.NewRuntimeConfig().WithCompilationCache(cache)}, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { compiled.Close(context.Background()) })
		instance := func() *extism.Plugin {
			p, err := compiled.Instance(context.Background(), extism.PluginInstanceConfig{ModuleConfig: wazero.NewModuleConfig()})
			if err != nil {
				b.Fatal(err)
			}
			return p
		}
		once := func(p *extism.Plugin) {
			code, out, err := p.Call(c.function, c.input)
			if err != nil || code != 0 || !bytes.Equal(out, c.input) {
				b.Errorf("%s: code %d, %d bytes, error %v", c.name, code, len(out), err)
			}
		}
		b.Run(c.name+"/1", func(b *testing.B) {
			p := instance()
			defer p.Close(context.Background())
			defer cpuTime(b)()
			for b.Loop() {
				once(p)
			}
		})
		b.Run(c.name+"/all", func(b *testing.B) {
			defer cpuTime(b)()
			b.RunParallel(func(pb *testing.PB) {
				p := instance()
				defer p.Close(context.Background())
				for pb.Next() {
					once(p)
				}
			})
		})
	}
}

// ownNoop is the plugin that Extism times itself with.
func ownNoop(b *testing.B) string {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/extism/go-sdk").Output()
	if err != nil {
		b.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(dir)), "wasm", "noop.wasm")
}

func compileGo(b *testing.B) string {
	out := filepath.Join(b.TempDir(), "guest.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, ".")
	cmd.Dir = filepath.Join("testdata", "guest")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOWORK=off")
	if said, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("compile the guest: %v\n%s", err, said)
	}
	return out
}

// compileC gives "" where there is no clang.
func compileC(b *testing.B) string {
	if _, err := exec.LookPath("clang"); err != nil {
		return ""
	}
	out := filepath.Join(b.TempDir(), "guest.wasm")
	cmd := exec.Command("clang", "--target=wasm32", "-nostdlib", "-O2", "-Wl,--no-entry", "-o", out, filepath.Join("testdata", "guest.c"))
	if said, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("compile the guest: %v\n%s", err, said)
	}
	return out
}

// cpuTime reports the process's CPU time per operation from now until the function it returns is called.
func cpuTime(b *testing.B) func() {
	b.ReportAllocs()
	b.ResetTimer()
	began := used(b)
	return func() { b.ReportMetric(float64((used(b)-began).Nanoseconds())/float64(b.N), "cpu-ns/op") }
}

func used(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
