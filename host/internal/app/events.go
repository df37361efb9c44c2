package app

import (
	"cmp"
	"context"
	"log/slog"
	"slices"

	"github.com/patchbay-run/patchbay/host/internal/events"
	"github.com/patchbay-run/patchbay/host/internal/live"
	"github.com/patchbay-run/patchbay/host/internal/plugin"
)

// configEvent notes what became of a configuration.
func (a *App) configEvent(kind events.Kind, text string) {
	a.events.Add(events.Event{Kind: kind, Subject: cmp.Or(a.options.Config.File, "no file"), Text: text})
}

// pluginEvents notes what is another plugin, or another trouble with one, than before.
func (a *App) pluginEvents(before, now []*slot) {
	add := func(kind events.Kind, s *slot, text string) {
		a.events.Add(events.Event{Kind: kind, Subject: s.config.Name, Text: text})
	}
	find := func(list []*slot, s *slot) *slot {
		i := slices.IndexFunc(list, func(o *slot) bool { return o.config.Name == s.config.Name })
		if i < 0 {
			return &slot{}
		}
		return list[i]
	}
	for _, s := range now {
		old := find(before, s)
		switch {
		case s.problem != nil:
			if old.problem == nil || old.problem.text != s.problem.text {
				add(events.PluginFailed, s, s.problem.text)
			}
		case s.generation == old.generation && old.problem == nil:
		case s.generation == old.generation, old.generation == nil:
			add(events.PluginLoaded, s, release(s.generation))
		default:
			add(events.PluginSwapped, s, release(old.generation)+" → "+release(s.generation))
		}
	}
	for _, s := range before {
		if find(now, s).config.Name == "" {
			a.log.Info("plugin removed", "plugin", s.config.Name)
			add(events.PluginRemoved, s, "")
		}
	}
}

// eventTopic has the feed show the newest events.
func (a *App) eventTopic() live.Topic {
	const shown = 50
	return live.Topic{Name: "events", State: func() any { return a.events.Look(0, shown) }}
}

// release names a generation as people do: its version and the first digits of its digest.
func release(g *plugin.Generation) string {
	return g.Manifest.Version + " (" + g.Digest.String()[:len("sha256:")+12] + ")"
}

// upstreamEvent logs and notes what happens to an upstream, which has no log of its own.
func (a *App) upstreamEvent(kind events.Kind, subject, text string) {
	level, message := slog.LevelInfo, ""
	switch kind {
	case events.EndpointEjected:
		level, message = slog.LevelWarn, "an endpoint is left out"
	case events.EndpointReturned:
		message = "an endpoint is back"
	case events.BreakerOpened:
		level, message = slog.LevelWarn, "an upstream is asked nothing for a while"
	case events.BreakerHalfOpen:
		message = "an upstream is tried again"
	default:
		message = "an upstream answers again"
	}
	a.log.Log(context.Background(), level, message, "upstream", subject, "why", text)
	a.events.Add(events.Event{Kind: kind, Subject: subject, Text: text})
}
