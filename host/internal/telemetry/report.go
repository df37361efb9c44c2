package telemetry

import (
	"encoding/json"
	"net/http"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// ReportOptions are what the two documents are made from.
type ReportOptions struct {
	Tracker  *Tracker
	System   *System
	Capacity func() Capacity // nil: nothing is measured, and what is assumed is stated
	Plugins  func() []Plugin // nil is none
	Status   func() string   // nil is always "healthy"
}

// Plugin is a plugin, by the patterns of the routes that it answers.
type Plugin struct {
	Name   string
	Routes []string
}

// Report makes the two JSON documents of the public API. It samples nothing and waits for nobody.
type Report struct{ o ReportOptions }

// NewReport keeps o; Tracker and System must be set.
func NewReport(o ReportOptions) *Report {
	if o.Capacity == nil {
		o.Capacity = func() Capacity { return capacity(load{}, config.Default().Capacity, 0) }
	}
	if o.Plugins == nil {
		o.Plugins = func() []Plugin { return nil }
	}
	if o.Status == nil {
		o.Status = func() string { return "healthy" }
	}
	return &Report{o}
}

// Health is the document of GET /api/health. Clients know these names; add, never rename.
type Health struct {
	Status            string            `json:"status"`
	UptimeSeconds     int64             `json:"uptime_seconds"`
	ActiveConnections int64             `json:"active_connections"` // requests in flight, the asking one included
	Websockets        int64             `json:"websockets"`
	TotalRequests     int64             `json:"total_requests"`
	System            HealthSystem      `json:"system"`
	Performance       HealthPerformance `json:"performance"`
}

// HealthSystem is the machine's part of Health.
type HealthSystem struct {
	CPUPercent        float64 `json:"cpu_percent"`
	MemoryPercent     float64 `json:"memory_percent"`
	MemoryAvailableMB int64   `json:"memory_available_mb"` // MiB, whatever the name says
	ProcessRSSMB      int64   `json:"process_rss_mb"`      // MiB
	Goroutines        int     `json:"goroutines"`
}

// HealthPerformance is about the last minute, or the time since the start when that is shorter.
type HealthPerformance struct {
	RequestsPerMinute  float64 `json:"requests_per_minute"`
	AvgConcurrentUsers float64 `json:"avg_concurrent_users"` // Little's law
}

// Metrics is the document of GET /api/metrics. Clients know these names; add, never rename.
type Metrics struct {
	ConcurrentConnections int64    `json:"concurrent_connections"` // requests in flight, the asking one included
	PeakConnections       int64    `json:"peak_connections"`
	Websockets            int64    `json:"websockets"`
	TotalRequests         int64    `json:"total_requests"`
	UptimeHours           float64  `json:"uptime_hours"`
	RequestsPerHour       float64  `json:"requests_per_hour"` // in the last hour, or since the start
	EstimatedCapacity     Capacity `json:"estimated_capacity"`
	Status                Statuses `json:"status"`
	Latency               Latency  `json:"latency"`
	Windows               Windows  `json:"windows"`
	Routes                []Route  `json:"routes"`  // by pattern, which is what any client may ask anyway
	Plugins               []Route  `json:"plugins"` // the same by plugin: a name, and nothing of what is inside
}

// Windows are the sliding windows of completed requests.
type Windows struct {
	Minute      Window `json:"last_minute"`
	FiveMinutes Window `json:"last_five_minutes"`
	Hour        Window `json:"last_hour"`
}

// Health returns the document as of now.
func (r *Report) Health() Health {
	s := r.o.Tracker.Snapshot()
	m := r.o.System.Snapshot()
	return Health{
		Status:            r.o.Status(),
		UptimeSeconds:     s.UptimeSeconds,
		ActiveConnections: s.InFlight,
		Websockets:        s.Websockets,
		TotalRequests:     s.Total,
		System: HealthSystem{
			CPUPercent: m.CPUPercent, MemoryPercent: m.MemoryPercent, MemoryAvailableMB: m.MemoryAvailableMiB,
			ProcessRSSMB: m.ProcessRSSMiB, Goroutines: m.Goroutines,
		},
		Performance: HealthPerformance{
			RequestsPerMinute:  round(s.Minute.PerSecond*60, 2),
			AvgConcurrentUsers: round(s.Minute.Concurrency, 2),
		},
	}
}

// Metrics returns the document as of now.
func (r *Report) Metrics() Metrics {
	s := r.o.Tracker.Snapshot()
	return Metrics{
		ConcurrentConnections: s.InFlight,
		PeakConnections:       s.Peak,
		Websockets:            s.Websockets,
		TotalRequests:         s.Total,
		UptimeHours:           round(float64(s.UptimeSeconds)/3600, 4),
		RequestsPerHour:       round(s.Hour.PerSecond*3600, 2),
		EstimatedCapacity:     r.o.Capacity(),
		Status:                s.Status,
		Latency:               s.Latency,
		Windows:               Windows{s.Minute, s.FiveMinutes, s.Hour},
		Routes:                r.o.Tracker.Routes(),
		Plugins:               r.plugins(),
	}
}

func (r *Report) plugins() []Route {
	at := r.o.Tracker.uptime()
	list := []Route{}
	for _, p := range r.o.Plugins() {
		sum := r.o.Tracker.sum(p.Routes, at)
		one := sum.route()
		one.Plugin = p.Name
		in := r.o.Tracker.plugins.look(p.Name)
		if in == nil {
			in = new(occupancy) // nobody has asked for it
		}
		in.into(&one, at)
		list = append(list, one)
	}
	return list
}

// HealthHandler answers GET and HEAD with Health.
func (r *Report) HealthHandler() http.Handler {
	return document("GET /api/health", func() any { return r.Health() })
}

// MetricsHandler answers GET and HEAD with Metrics.
func (r *Report) MetricsHandler() http.Handler {
	return document("GET /api/metrics", func() any { return r.Metrics() })
}

func document(pattern string, make func() any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		SetProbe(req.Context(), pattern)
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", "no-store")
		if req.Method != http.MethodGet && req.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			w.WriteHeader(http.StatusMethodNotAllowed)
			_, _ = w.Write([]byte(`{"detail":"Method Not Allowed"}`))
			return
		}
		body, err := json.Marshal(make())
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte(`{"detail":"Internal Server Error"}`))
			return
		}
		_, _ = w.Write(body)
	})
}
