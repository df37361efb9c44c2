package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/patchbay-run/patchbay/host/internal/app"
	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/handover"
	"github.com/patchbay-run/patchbay/host/internal/logs"
)

// configFlags are the flags of commands that read a configuration.
type configFlags struct {
	file   string
	listen string
	sets   []string
}

func (f *configFlags) add(c *cobra.Command) {
	c.Flags().StringVarP(&f.file, "config", "c", "", "the YAML `file` (default $PATCHBAY_CONFIG; without any, the built-in defaults)")
	c.Flags().StringVar(&f.listen, "listen", "", "the public `address`; short for --set server.listen=…")
	c.Flags().StringArrayVar(&f.sets, "set", nil, "one setting as `path=value`, for example client.max_conns=400; may be repeated")
}

func (f *configFlags) options(p *process) (config.Options, error) {
	o := config.Options{File: f.file, Environ: p.environ, Flags: map[string]string{}}
	if o.File == "" { // whoever serves the file has to know it, to watch it
		for _, variable := range p.environ {
			if name, value, _ := strings.Cut(variable, "="); name == config.EnvFile {
				o.File = value
			}
		}
	}
	for _, s := range f.sets {
		path, value, ok := strings.Cut(s, "=")
		if !ok {
			return o, usageError{fmt.Errorf("--set %s: write path=value", s)}
		}
		o.Flags[path] = value
	}
	if f.listen != "" {
		o.Flags["server.listen"] = f.listen
	}
	return o, nil
}

func (p *process) serve() *cobra.Command {
	var flags configFlags
	var pidFile string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve until SIGINT or SIGTERM",
		Long: `Serve reads the configuration, loads the plugins and answers until SIGINT or SIGTERM. Then /readyz fails, and after
server.stop_delay nobody new is let in, and the requests in flight finish, up to server.drain_timeout. A second signal ends
it at once. The exit code is 0 when every request was answered, and 1 when some were cut off.

While it runs it watches the configuration file and the plugins' files: what changes there is loaded off to the side
and swapped in without a dropped request. SIGHUP has it look at once. What does not load leaves the old in force, and
the log and /readyz?verbose on the admin listener say why.

SIGUSR2 replaces the program itself: the same command is started again, from the file that is there now, and takes over
the listening sockets when it is ready; the old process finishes what it has begun. One that does not become ready within
server.upgrade_timeout changes nothing. docs/operations.md has the whole story, systemd included.

Settings come from the built-in defaults, the file, PATCHBAY_… variables (PATCHBAY_SERVER__LISTEN is server.listen)
and flags; the later wins.`,
		Example: `  patchbay serve --config configs/dev.yaml
  patchbay serve --config configs/dev.yaml --listen 127.0.0.1:9000
  patchbay serve --pid-file /run/patchbay.pid; kill -USR2 $(cat /run/patchbay.pid)
  PATCHBAY_LOG__LEVEL=debug patchbay serve --config configs/dev.yaml`,
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return p.run(c.Context(), &flags, pidFile)
		},
	}
	flags.add(c)
	c.Flags().StringVar(&pidFile, "pid-file", "", "a `file` for the number of the process that serves; a supervisor finds the new one there after SIGUSR2")
	return c
}

// run serves until it is told to stop.
func (p *process) run(ctx context.Context, flags *configFlags, pidFile string) (err error) {
	signals := listen()
	defer signals.close()
	sockets, environ, err := handover.Inherit(p.environ)
	if err != nil {
		return err
	}
	p.environ = environ // a new process is handed things of its own
	defer func() {
		if err != nil {
			sockets.Failed(err) // whoever waits for this process goes on, and says why
		}
		sockets.Close()
	}()
	o, err := flags.options(p)
	if err != nil {
		return err
	}
	settings, err := config.Load(o)
	if err != nil {
		return err
	}
	lines := logs.New(p.stderr, settings.Log)
	defer lines.Close()
	logger := lines.Logger
	log.SetFlags(0)
	log.SetOutput(aside{logger})
	life := &life{sockets: sockets, notifier: handover.NewNotifier(environ), pidFile: pidFile, log: logger}
	defer life.close()
	var running atomic.Pointer[app.App]
	ended := make(chan error, 1)
	go func() {
		a, err := app.New(ctx, app.Options{
			Config: o, Version: version(), Revision: revision(), Log: logger, Lines: lines,
			Sockets: sockets, Successor: handover.Command{Args: os.Args, Env: environ}, Replace: signals.replace(logger),
			Serving: life.serving, Stopping: life.stopping,
		})
		if err != nil {
			ended <- err
			return
		}
		running.Store(a)
		p.collectLess()
		ended <- a.Run(ctx, signals.reload)
	}()
	select {
	case err := <-ended:
		return err
	case <-signals.again:
	}
	if a := running.Load(); a != nil {
		return fmt.Errorf("a second signal ended it at once: %d requests were cut off", a.InFlight())
	}
	return errors.New("a second signal ended it at once, before it served")
}

// collectLess lets the heap grow to four times what lives in it before it is collected, unless GOGC says otherwise: the heap is
// small, since guests' memories lie outside it, and a collection in the midst of a burst makes everybody wait.
func (p *process) collectLess() {
	if !slices.ContainsFunc(p.environ, func(v string) bool { return strings.HasPrefix(v, "GOGC=") }) {
		debug.SetGCPercent(300)
	}
}

// aside takes what net/http says to the standard logger, without the bytes of foreign servers that it quotes: they may be a key
// that was sent back.
type aside struct{ log *slog.Logger }

func (a aside) Write(p []byte) (int, error) {
	text, _, _ := strings.Cut(string(p), "\"")
	a.log.Debug("the standard library remarks", "what", strings.TrimSpace(text))
	return len(p), nil
}
