package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// runner builds the parts of the sections, runs them in turns and keeps what they measured.
type runner struct {
	root   string // of the project
	temp   string
	rounds int
	short  bool
	log    io.Writer // what is being done
	samples
	failed []string // what could not be measured, and why
}

// part is benchmarks of one package, run by a process of its own.
type part struct {
	dir   string // of the package, below the project's root
	own   bool   // it is a module of its own
	bench string // which; as for go test
	time  string // of each, or how often; as for go test
	short string // the same with -short
	once  bool   // in the first round only
}

// section is what is measured and printed together.
type section struct {
	name   string
	parts  []part
	server func(*runner) servers // measures whole servers; nil is none
	tables []table
	musts  []must
}

// servers are processes that are measured in rounds.
type servers interface {
	open(context.Context) error
	round(ctx context.Context, n int, into samples) error
	close()
}

// run measures sections. Each round has every part once; parts take turns at being first.
func (r *runner) run(ctx context.Context, s section) error {
	var parts []part
	binaries := map[string]string{}
	for _, p := range s.parts {
		if _, built := binaries[p.dir]; !built {
			binary, err := r.build(ctx, p)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				r.fail(p.dir, err)
			}
			binaries[p.dir] = binary
		}
		if binaries[p.dir] != "" {
			parts = append(parts, p)
		}
	}
	var servers servers
	if s.server != nil {
		servers = s.server(r)
		defer servers.close()
		if err := servers.open(ctx); err != nil {
			return err
		}
	}
	for n := range r.rounds {
		fmt.Fprintf(r.log, "%s: round %d of %d\n", s.name, n+1, r.rounds)
		round := samples{}
		for i := range parts {
			p := parts[(i+n)%len(parts)]
			if p.once && n > 0 {
				continue
			}
			if err := r.bench(ctx, p, binaries[p.dir], round); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				r.fail(p.dir+" "+p.bench, err)
			}
		}
		if servers != nil {
			if err := servers.round(ctx, n, round); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				r.fail(fmt.Sprintf("a part of %s, round %d", s.name, n+1), err)
			}
		}
		r.merge(round)
	}
	return nil
}

// fail notes what could not be measured, and the rest goes on.
func (r *runner) fail(what string, err error) {
	fmt.Fprintf(r.log, "%s: %v\n", what, err)
	r.failed = append(r.failed, what)
}

// build compiles a package's tests.
func (r *runner) build(ctx context.Context, p part) (binary string, err error) {
	binary = filepath.Join(r.temp, strings.ReplaceAll(p.dir, "/", "-")+".test")
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, ".")
	r.place(cmd, p)
	return binary, output(cmd, io.Discard)
}

func (r *runner) bench(ctx context.Context, p part, binary string, into samples) error {
	for_ := p.time
	if r.short && p.short != "" {
		for_ = p.short
	}
	cmd := exec.CommandContext(ctx, binary, "-test.run", "^$", "-test.bench", p.bench, "-test.benchtime", for_, "-test.timeout", "10m")
	r.place(cmd, p)
	var said bytes.Buffer
	if err := output(cmd, &said); err != nil {
		return err
	}
	return into.parse(said.Bytes())
}

// place has a program run in a package's folder and within its module.
func (r *runner) place(cmd *exec.Cmd, p part) {
	cmd.Dir = filepath.Join(r.root, filepath.FromSlash(p.dir))
	if p.own {
		cmd.Env = append(os.Environ(), "GOWORK=off")
	}
}

// command runs a program.
func (r *runner) command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	return output(cmd, io.Discard)
}

// output runs a program; what it said is part of the error when it fails.
func output(cmd *exec.Cmd, to io.Writer) error {
	var said, complained bytes.Buffer // each is written by a goroutine of its own
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&said, to), &complained
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return errors.Join(fmt.Errorf("run %s: %w", strings.Join(cmd.Args, " "), err), errors.New(said.String()+complained.String()))
	}
	return nil
}

// duration is d, or a part of it with -short.
func (r *runner) duration(d time.Duration) time.Duration {
	if r.short {
		return d / 3
	}
	return d
}
