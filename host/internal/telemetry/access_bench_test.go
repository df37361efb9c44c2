package telemetry_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/telemetry"
)

// BenchmarkAccessLine is a request through the tracker and nothing else, without its line and with it in both formats.
func BenchmarkAccessLine(b *testing.B) {
	for _, c := range []struct {
		name    string
		handler slog.Handler
		on      bool
	}{
		{"off", slog.NewTextHandler(io.Discard, nil), false},
		{"text", slog.NewTextHandler(io.Discard, nil), true},
		{"json", slog.NewJSONHandler(io.Discard, nil), true},
	} {
		b.Run(c.name, func(b *testing.B) {
			tr := telemetry.NewTracker(telemetry.TrackerOptions{Log: slog.New(c.handler), Access: telemetry.AccessLog{On: c.on}})
			h := tr.Track(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				telemetry.SetRoute(r.Context(), "POST /api/inference/infer")
				telemetry.SetPlugin(r.Context(), "inference", "1.0.0")
				telemetry.AddUpstream(r.Context(), 20*time.Millisecond)
				telemetry.AddUsage(r.Context(), telemetry.Usage{Model: "qwen2.5-7b", InputTokens: 12, OutputTokens: 340})
				fmt.Fprint(w, "{}")
			}))
			w, r := &nothing{h: http.Header{}}, httptest.NewRequest(http.MethodPost, "/api/inference/infer", nil)
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}

type nothing struct{ h http.Header }

func (n *nothing) Header() http.Header         { return n.h }
func (n *nothing) Write(p []byte) (int, error) { return len(p), nil }
func (n *nothing) WriteHeader(int)             {}
