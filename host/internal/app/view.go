package app

import (
	"fmt"

	"github.com/patchbay-run/patchbay/host/internal/admin"
	"github.com/patchbay-run/patchbay/host/internal/telemetry"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
)

// App is what the admin listener looks at.
var _ admin.View = (*App)(nil)

// Plugins implements admin.View.
func (a *App) Plugins() []admin.Plugin {
	plugins := a.state.Load().plugins
	list := make([]admin.Plugin, 0, len(plugins))
	for _, s := range plugins {
		p := admin.Plugin{Name: s.config.Name, Source: s.config.Source, Isolation: s.config.Isolation, State: "not loaded"}
		if g := s.generation; g != nil {
			p.State = "serving"
			p.Version, p.Digest, p.Since = g.Manifest.Version, g.Digest.String(), g.Since
			p.Routes, p.Secrets, p.Refused, p.Stats = g.Config.Routes, g.Secrets, g.Refused.List(), g.Stats()
		}
		p.Published = a.topics.Look(s.config.Name)
		if kept, ok := a.cache.Look(s.config.Name); ok {
			p.Cache = &kept
		}
		if s.problem != nil {
			p.Problem = s.problem.text
			if s.generation != nil {
				p.State = "stale"
			}
		}
		list = append(list, p)
	}
	return list
}

// Upstreams implements admin.View.
func (a *App) Upstreams() []upstream.Stats { return a.state.Load().parts.Upstreams.Stats() }

// Capacity implements admin.View.
func (a *App) Capacity() telemetry.Capacity { return a.estimator.Capacity() }

// Config implements admin.View.
func (a *App) Config() map[string]any {
	return a.state.Load().config.Redacted()
}

// Ready implements admin.View. The server is ready while every plugin has a generation that serves, be it the newest or not.
func (a *App) Ready() admin.Readiness {
	now := a.state.Load()
	r := admin.Readiness{Ready: a.lifetime.Err() == nil}
	if since, stops := a.draining(); stops {
		r.Ready = false
		r.Reasons = append(r.Reasons, admin.Reason{What: "server", Problem: "it drains: it was told to stop", Since: since})
	}
	if b := now.broken; b != nil {
		r.Reasons = append(r.Reasons, admin.Reason{What: "configuration", Problem: b.text, Since: b.since})
	}
	for _, s := range now.plugins {
		if s.generation == nil {
			r.Ready = false
		}
		if s.problem != nil {
			r.Reasons = append(r.Reasons, admin.Reason{What: fmt.Sprintf("plugin %q", s.config.Name), Problem: s.problem.text, Since: s.problem.since})
		}
	}
	return r
}

// health is the status of /api/health.
func (a *App) health() string {
	if a.Ready().Ready {
		return "healthy"
	}
	return "degraded"
}
