package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/demo"
	"github.com/patchbay-run/patchbay/host/internal/logs"
)

func (p *process) demoUpstream() *cobra.Command {
	var o demo.Options
	var listen string
	c := &cobra.Command{
		Use:   "demo-upstream",
		Short: "Serve the demo that speaks GPUStack's and Tavily's protocols, by itself",
		Long: `Demo-upstream serves what "demo:" endpoints are answered by: a search over a small corpus, a model list and a
chat that answers from the sources in its prompt. Every answer says that it is a demo. It is for trying and testing: point
endpoints at it, delay it, have it fail.`,
		Example: `  patchbay demo-upstream --listen 127.0.0.1:9100 --delay 300ms --error-rate 0.1
  curl -s 127.0.0.1:9100/v1/models`,
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			lines := logs.New(p.stderr, config.Default().Log)
			defer lines.Close()
			o.Log = lines.Logger
			s, err := demo.New(o)
			if err != nil {
				return usageError{err}
			}
			listener, err := s.Listen(c.Context(), listen)
			if err != nil {
				return err
			}
			fmt.Fprintf(p.stdout, "demo upstream on http://%s\n", listener.Addr())
			return s.Serve(c.Context(), listener)
		},
	}
	f := c.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:9100", "the `address` to listen on")
	f.DurationVar(&o.Delay, "delay", 0, "wait this long before the first byte of an answer")
	f.DurationVar(&o.TokenGap, "token-gap", 15*time.Millisecond, "wait this long between two streamed tokens")
	f.Float64Var(&o.ErrorRate, "error-rate", 0, "the share of requests answered 500, from 0 to 1")
	f.BoolVar(&o.OldGPUStack, "old-gpustack", false, "list models as GPUStack v0.x does")
	f.BoolVar(&o.AllowRemote, "allow-remote", false, "accept a listen address that other machines reach")
	return c
}
