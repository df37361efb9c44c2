package app

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/server"
	"github.com/patchbay-run/patchbay/host/internal/telemetry"
)

// applyLog puts in force what of the log may change while the server runs.
func (a *App) applyLog(c config.Log) {
	if a.options.Lines != nil {
		a.options.Lines.SetLevel(c.Level)
	}
	a.tracker.SetAccessLog(telemetry.AccessLog{On: c.Access, Client: c.Client})
}

func clientAddress(r *http.Request) string {
	if a := server.ClientAddr(r); a.IsValid() {
		return a.String()
	}
	return ""
}

func (a *App) droppedLines() prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "patchbay_log_lines_dropped_total",
		Help: "Log lines that were lost because standard error was not read as fast as they were written.",
	}, func() float64 {
		if a.options.Lines == nil {
			return 0
		}
		return float64(a.options.Lines.Dropped())
	})
}
