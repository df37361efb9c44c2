package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/handover"
	"github.com/patchbay-run/patchbay/host/internal/server"
)

// adminDrain is how long requests of the admin listener may take once nothing else runs.
const adminDrain = 2 * time.Second

// errNotReady is why a new process is ended that takes too long.
var errNotReady = errors.New("server.upgrade_timeout is over")

// parts of a running server that end one after the other.
type running struct {
	config   config.Server // as it was at the start: what is asked of a listener takes effect then
	group    *errgroup.Group
	failed   context.Context    // done when one part ended with an error
	public   chan struct{}      // closed when the public listener has answered its last request
	endWatch context.CancelFunc // changes are not taken any more, but for those of keys
	endKeys  context.CancelFunc // nor those; after endWatch
	endFeed  context.CancelFunc
}

// run starts what serves. The parts end when they are told to, and not with ctx.
func (a *App) run(ctx context.Context, reload <-chan os.Signal, watch *watcher) *running {
	life := context.WithoutCancel(ctx)
	r := &running{config: a.state.Load().config.Server, public: make(chan struct{})}
	r.group, r.failed = errgroup.WithContext(life)
	feed, endFeed := context.WithCancel(life)
	watching, endWatch := context.WithCancel(life)
	guarding, endKeys := context.WithCancel(life)
	r.endFeed, r.endWatch, r.endKeys = endFeed, endWatch, endKeys
	r.group.Go(func() error { return a.hub.Run(feed) })
	r.group.Go(func() error {
		defer close(r.public)
		return a.server.Serve(life, a.public)
	})
	r.group.Go(func() error {
		err := a.admin.Serve(life, a.private)
		if errors.Is(err, server.ErrCut) { // an operator's own, which are no reason to fail
			a.log.Warn("the admin listener", "error", err)
			err = nil
		}
		return err
	})
	r.group.Go(func() error {
		if err := watch.run(watching, reload, a.Reload); err != nil {
			return err
		}
		return watch.run(guarding, reload, a.reloadKeys)
	})
	return r
}

// leave waits for the end and sees it through: after it only r.group is to be waited for.
func (a *App) leave(ctx context.Context, r *running) {
	defer r.endFeed()
	defer r.endKeys()
	defer r.endWatch()
	for {
		select {
		case <-r.failed.Done():
			r.drain(a, server.Drain{Requests: r.config.DrainTimeout, Setting: "server.drain_timeout"})
			a.admin.Drain(server.Drain{Requests: adminDrain})
			return
		case <-ctx.Done():
			a.stop(r)
			return
		case <-a.options.Replace:
			pid, err := a.replace(ctx, r)
			if ctx.Err() != nil && err != nil {
				continue // it was told to stop meanwhile
			}
			if err != nil {
				a.options.serving() // the new one may have said already that it does
				a.log.Error("the server was not replaced and serves on", "error", err)
				continue
			}
			a.handOver(ctx, r, pid)
			return
		}
	}
}

// stop lets the load balancer see that the server is about to go, then lets nobody new in, then waits for who is there.
func (a *App) stop(r *running) {
	began := time.Now()
	a.leaving.Store(&began)
	r.endWatch()
	a.server.LastAnswers()
	a.log.Info("stopping", "stop_delay", r.config.StopDelay, "drain_timeout", r.config.DrainTimeout,
		"in_flight", a.tracker.InFlight(), "connections", a.server.Connections(), "feed_clients", a.hub.Clients())
	a.options.stopping(0)
	select {
	case <-time.After(r.config.StopDelay):
	case <-r.failed.Done():
	}
	r.drain(a, server.Drain{Requests: r.config.DrainTimeout, Setting: "server.drain_timeout"})
	<-r.public
	a.log.Info("the last request has ended", "took", time.Since(began).Round(time.Millisecond))
	a.admin.Drain(server.Drain{Requests: adminDrain}) // last, so that the stop can be watched
}

// replace starts the process that is to serve in the place of this one.
func (a *App) replace(ctx context.Context, r *running) (pid int, err error) {
	a.log.Info("starting a new process, which takes over when it is ready", "upgrade_timeout", r.config.UpgradeTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, r.config.UpgradeTimeout, errNotReady)
	defer cancel()
	return a.sockets.Replace(ctx, a.options.Successor)
}

// handOver leaves the sockets to the new process. Readiness does not change, since who asks means the service; and
// there is time, since nobody waits.
func (a *App) handOver(ctx context.Context, r *running, pid int) {
	began := time.Now()
	r.endWatch()
	a.log.Info("the new process serves; this one finishes what it has begun", "pid", pid, "upgrade_drain", r.config.UpgradeDrain,
		"in_flight", a.tracker.InFlight(), "connections", a.server.Connections(), "feed_clients", a.hub.Clients())
	idle := min(r.config.DrainTimeout, r.config.UpgradeDrain)
	a.admin.Drain(server.Drain{Idle: idle, Requests: max(idle, adminDrain)})
	r.drain(a, server.Drain{Idle: idle, Requests: r.config.UpgradeDrain, Setting: "server.upgrade_drain"})
	a.options.stopping(pid)
	select {
	case <-r.public:
	case <-ctx.Done():
		a.log.Info("stopping before the last request of this process has ended", "drain_timeout", r.config.DrainTimeout, "in_flight", a.tracker.InFlight())
		a.server.Drain(server.Drain{Requests: r.config.DrainTimeout, Setting: "server.drain_timeout"})
		a.admin.Drain(server.Drain{Requests: adminDrain})
		<-r.public
	}
	a.log.Info("the last request has ended", "took", time.Since(began).Round(time.Millisecond))
}

// drain lets nobody new in and sends the feed's clients away, who come again where there is somebody.
func (r *running) drain(a *App, d server.Drain) {
	a.server.Drain(d)
	<-a.server.Closed() // whoever comes again must not find this process
	r.endFeed()
	a.log.Info("no new connections are accepted", "in_flight", a.tracker.InFlight(), "connections", a.server.Connections())
}

// draining says since when the server stops; false: it does not.
func (a *App) draining() (time.Time, bool) {
	if at := a.leaving.Load(); at != nil {
		return *at, true
	}
	return time.Time{}, false
}

// InFlight is how many requests of clients are being answered.
func (a *App) InFlight() int64 { return a.tracker.InFlight() }

// listen opens the listeners, or takes those that this process was handed.
func (a *App) listen(c *config.Config) (err error) {
	if a.sockets = a.options.Sockets; a.sockets == nil {
		a.sockets = &handover.Sockets{}
	}
	if a.public, err = a.sockets.Listen(handover.Public, c.Server.Listen); err != nil {
		return fmt.Errorf("open server.listen: %w", err)
	}
	if a.private, err = a.sockets.Listen(handover.Admin, c.Admin.Listen); err != nil {
		return fmt.Errorf("open admin.listen: %w", err)
	}
	return nil
}

// serving and stopping tell whoever started the process.
func (o *Options) serving() {
	if o.Serving != nil {
		o.Serving()
	}
}

func (o *Options) stopping(successor int) {
	if o.Stopping != nil {
		o.Stopping(successor)
	}
}
