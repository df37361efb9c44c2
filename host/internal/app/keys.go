package app

import (
	"context"
	"net"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/keys"
	"github.com/patchbay-run/patchbay/host/internal/route"
	"github.com/patchbay-run/patchbay/host/internal/telemetry"
)

// unauthorized stands in the place of a route for requests that are refused for their key: they have not come to one.
const unauthorized = "unauthorized"

// readKeys reads the keys of a first configuration. A server that nobody could use does not start; later on it is the operator's
// wish, when the last key is revoked.
func (a *App) readKeys(c *config.Config) (*keys.Set, error) {
	known, err := keys.Read(c.Auth, a.options.Config.Environ)
	if err != nil {
		return nil, err
	}
	return known, known.Check(time.Now())
}

// guard makes the gate in front of all routes.
func (a *App) guard(known *keys.Set) error {
	a.gate = keys.NewGate(keys.GateOptions{
		Error:    route.Error,
		Named:    telemetry.SetKey,
		Admitted: telemetry.SetValid,
		// How fast strangers are sent away says nothing about the service.
		Refused: func(ctx context.Context) { telemetry.SetProbe(ctx, unauthorized) },
	})
	a.swapKeys(known)
	if addr, ok := a.public.Addr().(*net.TCPAddr); ok && !known.Required() && !addr.IP.IsLoopback() {
		a.log.Warn("no API key is asked for: whoever reaches the listener may use it; see auth.required", "listen", addr.String())
	}
	return a.registry.Register(a.gate.Collector())
}

func (a *App) swapKeys(known *keys.Set) {
	a.tracker.SetKeys(known.Names())
	a.gate.Swap(known)
	now := keyCount{len(known.Names()), known.Usable(time.Now()), known.Required()}
	if now != a.keyCount {
		a.keyCount = now
		a.log.Info("API keys in force", "keys", now.all, "usable", now.usable, "required", now.required)
	}
}

// keyCount is what is told of the keys when it changes: whoever revokes one wants to see it taken up.
type keyCount struct {
	all, usable int
	required    bool
}

// refreshKeys reads the keys' file again: a key may be revoked while the configuration, or a plugin's file, is broken. A file
// that is broken itself leaves the keys as they are, and is the error.
func (a *App) refreshKeys(s *state) error {
	known, err := keys.Read(s.config.Auth, a.options.Config.Environ)
	if err != nil {
		return err
	}
	if err := known.Check(time.Now()); err != nil {
		a.log.Warn("every request is refused", "error", err)
	}
	a.swapKeys(known)
	return nil
}

// reloadKeys is Reload while the server stops: what still runs may go on for long, and ends with its key.
func (a *App) reloadKeys(context.Context) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	s := a.state.Load()
	if c, err := config.Load(a.options.Config); err == nil { // else it may be for a newer program, which has taken over
		s = &state{config: c}
	}
	return a.refreshKeys(s)
}
