package telemetry

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// scrapes is how many may be answered at once.
const scrapes = 4

// RegistryOptions are what the registry starts with.
type RegistryOptions struct {
	Tracker  *Tracker
	Version  string       // of patchbay
	Revision string       // of its source, "" when not known
	Log      *slog.Logger // gets scrape errors; nil is silent
}

// Registry collects this process's Prometheus metrics. It is a registry of its own: what a library
// puts into the default one does not show up here.
type Registry struct {
	registry *prometheus.Registry
	log      *slog.Logger
}

// NewRegistry registers the Go runtime, the process, the build and the tracker's requests.
func NewRegistry(o RegistryOptions) (*Registry, error) {
	r := &Registry{registry: prometheus.NewRegistry(), log: o.Log}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "patchbay_build_info",
		Help:        "Always 1; the labels say what is running.",
		ConstLabels: prometheus.Labels{"version": o.Version, "revision": o.Revision, "goversion": runtime.Version()},
	})
	build.Set(1)
	gauge := func(name, help string, read func() int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(read()) })
	}
	t := o.Tracker
	err := r.Register(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		build,
		t.board.requests,
		t.board.duration,
		t.keys.requests,
		t.board.head,
		t.board.bytes,
		gauge("patchbay_http_in_flight_requests", "Requests whose last byte is not out yet, websockets left out.", t.InFlight),
		gauge("patchbay_http_websockets", "Open websockets.", t.websockets),
	)
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (t *Tracker) websockets() int64 {
	t.flow.mu.Lock()
	defer t.flow.mu.Unlock()
	return t.flow.websockets
}

// Register adds collectors, e.g. a pool's. It fails on the first one whose metrics are there
// already; the ones before it stay.
func (r *Registry) Register(cs ...prometheus.Collector) error {
	for _, c := range cs {
		if err := r.registry.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// Handler answers GET /metrics. A collector that fails costs its own metrics, not the scrape.
func (r *Registry) Handler() http.Handler {
	h := promhttp.HandlerFor(r.registry, promhttp.HandlerOpts{
		ErrorLog:            scrapeLog{r.log},
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: scrapes,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		SetProbe(req.Context(), "GET /metrics")
		h.ServeHTTP(w, req)
	})
}

type scrapeLog struct{ log *slog.Logger }

func (l scrapeLog) Println(v ...any) { l.log.Warn("scrape", "error", fmt.Sprint(v...)) }
