package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/keys"
	"github.com/patchbay-run/patchbay/host/internal/plugin"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

func (p *process) check() *cobra.Command {
	var flags configFlags
	c := &cobra.Command{
		Use:   "check",
		Short: "Say everything that is wrong with a configuration, without serving",
		Long: `Check reads the configuration as serve does, the file of API keys, and the plugins' files with their manifests and what they hold. It prints every
problem it finds, with its file, line and path, or the plugin that it is of, and warns of wishes of plugins that are not granted. Nothing is opened,
compiled or called.`,
		Example: `  patchbay check --config configs/dev.yaml`,
		Args:    args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			o, err := flags.options(p)
			if err != nil {
				return err
			}
			settings, err := config.Load(o)
			if err != nil {
				return err
			}
			var problems []error
			if known, err := keys.Read(settings.Auth, p.environ); err != nil {
				problems = append(problems, err)
			} else if err := known.Check(time.Now()); err != nil {
				problems = append(problems, err)
			}
			for _, entry := range settings.Plugins {
				s, err := plugin.Read(entry)
				if err != nil {
					problems = append(problems, err)
					continue
				}
				if err := wasm.Vet(s.Bytes); err != nil {
					problems = append(problems, fmt.Errorf("plugin %q: %s: %w", entry.Name, entry.Source, err))
				}
				warnings, err := plugin.Check(entry, s.Manifest)
				if err != nil {
					problems = append(problems, err)
				}
				for _, w := range warnings {
					fmt.Fprintln(p.stderr, "warning:", w)
				}
			}
			if err := errors.Join(problems...); err != nil {
				return err
			}
			if o.File == "" {
				fmt.Fprintln(p.stderr, "warning: neither --config nor PATCHBAY_CONFIG names a file: these are the built-in defaults, which serve no plugin")
			}
			fmt.Fprintf(p.stdout, "ok: %d plugins, %d upstreams\n", len(settings.Plugins), len(settings.Upstreams))
			return nil
		},
	}
	flags.add(c)
	return c
}
