package app

import (
	"encoding/json"

	"github.com/patchbay-run/patchbay/host/internal/admin"
	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/live"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
)

// feed makes the websocket feed. The public listener serves the topics that are public, the admin listener all.
func (a *App) feed(c *config.Config) (err error) {
	topics := append(live.TelemetryTopics(a.system, a.tracker),
		live.Topic{Name: "plugins", State: func() any { return pluginsState{listed(a.Plugins())} }},
		live.Topic{Name: "upstreams", State: func() any { return upstreamsState{a.Upstreams()} }},
		live.Topic{Name: "events", State: func() any { return a.events.Look(0, recentEvents) }},
	)
	a.hub, err = live.New(live.Options{
		Config:  c.Live,
		Origins: c.Server.CORS.Origins,
		Topics:  topics,
		Version: a.options.Version,
		Log:     a.log,
	})
	return err
}

// recentEvents is how many the feed shows; GET /api/events has more.
const recentEvents = 50

// publisher hands what plugins publish to the hub, which is made after the board that they publish to, and before any plugin is loaded.
type publisher struct{ app *App }

func (p publisher) Publish(topic string, state json.RawMessage, public bool) {
	p.app.hub.Publish(topic, state, public)
}

func (p publisher) Retire(topic string) { p.app.hub.Retire(topic) }

// pluginsState and upstreamsState are what GET /api/plugins and /api/upstreams of the admin listener answer.
type pluginsState struct {
	Plugins []admin.Plugin `json:"plugins"`
}

type upstreamsState struct {
	Upstreams []upstream.Stats `json:"upstreams"`
}

func listed(all []admin.Plugin) []admin.Plugin {
	for i := range all {
		all[i] = all[i].Listed()
	}
	return all
}
