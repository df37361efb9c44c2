package wasm_test

import (
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// BenchmarkServe is a request through the engine, without HTTP: alone, and 64 at a time.
func BenchmarkServe(b *testing.B) {
	for name, target := range map[string]string{"noop": "GET /noop", "word": "GET /word", "fetch": "GET /fetch?path=/"} {
		k := startKitchen(b, func(o *wasm.Options) { fetching(text("hello", 5))(o) })
		b.Run(name+"/alone", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				k.must(b, target, "")
			}
		})
		b.Run(name+"/64", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					k.must(b, target, "")
				}
			})
		})
	}
}
