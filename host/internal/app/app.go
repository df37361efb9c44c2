// Package app is the one place where the server is put together: New wires the parts, Run serves until it is told to
// stop, reload swaps what changed.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/patchbay-run/patchbay/host/internal/admin"
	"github.com/patchbay-run/patchbay/host/internal/cache"
	"github.com/patchbay-run/patchbay/host/internal/capability"
	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/events"
	"github.com/patchbay-run/patchbay/host/internal/exposition"
	"github.com/patchbay-run/patchbay/host/internal/handover"
	"github.com/patchbay-run/patchbay/host/internal/keys"
	"github.com/patchbay-run/patchbay/host/internal/live"
	"github.com/patchbay-run/patchbay/host/internal/logs"
	"github.com/patchbay-run/patchbay/host/internal/route"
	"github.com/patchbay-run/patchbay/host/internal/server"
	"github.com/patchbay-run/patchbay/host/internal/telemetry"
	"github.com/patchbay-run/patchbay/host/internal/topics"
	"github.com/patchbay-run/patchbay/host/internal/trace"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/web"
)

// Options are what the process hands in.
type Options struct {
	Config  config.Options
	Version string
	// Revision is that of the source that the program was built from; "" is not known.
	Revision string
	Log      *slog.Logger
	Lines    *logs.Log // where Log writes, so that its level follows the configuration and lost lines are counted; nil is neither
	// Engine is one that servers of this process share, which the caller closes after them; nil opens one of its own in the cache_dir.
	Engine *wasm.Engine

	Sockets   *handover.Sockets // those that this process was handed; nil is none
	Successor handover.Command  // how the process is started that takes this one's place
	Replace   <-chan os.Signal  // a value has Run start it, and leave the sockets to it; nil never does

	Serving  func()              // called once requests are answered, and again when a process that was to take this one's place did not; nil does nothing
	Stopping func(successor int) // called when the end begins, with the number of the process that goes on, 0 when none does; nil does nothing
}

// App is a server. Make it with New; Run frees everything it holds, and so does Close when Run was never called.
type App struct {
	options Options
	log     *slog.Logger

	sockets         *handover.Sockets
	public, private net.Listener
	engine          *wasm.Engine
	demo            *demoUpstream
	cache           *cache.Cache
	gate            *keys.Gate
	keyCount        keyCount // as it was told last; New sets it, then whoever holds reloading
	events          *events.Log
	topics          *topics.Board
	routes          *route.Handler
	tracker         *telemetry.Tracker
	system          *telemetry.System
	estimator       *telemetry.Estimator
	report          *telemetry.Report
	registry        *telemetry.Registry
	traces          *trace.Tracer // nil is off
	hub             *live.Hub
	server, admin   *server.Server
	leaving         atomic.Pointer[time.Time] // since when it stops; nil: it does not

	reloading sync.Mutex // held by whoever makes the next state
	state     atomic.Pointer[state]
	ledger    ledger             // of what plugins have done
	loads     atomic.Int64       // odd while plugins are loaded
	closed    bool               // guarded by reloading
	retired   sync.WaitGroup     // generations that drain
	lifetime  context.Context    // ends when Close begins
	end       context.CancelFunc // ends it
}

// state is what is in force: made whole, never changed, swapped whole.
type state struct {
	config  *config.Config
	parts   *capability.Parts
	plugins []*slot   // in the order of the configuration
	applied time.Time // when config was taken
	broken  *problem  // why the newest configuration is not this one
}

// New reads the configuration, opens the listeners and loads every plugin: what cannot serve fails here.
func New(ctx context.Context, o Options) (*App, error) {
	c, err := config.Load(o.Config)
	if err != nil {
		return nil, err
	}
	a := &App{options: o, log: o.Log, events: events.New(nil)}
	a.lifetime, a.end = context.WithCancel(context.WithoutCancel(ctx))
	a.state.Store(&state{config: c})
	built := false
	defer func() {
		if !built {
			a.Close()
		}
	}()
	known, err := a.readKeys(c)
	if err != nil {
		return nil, err
	}
	dir, err := cacheDir(c)
	if err != nil {
		return nil, err
	}
	if err := a.listen(c); err != nil {
		return nil, err
	}
	if a.engine = o.Engine; a.engine == nil {
		if a.engine, err = wasm.Open(filepath.Join(dir, "compiled")); err != nil {
			return nil, err
		}
	}
	a.demo = newDemoUpstream(c.Demo, a.log)
	a.cache = cache.New(nil)
	a.topics = topics.New(nil)
	a.routes = route.NewHandler(a.log)
	if err := a.trace(ctx, c); err != nil {
		return nil, err
	}
	parts, err := a.parts(c, nil)
	if err != nil {
		return nil, err
	}
	a.state.Store(&state{config: c, parts: parts, applied: time.Now()})
	if err := a.observe(ctx, c); err != nil {
		return nil, err
	}
	a.topics.Attach(a.hub)
	if err := a.guard(known); err != nil {
		return nil, err
	}
	if err := a.serve(c, dir); err != nil {
		return nil, err
	}
	if err := a.loadAll(ctx, c, parts); err != nil {
		return nil, err
	}
	built = true
	return a, nil
}

// parts reads the secrets and makes the pools; those of old that did not change go on.
func (a *App) parts(c *config.Config, old *capability.Parts) (*capability.Parts, error) {
	secrets, err := capability.ReadSecrets(c.Secrets, a.options.Config.Environ)
	if err != nil {
		return nil, err
	}
	var set *upstream.Set
	if old == nil {
		set, err = upstream.New(c.Client, c.Upstreams, a.demo.resolve, upstream.Events(a.upstreamEvent))
	} else {
		set, err = old.Upstreams.Reload(c.Client, c.Upstreams)
	}
	if err != nil {
		return nil, err
	}
	return &capability.Parts{Upstreams: set, Client: c.Client, Named: c.Upstreams, Secrets: secrets, Cache: a.cache, Topics: a.topics, Events: a.events, Traces: a.traces}, nil
}

// observe makes what counts and measures.
func (a *App) observe(ctx context.Context, c *config.Config) (err error) {
	a.tracker = telemetry.NewTracker(telemetry.TrackerOptions{Log: a.log, Client: clientAddress})
	a.applyLog(c.Log)
	a.system = telemetry.NewSystem(ctx, telemetry.SystemOptions{Log: a.log})
	a.estimator = telemetry.NewEstimator(telemetry.EstimatorOptions{
		Tracker: a.tracker, Resources: a.resources, CPU: a.system.ProcessCPU, Machine: a.system.Busy, Loads: a.loads.Load,
		// The think times in force; server.max_conns is read at the start only.
		Settings: func() (config.Capacity, int) { return a.state.Load().config.Capacity, c.Server.MaxConns },
	})
	a.report = telemetry.NewReport(telemetry.ReportOptions{
		Tracker: a.tracker, System: a.system, Capacity: a.estimator.Capacity, Plugins: a.served, Status: a.health,
	})
	if a.registry, err = telemetry.NewRegistry(telemetry.RegistryOptions{Tracker: a.tracker, Version: a.options.Version, Revision: a.options.Revision, Log: a.log}); err != nil {
		return err
	}
	if err := a.registry.Register(append(a.traceCounters(), exposition.New(a), a.droppedLines())...); err != nil {
		return err
	}
	return a.feed(c)
}

// serve makes the two servers; nothing is accepted yet.
func (a *App) serve(c *config.Config, dir string) (err error) {
	public := a.tracker.Track(a.traces.Middleware(server.CORS(c.Server.CORS)(a.gate.Guard(a.routes))))
	if a.server, err = server.New(server.Options{Config: c.Server, Handler: public, Log: a.log, Error: a.tracker.TrackError(route.Error), Refused: a.tracker.Refused}); err != nil {
		return err
	}
	path := c.Admin.TokenFile
	if path == "" {
		path = filepath.Join(dir, "admin-token")
	}
	token, err := admin.ReadToken(path)
	if err != nil {
		return err
	}
	a.log.Info("the admin listener asks for a token", "listen", a.private.Addr().String(), "token_file", path)
	private, err := admin.New(admin.Options{
		Token: token, Listen: c.Admin.Listen, View: a,
		Metrics: a.registry.Handler(), Live: a.hub.Private(), Events: a.events, Log: a.log,
	})
	if err != nil {
		return err
	}
	guarded := config.Default().Server // the operator's listener has the bounds of a public one, but not its settings
	a.admin, err = server.New(server.Options{Config: guarded, Handler: private, Log: a.log})
	return err
}

// Addr is where the public listener is reached.
func (a *App) Addr() net.Addr { return a.public.Addr() }

// AdminAddr is where the admin listener is reached.
func (a *App) AdminAddr() net.Addr { return a.private.Addr() }

// Run serves until ctx ends, then lets requests finish, and frees everything before it returns. A value on
// reload has it look at the configuration and the plugins again; changes on disk do so too. The error says so when requests
// had to be cut off.
func (a *App) Run(ctx context.Context, reload <-chan os.Signal) error {
	defer a.Close()
	watch := a.watchFiles()
	defer watch.close()

	// What observes outlives the servers, so that the last request is still counted.
	observing, stopObserving := context.WithCancel(context.WithoutCancel(ctx))
	var observers errgroup.Group
	observers.Go(func() error { return a.system.Run(observing) })
	observers.Go(func() error { return a.estimator.Run(observing) })
	defer func() {
		stopObserving()
		_ = observers.Wait()
	}()

	parts := a.run(ctx, reload, watch)
	a.log.Info("serving", "listen", a.public.Addr().String())
	a.options.serving()
	a.leave(ctx, parts)
	return parts.group.Wait()
}

// Close frees what New made, in the reverse order. Run calls it.
func (a *App) Close() {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	if a.closed {
		return
	}
	a.closed = true
	a.end()
	if a.gate != nil {
		a.gate.Close()
	}
	for _, l := range []net.Listener{a.public, a.private} {
		if l != nil {
			_ = l.Close() // the servers have closed them if they ran
		}
	}
	last := a.state.Load()
	for _, s := range last.plugins {
		if s.generation != nil {
			a.retire(s.generation)
		}
	}
	a.retired.Wait()
	a.traces.Close() // after the last call of the last plugin
	if last.parts != nil {
		last.parts.Upstreams.Close()
	}
	if a.cache != nil {
		a.cache.Close()
	}
	if a.demo != nil {
		a.demo.close()
	}
	if a.engine != nil && a.options.Engine == nil {
		if err := a.engine.Close(); err != nil {
			a.log.Error("close the engine", "error", err)
		}
	}
}

// cacheDir is the folder for what the server makes itself.
func cacheDir(c *config.Config) (string, error) {
	if c.CacheDir != "" {
		return c.CacheDir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache folder: %w: set cache_dir", err)
	}
	return filepath.Join(dir, "patchbay"), nil
}

// hostRoutes are what the host answers itself.
func (a *App) hostRoutes() map[string]http.Handler {
	text := func(kind, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write([]byte(body))
		})
	}
	return map[string]http.Handler{
		"GET /{$}":         text("application/json", `{"message":"Patchbay is running"}`),
		"GET /config.js":   text("text/javascript; charset=utf-8", web.ConfigJS),
		"GET /api/health":  a.report.HealthHandler(),
		"GET /api/metrics": a.report.MetricsHandler(),
		"GET /api/live":    a.hub.Public(),
		"GET /livez":       probe("GET /livez", text("text/plain; charset=utf-8", "ok\n")),
		"GET /readyz":      probe("GET /readyz", http.HandlerFunc(a.readyz)),
	}
}

// probe keeps the time that a probe takes out of what is said of the service.
func probe(pattern string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		telemetry.SetProbe(r.Context(), pattern)
		h.ServeHTTP(w, r)
	})
}

// readyz says whether every plugin serves, and no more: the reasons are on the admin listener.
func (a *App) readyz(w http.ResponseWriter, r *http.Request) {
	if _, stops := a.draining(); stops {
		route.Error(w, r, http.StatusServiceUnavailable, "Draining: the server is about to stop")
		return
	}
	if !a.Ready().Ready {
		route.Error(w, r, http.StatusServiceUnavailable, "Not ready")
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}

var errClosing = errors.New("the server is stopping")
