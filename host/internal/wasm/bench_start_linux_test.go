package wasm_test

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// BenchmarkWorker is a worker that begins plainly beside one that begins as a copy, until it can serve; and what each holds of
// resident memory while there are a hundred: with shared pages counted each time (rss), and once for all (pss).
func BenchmarkWorker(b *testing.B) {
	for name, plain := range map[string]bool{"plain": true, "snapshot": false} {
		k := startKitchen(b, func(o *wasm.Options) { o.PlainStart = plain })
		start := func() func() {
			end, err := k.Worker(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			return end
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				end := start()
				b.StopTimer()
				end()
				b.StartTimer()
			}
		})
		b.Run(name+"/memory", func(b *testing.B) {
			const n = 100
			all := make([]func(), 0, n)
			debug.FreeOSMemory()
			rssBefore, pssBefore := resident(b)
			for range n {
				all = append(all, start())
			}
			debug.FreeOSMemory()
			rssAfter, pssAfter := resident(b)
			for _, end := range all {
				end()
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric((rssAfter-rssBefore)/n, "rss-KiB")
			b.ReportMetric((pssAfter-pssBefore)/n, "pss-KiB")
		})
	}
}

// resident is the process's resident memory in KiB.
func resident(tb testing.TB) (rss, pss float64) {
	tb.Helper()
	text, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		switch name, value, _ := strings.Cut(line, ":"); name {
		case "Rss":
			fmt.Sscan(value, &rss)
		case "Pss":
			fmt.Sscan(value, &pss)
		}
	}
	return rss, pss
}
