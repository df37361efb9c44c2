package app

import (
	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/live"
)

// feed makes the websocket feed. The public listener serves the topics that are public, the admin listener all.
func (a *App) feed(c *config.Config) (err error) {
	topics := append(live.TelemetryTopics(a.system, a.tracker),
		live.Topic{Name: "plugins", State: func() any { return a.Plugins() }},
		live.Topic{Name: "upstreams", State: func() any { return a.Upstreams() }},
	)
	a.hub, err = live.New(live.Options{
		Config:  c.Live,
		Origins: c.Server.CORS.Origins,
		Topics:  append(topics, a.eventTopic()),
		Version: a.options.Version,
		Log:     a.log,
	})
	return err
}
