package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/patchbay-run/patchbay/host/internal/plugin"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

func (p *process) plugin() *cobra.Command {
	c := &cobra.Command{
		Use:   "plugin",
		Short: "Build and look at plugins",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	c.AddCommand(p.pluginBuild(), p.pluginInspect())
	return c
}

func (p *process) pluginBuild() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "build DIR...",
		Short: "Compile Go plugins and put their manifests into them",
		Long: `Build compiles the Go plugin in each DIR for WebAssembly, checks its manifest.json and writes the module with
the manifest in it. It needs the go command, version 1.24 or later. A server that has the file in its configuration
swaps it in.`,
		Example: `  patchbay plugin build plugins/search
  patchbay plugin build . -o /srv/plugins/mine.wasm`,
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, dirs []string) error {
			if out != "" && len(dirs) > 1 {
				return usageError{fmt.Errorf("-o names one file, and there are %d plugins", len(dirs))}
			}
			for _, dir := range dirs {
				path, err := plugin.Build(c.Context(), dir, out)
				if err != nil {
					return err
				}
				fmt.Fprintln(p.stdout, path)
			}
			return nil
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "the `file` to write (default DIR/NAME.wasm)")
	return c
}

func (p *process) pluginInspect() *cobra.Command {
	return &cobra.Command{
		Use:     "inspect FILE",
		Short:   "Show what a plugin says of itself",
		Long:    "Inspect shows a plugin's manifest, its digest as a configuration pins it, and its size.",
		Example: `  patchbay plugin inspect plugins/search/search.wasm`,
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, files []string) error {
			module, err := os.ReadFile(files[0])
			if err != nil {
				return fmt.Errorf("inspect plugin: %w", err)
			}
			m, err := plugin.ReadManifest(module)
			if err != nil {
				return fmt.Errorf("inspect plugin: %s: %w", files[0], err)
			}
			w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "name\t%s\nversion\t%s\nabi\t%s\n", m.Name, m.Version, m.ABI)
			fmt.Fprintf(w, "digest\t%s\nsize\t%d bytes\n", wasm.Digest(sha256.Sum256(module)), len(module))
			for _, r := range m.Routes {
				fmt.Fprintf(w, "route\t%s\t%s\n", r, r.Summary)
			}
			for _, wish := range m.Wants {
				fmt.Fprintf(w, "wants\t%s %v %v\t%s\n", wish.Capability, wish.Hosts, wish.Upstreams, wish.Reason)
			}
			return w.Flush()
		},
	}
}
