package plugin

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/capability"
	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/events"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// Generation is one loaded version of a plugin with one configuration, ready to serve. Whoever loaded it calls Retire.
type Generation struct {
	Config   config.Plugin
	Manifest *Manifest
	Digest   wasm.Digest
	Secrets  []string // names of those granted and present
	Since    time.Time
	Refused  *capability.Refusals

	module *wasm.Module
	pool   *wasm.Pool
	log    *slog.Logger
}

// Loader makes generations.
type Loader struct {
	Engine *wasm.Engine
	Host   *capability.Host
	Events *events.Log // is told what happens to the workers; nil is nobody
	Log    *slog.Logger
}

// Load compiles and starts a plugin off to the side. Nothing of it is left when it fails.
func (l *Loader) Load(ctx context.Context, c config.Plugin) (*Generation, error) {
	s, err := Read(c)
	if err != nil {
		return nil, err
	}
	warnings, err := Check(c, s.Manifest)
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		l.Log.Warn(w)
	}
	body, err := configJSON(c)
	if err != nil {
		return nil, err
	}
	g := &Generation{
		Config: c, Manifest: s.Manifest, Digest: s.Digest, Since: time.Now(),
		Secrets: l.Host.Parts().Secrets.Granted(c.Grant),
		Refused: &capability.Refusals{},
		log:     l.Log.With("plugin", c.Name, "version", s.Manifest.Version),
	}
	if g.module, err = l.Engine.Compile(ctx, s.Bytes); err != nil {
		return nil, fmt.Errorf("plugin %q: %s: %w", c.Name, c.Source, err)
	}
	capabilities := capability.For(l.Host, capability.Plugin{Name: c.Name, Grant: c.Grant, Refused: g.Refused, Log: g.log, EventRate: c.Limits.Events})
	g.pool, err = g.module.Start(ctx, wasm.Options{
		Name: c.Name, Version: s.Manifest.Version,
		Config: body, Routes: s.Manifest.routeNames(), Secrets: g.Secrets,
		Workers: max(int(c.Workers), 0), PlainStart: c.Start == "plain", Fresh: c.Isolation == "fresh", CPU: c.Limits.CPU, Memory: int64(c.Limits.Memory), Stack: int64(c.Limits.Stack), InFlight: c.Limits.InFlight, Fetches: c.Limits.Fetches, Answer: int64(c.Limits.Answer), Headers: int(c.Limits.Headers), LogLines: c.Limits.Log,
		Instances: c.Limits.Instances, Recycle: wasm.Recycle{Requests: c.Recycle.Requests, Age: c.Recycle.Age},
		Capabilities: capabilities.Slow, Quick: capabilities.Quick,
		Log: g.log,
		Event: func(kind events.Kind, text string) {
			l.Events.Add(events.Event{Kind: kind, Subject: c.Name, Text: text})
		},
	})
	if err != nil {
		g.module.Release()
		return nil, fmt.Errorf("plugin %q: %s: %w", c.Name, c.Source, err)
	}
	if start := g.pool.Stats().Start; c.Start != "plain" && strings.HasPrefix(start, "plain: ") {
		g.log.Info("its workers do not begin as copies of the first, each initialises itself", "start", start)
	}
	return g, nil
}

// Current says whether g is what Load would make of c now, so that it can go on.
func (l *Loader) Current(g *Generation, c config.Plugin) bool {
	if !reflect.DeepEqual(g.Config, c) || !slices.Equal(g.Secrets, l.Host.Parts().Secrets.Granted(c.Grant)) {
		return false
	}
	s, err := Read(c)
	return err == nil && s.Digest == g.Digest
}

// Serve has the plugin answer a request; see wasm.Pool.Serve. wasm.ErrDraining says that another generation took over.
func (g *Generation) Serve(ctx context.Context, req *wasm.Request, sink wasm.Sink) error {
	return g.pool.Serve(ctx, req, sink)
}

// Stats looks at the workers.
func (g *Generation) Stats() wasm.Stats { return g.pool.Stats() }

// Retire lets the requests in flight finish until ctx ends, ends the rest and frees everything.
func (g *Generation) Retire(ctx context.Context) {
	if err := g.pool.Drain(ctx); err != nil {
		g.log.Warn("a generation was not drained in time", "error", err)
	}
	g.pool.Close()
	g.module.Release()
}
