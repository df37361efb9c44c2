package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// telemetries are servers that differ in what they tell of their requests alone. What is counted for the documents, Prometheus and
// the feed cannot be turned off, and is in all.
func telemetries(receiver string) map[string]string {
	traces := fmt.Sprintf("traces: {endpoint: \"http://%s\", protocol: http/protobuf, sample: 0.1}\n", receiver)
	return map[string]string{
		"off":    "log: {access: false, format: json}\n",
		"access": "log: {access: true, format: json}\n",
		"on":     "log: {access: true, format: json}\n" + traces,
	}
}

func telemetryTitles() [][2]string {
	return [][2]string{{"off", "off"}, {"access", "access line"}, {"on", "access line, a trace of every tenth"}}
}

const (
	telemetryConns = 64
	// telemetryTurns is how often each server has its turn in a round. What is compared differs by a few percent, less than the machine does within
	// seconds: many short turns side by side tell more than a few long ones.
	telemetryTurns = 3
)

// overTelemetry measures those, each a process of its own, in turns.
type overTelemetry struct{ overHTTP }

func (o *overTelemetry) open(ctx context.Context) (err error) {
	if o.upstream, err = o.build(ctx, chatDelay); err != nil {
		return err
	}
	o.servers = map[string]*process{}
	for name, config := range telemetries(o.upstream.address) {
		binary, args, err := o.serve("telemetry-"+name, config+o.config("1"))
		if err != nil {
			return err
		}
		if o.servers[name], err = o.start(ctx, "telemetry-"+name, binary, true, args); err != nil {
			return err
		}
	}
	return nil
}

func telemetryName(load, which string) string { return "Telemetry/" + load + "/" + which }

// round has all make each load, in turns at being first, so that whatever else the machine does meets them alike.
func (o *overTelemetry) round(ctx context.Context, n int, into samples) error {
	var failed error
	for turn := range telemetryTurns * len(httpLoads()) {
		l := httpLoads()[turn/telemetryTurns]
		s, all := samples{}, telemetryTitles()
		var err error
		for i := range all {
			name := all[(i+n+turn)%len(all)][0]
			server := o.servers[name]
			if err = o.measure(ctx, telemetryName(l.name, name), s, loadOrder{
				Address: server.address, PID: server.cmd.Process.Pid, Request: l.request(contender{}), Length: l.length, Conns: telemetryConns,
				Warm: o.r.duration(400 * time.Millisecond), For: o.r.duration(1500 * time.Millisecond),
			}); err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s with telemetry %s: %w", l.name, name, err))
				break
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			into.merge(s)
		}
	}
	return failed
}

func telemetrySection() section {
	s := section{name: "telemetry", server: func(r *runner) servers { return &overTelemetry{overHTTP{lab: lab{r: r}}} }}
	for _, l := range httpLoads() {
		t := table{
			title: fmt.Sprintf("Telemetry, %s, %d connections, 1 worker", l.title, telemetryConns),
			note:  "Lines go to a file as JSON, traces to a receiver that takes all. What is counted for metrics is in all of them. Each has three turns in a round; ratios are of one turn.",
			head:  []string{"", "requests/s", "server CPU per request", "to off"},
		}
		off := telemetryName(l.name, "off") + " cpu-us"
		for _, which := range telemetryTitles() {
			of := telemetryName(l.name, which[0])
			t.lines = append(t.lines, line{which[1], []cell{{name: of + " rate"}, {name: of + " cpu-us", unit: " µs"}, {name: of + " cpu-us", by: off}}})
		}
		s.tables = append(s.tables, t)
		s.musts = append(s.musts, must{
			what: "telemetry, server CPU per request, all on to off, " + l.title,
			cell: cell{name: telemetryName(l.name, "on") + " cpu-us", by: off}, most: 1.1,
		})
	}
	return s
}
