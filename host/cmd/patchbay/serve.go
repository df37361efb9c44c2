package main

import (
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/patchbay-run/patchbay/host/internal/app"
	"github.com/patchbay-run/patchbay/host/internal/config"
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
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve until SIGINT or SIGTERM",
		Long: `Serve reads the configuration, loads the plugins and answers until SIGINT or SIGTERM; then it lets the
requests in flight finish, up to server.drain_timeout.

While it runs it watches the configuration file and the plugins' files: what changes there is loaded off to the side
and swapped in without a dropped request. SIGHUP has it look at once. What does not load leaves the old in force, and
the log and /readyz?verbose on the admin listener say why.

Settings come from the built-in defaults, the file, PATCHBAY_… variables (PATCHBAY_SERVER__LISTEN is server.listen)
and flags; the later wins.`,
		Example: `  patchbay serve --config configs/dev.yaml
  patchbay serve --config configs/dev.yaml --listen 127.0.0.1:9000
  PATCHBAY_LOG__LEVEL=debug patchbay serve --config configs/dev.yaml`,
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
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
			log.SetFlags(0)
			log.SetOutput(aside{lines.Logger})
			a, err := app.New(c.Context(), app.Options{Config: o, Version: version(), Log: lines.Logger, Lines: lines})
			if err != nil {
				return err
			}
			p.collectLess()
			hup := make(chan os.Signal, 1)
			signal.Notify(hup, syscall.SIGHUP)
			defer signal.Stop(hup)
			return a.Run(c.Context(), hup)
		},
	}
	flags.add(c)
	return c
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
