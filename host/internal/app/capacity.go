package app

import (
	"time"

	"github.com/patchbay-run/patchbay/host/internal/telemetry"
)

// resources is what requests need and that is bounded, for the estimate of how many users can be served. The machine's processors
// are not among them: whoever estimates knows them.
func (a *App) resources() (all []telemetry.Resource) {
	now := a.state.Load()
	for _, s := range now.plugins {
		g := s.generation
		if g == nil {
			continue
		}
		stats, setting := g.Stats(), "plugins."+s.config.Name
		each, workers := setting+".limits.in_flight", float64(stats.Bound)
		slots := workers * float64(g.Config.Limits.InFlight)
		if g.Config.Isolation == "fresh" {
			each, slots = setting+".limits.instances", float64(g.Config.Limits.Instances)
		} else {
			all = append(all, telemetry.Resource{Kind: telemetry.BoundWorkers, Setting: setting + ".workers", Limit: workers, Busy: duration(stats.Busy)})
		}
		all = append(all, telemetry.Resource{Kind: telemetry.BoundPlugin, Setting: each, Limit: slots, Busy: a.tracker.Busy(g.Config.Routes)})
	}
	for _, u := range now.parts.Upstreams.Stats() {
		setting := "upstreams." + u.Pool + ".max_conns"
		if u.Upstream == nil {
			setting = "client.max_conns"
		}
		all = append(all, telemetry.Resource{
			Kind: telemetry.BoundUpstream, Setting: setting, Limit: float64(u.MaxConns), Busy: duration(u.Held), Waited: duration(u.Waited),
		})
	}
	return all
}

// served is the plugins with what they answer, for /api/metrics.
func (a *App) served() (all []telemetry.Plugin) {
	for _, s := range a.state.Load().plugins {
		if s.generation != nil {
			all = append(all, telemetry.Plugin{Name: s.config.Name, Routes: s.generation.Config.Routes})
		}
	}
	return all
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
