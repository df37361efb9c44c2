package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // something did not work
	exitUsage  = 2 // the command line is wrong
)

// process is what a command may touch of the world.
type process struct {
	environ        []string
	stdout, stderr io.Writer
}

// usageError is a command line that makes no sense.
type usageError struct{ error }

// run is main, with everything handed in.
func run(args, environ []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p := &process{environ: environ, stdout: stdout, stderr: stderr}
	root := p.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "patchbay: %v\nRun 'patchbay --help' for the commands, and 'patchbay COMMAND --help' for one.\n", err)
		return exitUsage
	}
	fmt.Fprintf(stderr, "patchbay: %v\n", err)
	return exitFailed
}

func (p *process) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "patchbay",
		Short: "The backend of a chat UI, whose routes are sandboxed WebAssembly plugins",
		Long: `Patchbay serves web search, chat and models for a chat UI over GPUStack. Each route is a WebAssembly
plugin that runs in a sandbox and may do only what the configuration grants it.

Exit codes: 0 it worked, 1 it did not, 2 the command line is wrong.`,
		Example: `  patchbay serve --config configs/dev.yaml
  patchbay check --config configs/dev.yaml
  patchbay plugin build plugins/search`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              cobra.ArbitraryArgs,
		RunE:              group,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.SetHelpCommand(&cobra.Command{Hidden: true})
	root.AddCommand(p.serve(), p.check(), p.plugin(), p.key(), p.demoUpstream(), p.version())
	return root
}

// group is what a command does that only holds others.
func group(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	hint := ""
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf(": did you mean %s?", strings.Join(near, " or "))
	}
	return usageError{fmt.Errorf("there is no command %q%s", args[0], hint)}
}

// args wraps a rule for arguments so that breaking it is a usage error that shows how the command is written.
func args(rule cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := rule(c, args); err != nil {
			got := "no argument"
			if len(args) > 0 {
				got = fmt.Sprintf("the arguments %q", args)
			}
			hint := ""
			if c.Flags().Lookup("config") != nil {
				hint = "; --config FILE names a configuration"
			}
			return usageError{fmt.Errorf("want '%s', got %s%s", c.UseLine(), got, hint)}
		}
		return nil
	}
}
