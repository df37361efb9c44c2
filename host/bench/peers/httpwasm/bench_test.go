// Package httpwasm times what http-wasm-host-go does, as a peer of the wasm engine. It is a module of its own, so that the
// project inherits nothing of it.
package httpwasm

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	wasm "github.com/http-wasm/http-wasm-host-go/handler/nethttp"
)

// BenchmarkHTTPWasm has a guest in C do nothing and echo 1 KiB: alone, and 64 at a time. The handler is called without HTTP.
func BenchmarkHTTPWasm(b *testing.B) {
	guest := compileC(b)
	kib := strings.Repeat("0123456789abcdef", 64)
	middleware, err := wasm.NewMiddleware(context.Background(), guest)
	if err != nil {
		b.Fatal(err)
	}
	defer middleware.Close(context.Background())
	handler := middleware.NewHandler(context.Background(), http.NotFoundHandler())
	for _, c := range []struct{ name, method, body string }{{"noop", "GET", ""}, {"echo", "POST", kib}} {
		once := func() {
			req, err := http.NewRequest(c.method, "http://bench/", http.NoBody)
			if err != nil {
				b.Fatal(err)
			}
			if c.body != "" {
				req.Body = io.NopCloser(strings.NewReader(c.body))
			}
			w := discard{header: http.Header{}, status: 200}
			if handler.ServeHTTP(&w, req); w.status != 200 || w.bytes != len(c.body) {
				b.Errorf("%s: status %d, %d bytes", c.name, w.status, w.bytes)
			}
		}
		b.Run("c/"+c.name+"/1", func(b *testing.B) {
			defer cpuTime(b)()
			for b.Loop() {
				once()
			}
		})
		b.Run("c/"+c.name+"/64", func(b *testing.B) {
			defer cpuTime(b)()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					once()
				}
			})
		})
	}
}

// discard is a response that nobody reads.
type discard struct {
	header        http.Header
	status, bytes int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { d.bytes += len(p); return len(p), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

// compileC skips where there is no clang.
func compileC(b *testing.B) []byte {
	if _, err := exec.LookPath("clang"); err != nil {
		b.Skip("clang is not installed: apt install clang lld")
	}
	out := filepath.Join(b.TempDir(), "guest.wasm")
	cmd := exec.Command("clang", "--target=wasm32", "-nostdlib", "-O2", "-Wl,--no-entry", "-o", out, filepath.Join("testdata", "guest.c"))
	if said, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("compile the guest: %v\n%s", err, said)
	}
	module, err := os.ReadFile(out)
	if err != nil {
		b.Fatal(err)
	}
	return module
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
