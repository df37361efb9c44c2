package snapshot_test

import (
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero/api"
)

// BenchmarkStart starts a Go guest plainly and from a snapshot, in turn within every iteration, so that a busy machine
// disturbs both alike. Each then makes a goroutine, a timer and a channel ("called"). The figures are medians: microseconds
// from the begin, and KiB of resident memory per instance while 100 of a kind are there, with what is shared counted once
// for all (pss) and each time (rss).
func BenchmarkStart(b *testing.B) {
	p := goProgram(b)
	kinds := []struct {
		name  string
		start func() api.Module
	}{{"plain", p.plain}, {"snapshot", p.start}}
	started, called := make([][]time.Duration, len(kinds)), make([][]time.Duration, len(kinds))
	for b.Loop() {
		for k, kind := range kinds {
			begin := time.Now()
			mod := kind.start()
			started[k] = append(started[k], time.Since(begin))
			call(b, mod, "spawn", 1)
			called[k] = append(called[k], time.Since(begin))
			mod.Close(p.ctx)
		}
	}
	b.ReportMetric(0, "ns/op") // the sum of both means nothing
	for k, kind := range kinds {
		b.ReportMetric(median(started[k]), kind.name+"-us")
		b.ReportMetric(median(called[k]), kind.name+"-called-us")
	}
	for _, kind := range kinds {
		rss, pss := resident(b, p, kind.start, false)
		b.ReportMetric(rss, kind.name+"-rss-KiB")
		b.ReportMetric(pss, kind.name+"-pss-KiB")
		rss, pss = resident(b, p, kind.start, true)
		b.ReportMetric(rss, kind.name+"-called-rss-KiB")
		b.ReportMetric(pss, kind.name+"-called-pss-KiB")
	}
}

// resident is KiB per instance.
func resident(b *testing.B, p *program, start func() api.Module, called bool) (rss, pss float64) {
	const n = 100
	debug.FreeOSMemory()
	rssBefore, pssBefore := rollup(b)
	var instances []api.Module
	for range n {
		mod := start()
		if called {
			call(b, mod, "spawn", 1)
		}
		instances = append(instances, mod)
	}
	debug.FreeOSMemory()
	rssAfter, pssAfter := rollup(b)
	for _, mod := range instances {
		mod.Close(p.ctx)
	}
	return (rssAfter - rssBefore) / n, (pssAfter - pssBefore) / n
}

// rollup is the process's resident memory in KiB.
func rollup(b *testing.B) (rss, pss float64) {
	text, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		b.Skip(err)
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

// median is the middle of d in microseconds.
func median(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2]) / 1e3
}
