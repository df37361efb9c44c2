package wasm_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// served is a route of a guest under a benchmark.
type served struct {
	*kitchen
	guest, name, target string
	body                string
}

// benchGuests are the routes that a request is timed on: of a guest in Go and of one in C, where there is a clang.
func benchGuests(b *testing.B, change func(*wasm.Options)) (all []served) {
	b.Helper()
	options := func(o *wasm.Options) {
		fetching(text("hello", 5))(o)
		o.InFlight = 4096
		if change != nil {
			change(o)
		}
	}
	guests := map[string]*kitchen{"go": startKitchen(b, options)}
	if _, err := exec.LookPath("clang"); err == nil {
		guests["c"] = benchC(b).start(b, options)
	}
	kib := strings.Repeat("0123456789abcdef", 64)
	for _, guest := range []string{"go", "c"} {
		if k := guests[guest]; k != nil {
			all = append(all,
				served{k, guest, "noop", "GET /noop", ""}, served{k, guest, "echo", "POST /echo", kib}, served{k, guest, "fetch", "GET /fetch?path=/", ""})
		}
	}
	return all
}

// benchC is testdata/bench/guest.c.
func benchC(b *testing.B) *subject {
	b.Helper()
	m, err := openEngine(b).Compile(b.Context(), buildC(b, filepath.Join("testdata", "bench", "guest.c")))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(m.Release)
	return &subject{module: m, routes: benchRoutes()}
}

// benchRoutes are the routes of testdata/bench/guest.c.
func benchRoutes() []string { return []string{"GET /noop", "POST /echo", "GET /fetch", "GET /fill"} }

// discard is a sink that counts.
type discard struct{ status, bytes int }

func (d *discard) Head(status int, _ []abi.Field, _ int64) error { d.status = status; return nil }
func (d *discard) Write(p []byte) error                          { d.bytes += len(p); return nil }
func (*discard) Flush() error                                    { return nil }

// BenchmarkServe is a request through the engine, without HTTP: alone, and many at a time, each as a closed loop of its own.
func BenchmarkServe(b *testing.B) {
	for _, s := range benchGuests(b, nil) {
		req := s.request(b, s.target, nil)
		once := func() {
			one, sink := *req, discard{}
			if s.body != "" {
				one.Body = &textBody{strings.NewReader(s.body)}
			}
			if err := s.Serve(context.Background(), &one, &sink); err != nil || sink.status != 200 || sink.bytes < len(s.body) {
				b.Errorf("%s: status %d, %d bytes, error %v", s.target, sink.status, sink.bytes, err)
			}
		}
		b.Run(s.guest+"/"+s.name+"/1", func(b *testing.B) {
			defer cpuTime(b)()
			for b.Loop() {
				once()
			}
		})
		for _, together := range []int{64, 1000} {
			b.Run(fmt.Sprintf("%s/%s/%d", s.guest, s.name, together), func(b *testing.B) {
				defer cpuTime(b)()
				b.SetParallelism(together / 2)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						once()
					}
				})
			})
		}
	}
}

// BenchmarkEvents is the event path alone: requests lie in the mailbox, and one poll works them off. Times are per request.
func BenchmarkEvents(b *testing.B) {
	for _, s := range benchGuests(b, nil) {
		req := s.request(b, s.target, nil)
		for _, batch := range []int{1, 64, 1000} {
			b.Run(fmt.Sprintf("%s/%s/%d", s.guest, s.name, batch), func(b *testing.B) {
				defer cpuTime(b)()
				for left := b.N; left > 0; left -= batch {
					if err := s.Batch(req, []byte(s.body), min(batch, left)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// cpuTime reports the process's CPU time per operation from now until the function it returns is called.
func cpuTime(b *testing.B) func() {
	b.ReportAllocs()
	b.ResetTimer()
	began := used(b)
	return func() { b.ReportMetric(float64((used(b)-began).Nanoseconds())/float64(b.N), "cpu-ns/op") }
}

func used(tb testing.TB) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// spread reports how long something took, in milliseconds: the median, the 99th percentile and the longest.
func spread(b *testing.B, what string, took []time.Duration) {
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
	b.ReportMetric(ms(took[len(took)/2]), what+"p50-ms")
	b.ReportMetric(ms(took[len(took)*99/100]), what+"p99-ms")
	b.ReportMetric(ms(took[len(took)-1]), what+"max-ms")
}
