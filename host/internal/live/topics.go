package live

import "github.com/patchbay-run/patchbay/host/internal/telemetry"

// TelemetryTopics are the two that everybody may see: system and http.
func TelemetryTopics(s *telemetry.System, t *telemetry.Tracker) []Topic {
	return []Topic{
		{Name: "system", Public: true, State: func() any { return s.Snapshot() }, Series: []Series{
			number("cpu_percent", func(s telemetry.Sample) float64 { return s.CPUPercent }),
			number("memory_percent", func(s telemetry.Sample) float64 { return s.MemoryPercent }),
			number("memory_available_mb", func(s telemetry.Sample) float64 { return float64(s.MemoryAvailableMiB) }),
			number("process_rss_mb", func(s telemetry.Sample) float64 { return float64(s.ProcessRSSMiB) }),
			number("goroutines", func(s telemetry.Sample) float64 { return float64(s.Goroutines) }),
		}},
		{Name: "http", Public: true, State: func() any { return t.Snapshot() }, Series: []Series{
			number("in_flight", func(s telemetry.Snapshot) float64 { return float64(s.InFlight) }),
			number("websockets", func(s telemetry.Snapshot) float64 { return float64(s.Websockets) }),
			number("total_requests", func(s telemetry.Snapshot) float64 { return float64(s.Total) }),
			number("bytes", func(s telemetry.Snapshot) float64 { return float64(s.Bytes) }),
			number("client_errors", func(s telemetry.Snapshot) float64 { return float64(s.Status.ClientError) }),
			number("server_errors", func(s telemetry.Snapshot) float64 { return float64(s.Status.ServerError) }),
			number("avg_concurrency", func(s telemetry.Snapshot) float64 { return s.Minute.Concurrency }),
			number("p50_seconds", func(s telemetry.Snapshot) float64 { return s.Latency.P50 }),
			number("p95_seconds", func(s telemetry.Snapshot) float64 { return s.Latency.P95 }),
		}},
	}
}
