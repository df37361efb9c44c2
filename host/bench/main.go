// Command bench measures the wasm engine against its peers, in one run, and prints tables of medians, ranges and ratios:
// make bench-engine. It builds the parts it needs (benchmarks of the packages, the peers' modules, the server), runs them in
// turns as processes of their own, and says of each figure that the engine must reach whether it does.
//
// It is no test: a timing that is not reached is printed, and no failure.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var err error
	switch { // the processes that the HTTP section starts are this program too
	case len(args) == 3 && args[0] == "mock":
		err = mock(args[1], args[2])
	case len(args) == 3 && args[0] == "plain":
		err = plain(args[1], args[2])
	case len(args) == 1 && args[0] == "load":
		err = load(stdin, stdout)
	default:
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = measure(ctx, args, stdout, stderr)
		stop()
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

func measure(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	rounds := flags.Int("rounds", 5, "how often everything is measured")
	only := flags.String("section", "", "measure these alone, with commas between them: "+strings.Join(names(), ", "))
	short := flags.Bool("short", false, "measure shortly, to see whether it runs")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/patchbay-run/patchbay").Output()
	if err != nil {
		return fmt.Errorf("look for the project: %w: run it within its folder", err)
	}
	temp, err := os.MkdirTemp("", "patchbay-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	r := &runner{root: strings.TrimSpace(string(root)), temp: temp, rounds: *rounds, short: *short, log: stderr, samples: samples{}}
	if os.Getenv(testCache) == "" {
		if err := os.Setenv(testCache, filepath.Join(r.root, ".cache", "test")); err != nil {
			return err
		}
	}
	r.describe(stdout)
	var musts []must
	for _, s := range chosen {
		switch err := r.run(ctx, s); {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			r.fail(s.name, err)
		}
		for _, t := range s.tables {
			t.print(stdout, r.samples)
		}
		musts = append(musts, s.musts...)
	}
	printMusts(stdout, musts, r.samples)
	if len(r.failed) > 0 {
		return fmt.Errorf("not measured: %s; see above for why", strings.Join(r.failed, ", "))
	}
	return nil
}

// testCache is where the packages' benchmarks keep the guests they compile.
const testCache = "PATCHBAY_TEST_CACHE"

func choose(only string) ([]section, error) {
	all := sections()
	if only == "" {
		return all, nil
	}
	var chosen []section
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(all, func(s section) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no section %q: there are %s", name, strings.Join(names(), ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func names() (all []string) {
	for _, s := range sections() {
		all = append(all, s.name)
	}
	return all
}
