package app

import (
	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/live"
)

// feed makes the websocket feed, which both listeners serve.
func (a *App) feed(c *config.Config) (err error) {
	a.hub, err = live.New(live.Options{
		Config:  c.Live,
		Origins: c.Server.CORS.Origins,
		Topics:  live.Topics(a.system, a.tracker),
		Version: a.options.Version,
		Log:     a.log,
	})
	return err
}
