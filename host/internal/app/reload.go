package app

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/capability"
	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/events"
	"github.com/patchbay-run/patchbay/host/internal/keys"
	"github.com/patchbay-run/patchbay/host/internal/plugin"
	"github.com/patchbay-run/patchbay/host/internal/route"
	"github.com/patchbay-run/patchbay/host/internal/topics"
)

// slot is one entry of the plugins list: what serves, and why the newest does not.
type slot struct {
	config     config.Plugin      // the newest
	generation *plugin.Generation // nil: not loaded
	host       *capability.Host   // of generation alone: what it was made for goes on while it drains, or is stale
	problem    *problem           // nil: the newest serves
}

// problem is why something on disk is not in force.
type problem struct {
	text  string
	since time.Time
}

// loadAll loads the plugins of a first configuration. One that does not load is an error, all of them at once.
func (a *App) loadAll(ctx context.Context, c *config.Config, parts *capability.Parts) error {
	slots := a.load(ctx, c, parts, nil)
	a.state.Store(&state{config: c, parts: parts, plugins: slots, applied: time.Now()})
	var problems []error
	for _, s := range slots {
		if s.problem != nil {
			problems = append(problems, errors.New(s.problem.text))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	table, err := a.table(slots)
	if err != nil {
		return err
	}
	a.routes.Swap(table)
	a.allow()
	a.configEvent(events.ConfigApplied, "")
	a.pluginEvents(nil, slots)
	return nil
}

// load makes a generation of each plugin, or keeps the one that is the same. What does not load leaves the old one.
func (a *App) load(ctx context.Context, c *config.Config, parts *capability.Parts, old []*slot) []*slot {
	a.loads.Add(1)
	defer a.loads.Add(1)
	slots := make([]*slot, len(c.Plugins))
	var loading sync.WaitGroup
	for i, p := range c.Plugins {
		s := &slot{config: p}
		slots[i] = s
		for _, o := range old {
			if o.config.Name == p.Name {
				s.generation, s.host = o.generation, o.host
			}
		}
		host := capability.NewHost(parts)
		loader := &plugin.Loader{Engine: a.engine, Host: host, Events: a.events, Log: a.log}
		if s.generation != nil && loader.Current(s.generation, p) {
			continue
		}
		loading.Go(func() {
			g, err := loader.Load(ctx, p)
			if err != nil {
				s.problem = &problem{err.Error(), time.Now()}
				return
			}
			a.log.Info("plugin loaded", "plugin", p.Name, "version", g.Manifest.Version, "digest", g.Digest.String())
			a.ledger.opened(g)
			s.generation, s.host = g, host
		})
	}
	loading.Wait()
	return slots
}

func (a *App) table(slots []*slot) (*route.Table, error) {
	var serving []*plugin.Generation
	var missing []route.Unloaded
	for _, s := range slots {
		if s.generation != nil {
			serving = append(serving, s.generation)
		} else {
			missing = append(missing, route.Unloaded{Config: s.config})
		}
	}
	return route.NewTable(a.routes, a.hostRoutes(), serving, missing)
}

// Reload looks at the configuration file and the plugins' files, builds what changed off to the side, swaps the
// route table in one step and drains what was replaced. What cannot be loaded leaves the old in force; the error says why.
func (a *App) Reload(ctx context.Context) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	if a.closed {
		return errClosing
	}
	before := a.state.Load()
	a.refreshSecrets(before)
	stale := a.refreshKeys(before) // told where nothing newer tells it
	c, err := config.Load(a.options.Config)
	if err != nil {
		return a.reject(errors.Join(err, stale))
	}
	known, err := keys.Read(c.Auth, a.options.Config.Environ)
	if err != nil {
		return a.reject(err)
	}
	changed := !reflect.DeepEqual(before.config, c)
	next, err := a.parts(c, before.parts)
	if err != nil {
		return a.reject(err)
	}
	slots := a.load(ctx, c, next, before.plugins)
	table, err := a.table(slots)
	if err != nil {
		next.Upstreams.Close()
		a.retireMissing(slots, before.plugins)
		return a.reject(err)
	}
	if known.Required() { // else it comes after: no route, old or new, is open for a moment by mistake
		a.swapKeys(known)
	}
	a.routes.Swap(table)
	a.swapKeys(known)
	for _, s := range slots {
		// One that is stale may speak of upstreams that are gone: it keeps those that it was made for.
		if s.generation != nil && reflect.DeepEqual(s.generation.Config, s.config) {
			s.host.Swap(next)
		}
		for _, o := range before.plugins {
			if o.config.Name == s.config.Name && o.generation != nil && o.generation != s.generation {
				a.ledger.swapped(s.config.Name)
			}
		}
	}
	applied := before.applied
	if changed || before.broken != nil {
		applied = time.Now()
	}
	a.state.Store(&state{config: c, parts: next, plugins: slots, applied: applied})
	a.applyLog(c.Log)
	a.allow()
	if changed || before.broken != nil {
		a.warnFixed(before.config, c)
		a.log.Info("configuration in force", "file", a.options.Config.File)
		a.configEvent(events.ConfigApplied, "")
	}
	a.pluginEvents(before.plugins, slots) // before what is retired says so
	a.retireMissing(before.plugins, slots)
	before.parts.Upstreams.Close() // calls that still go through it are answered
	var problems []error
	for _, s := range slots {
		if s.problem != nil {
			problems = append(problems, errors.New(s.problem.text))
		}
	}
	return errors.Join(problems...)
}

// refreshSecrets reads the secrets of all that serves again: a key may change while the configuration, or a plugin's file, is broken.
func (a *App) refreshSecrets(s *state) {
	if err := s.parts.Secrets.Refresh(); err != nil {
		a.log.Warn("the secrets stay as they were", "error", err)
	}
	for _, p := range s.plugins {
		if p.host != nil && p.host.Parts() != s.parts {
			_ = p.host.Parts().Secrets.Refresh() // it is stale, and its problem is told
		}
	}
}

// allow puts in force what each plugin may keep and publish. A new generation goes on with what the one before it had.
func (a *App) allow() {
	limits, published := map[string]int64{}, map[string][]topics.Grant{}
	for _, s := range a.state.Load().plugins {
		c := s.config
		if s.generation != nil {
			c = s.generation.Config // perhaps a stale one
		}
		if c.Grant.Cache > 0 {
			limits[c.Name] = int64(c.Grant.Cache)
		}
		published[c.Name] = capability.Topics(c.Grant.Publish)
	}
	a.cache.Resize(limits)
	a.topics.Grant(published)
}

// reject keeps everything as it is and remembers why.
func (a *App) reject(err error) error {
	a.allow()
	kept := *a.state.Load()
	if kept.broken == nil || kept.broken.text != err.Error() { // it is looked at again with every change of any file
		a.configEvent(events.ConfigRejected, err.Error())
	}
	kept.broken = &problem{err.Error(), time.Now()}
	a.state.Store(&kept)
	return fmt.Errorf("the configuration stays as it was: %w", err)
}

// retireMissing retires the generations of slots that are in none of kept.
func (a *App) retireMissing(slots, kept []*slot) {
	for _, s := range slots {
		if s.generation != nil && !holds(kept, s.generation) {
			a.retire(s.generation)
		}
	}
}

func holds(slots []*slot, g *plugin.Generation) bool {
	for _, s := range slots {
		if s.generation == g {
			return true
		}
	}
	return false
}

// swapDrain is how long a replaced generation may finish what it has begun, long streams included. When the server
// itself stops, it has let its requests finish already.
const swapDrain = 30 * time.Minute

func (a *App) retire(g *plugin.Generation) {
	a.retired.Go(func() {
		ctx, cancel := context.WithTimeout(a.lifetime, swapDrain)
		defer cancel()
		began := time.Now()
		g.Retire(ctx)
		a.ledger.ended(g)
		a.events.Add(events.Event{
			Kind: events.PluginRetired, Subject: g.Config.Name,
			Text: fmt.Sprintf("%s, drained in %v", release(g), time.Since(began).Round(time.Millisecond)),
		})
	})
}

// warnFixed names settings that changed but are read at the start only.
func (a *App) warnFixed(old, c *config.Config) {
	for _, s := range []struct {
		name     string
		old, new any
	}{
		{"server", old.Server, c.Server}, {"admin", old.Admin, c.Admin}, {"traces", old.Traces, c.Traces},
		{"log.format", old.Log.Format, c.Log.Format}, {"log.buffer", old.Log.Buffer, c.Log.Buffer},
		{"live", old.Live, c.Live}, {"demo", old.Demo, c.Demo}, {"cache_dir", old.CacheDir, c.CacheDir},
	} {
		if !reflect.DeepEqual(s.old, s.new) {
			a.log.Warn("a setting changed that takes effect at the next start", "setting", s.name)
		}
	}
}
