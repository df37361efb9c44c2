package main

import (
	"context"
	"fmt"
	"time"
)

// besideHealth measures a route at a constant rate, with and without calls of /api/health and /api/metrics beside it.
type besideHealth struct {
	lab
	server *process
}

// asked are the routes that must not notice.
func asked() []httpLoad {
	return []httpLoad{
		{name: "root", title: "GET /", method: "GET", path: "/", length: -1},
		{name: "noop", title: "a no-op of a plugin", method: "GET", path: "/noop", length: 0},
	}
}

func besides() []httpLoad {
	return []httpLoad{
		{name: "alone", title: "alone"},
		{name: "health", title: "100 calls of /api/health a second", method: "GET", path: "/api/health", length: -1},
		{name: "metrics", title: "100 calls of /api/metrics a second", method: "GET", path: "/api/metrics", length: -1},
	}
}

func besideName(load, beside httpLoad, unit string) string {
	return "Health/" + load.name + "/" + beside.name + " " + unit
}

func (h *besideHealth) open(ctx context.Context) error {
	if _, err := h.build(ctx, chatDelay); err != nil {
		return err
	}
	binary, args, err := h.serve("health", fmt.Sprintf(`
cache_dir: %q
plugins: [{name: bench, source: %q, routes: ["GET /noop"]}]
`, h.cache(), h.plugin("bench")))
	if err != nil {
		return err
	}
	h.server, err = h.start(ctx, "health", binary, true, args)
	return err
}

// round takes turns at which comes first.
func (h *besideHealth) round(ctx context.Context, n int, into samples) error {
	for _, l := range asked() {
		for i := range besides() {
			b := besides()[(i+n)%len(besides())]
			r, said, err := h.both(ctx, l, b)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", l.title, b.title, err)
			}
			for unit, v := range map[string]float64{
				"p50-us": float64(r.P50.Nanoseconds()) / 1e3, "p99-us": float64(r.P99.Nanoseconds()) / 1e3,
				"rate": float64(r.Answers) / r.Took.Seconds(), "own-p99-us": float64(said.P99.Nanoseconds()) / 1e3,
			} {
				into.add(besideName(l, b, unit), v)
			}
		}
	}
	return nil
}

// both asks the route 1,000 times a second over 16 connections, and what is beside it 100 times over 10.
func (h *besideHealth) both(ctx context.Context, l, b httpLoad) (r, said loadResult, err error) {
	order := func(l httpLoad, conns int, every time.Duration) loadOrder {
		return loadOrder{
			Address: h.server.address, PID: h.server.cmd.Process.Pid, Request: l.request(contender{}), Length: l.length, Conns: conns,
			Every: every, Warm: 500 * time.Millisecond, For: h.r.duration(3 * time.Second),
		}
	}
	if b.path == "" {
		r, err = h.load(ctx, order(l, 16, 16*time.Millisecond))
		return r, said, err
	}
	failed := make(chan error, 1)
	go func() {
		var err error
		said, err = h.load(ctx, order(b, 10, 100*time.Millisecond))
		failed <- err
	}()
	r, err = h.load(ctx, order(l, 16, 16*time.Millisecond))
	if other := <-failed; err == nil {
		err = other
	}
	return r, said, err
}

func healthSection() section {
	s := section{name: "health", server: func(r *runner) servers { return &besideHealth{lab: lab{r: r}} }}
	alone := besides()[0]
	for _, l := range asked() {
		t := table{
			title: "A route beside health calls: " + l.title,
			note:  "1,000 requests a second at a constant rate, each timed from the moment that it was due.",
			head:  []string{"", "requests/s", "p50", "to alone", "p99", "to alone", "p99 of the call beside it"},
		}
		for _, b := range besides() {
			p50, p99 := besideName(l, b, "p50-us"), besideName(l, b, "p99-us")
			own := cell{}
			if b.path != "" {
				own = cell{name: besideName(l, b, "own-p99-us"), unit: " µs"}
				s.musts = append(s.musts, must{
					what: fmt.Sprintf("%s, p50 beside %s, to alone", l.title, b.title), cell: cell{name: p50, by: besideName(l, alone, "p50-us")}, most: 1.1,
				})
			}
			t.lines = append(t.lines, line{b.title, []cell{
				{name: besideName(l, b, "rate")}, {name: p50, unit: " µs"}, {name: p50, by: besideName(l, alone, "p50-us")},
				{name: p99, unit: " µs"}, {name: p99, by: besideName(l, alone, "p99-us")}, own,
			}})
		}
		s.tables = append(s.tables, t)
	}
	return s
}
