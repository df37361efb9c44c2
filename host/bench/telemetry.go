package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// telemetries are the configurations of two servers that differ in what they tell of their requests alone; the receiver takes spans.
// What is counted for the documents, Prometheus and the feed cannot be turned off, and is in both.
func telemetries(receiver string) map[string]string {
	return map[string]string{
		"on":  "log: {access: true, format: json}\ntraces: {endpoint: \"http://" + receiver + "\", protocol: http/protobuf, sample: 0.1}\n",
		"off": "log: {access: false, format: json}\n",
	}
}

const telemetryConns = 64

// overTelemetry measures those, each a process of its own, in turns.
type overTelemetry struct{ overHTTP }

func (o *overTelemetry) open(ctx context.Context) (err error) {
	if o.upstream, err = o.build(ctx, chatDelay); err != nil {
		return err
	}
	o.servers = map[string]*process{}
	for name, config := range telemetries(o.upstream.address) { // the mock answers whatever it is sent
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

// round has both make each load, in turns of their own, so that whatever else the machine does meets both alike.
func (o *overTelemetry) round(ctx context.Context, n int, into samples) error {
	var failed error
	for _, l := range httpLoads() {
		s, order := samples{}, []string{"off", "on"}
		if n%2 > 0 {
			order = []string{"on", "off"}
		}
		var err error
		for _, name := range order {
			server := o.servers[name]
			if err = o.measure(ctx, telemetryName(l.name, name), s, loadOrder{
				Address: server.address, PID: server.cmd.Process.Pid, Request: l.request(contender{}), Length: l.length, Conns: telemetryConns,
				Warm: o.r.duration(400 * time.Millisecond), For: o.r.duration(3 * time.Second),
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
	t := table{
		title: fmt.Sprintf("Telemetry on and off, %d connections, 1 worker", telemetryConns),
		note:  "On: an access line for each request, as JSON to a file, and every tenth request traced. What is counted for metrics is in both.",
		head:  []string{"", "requests/s off", "on", "server CPU per request, off", "on", "on to off"},
	}
	for _, l := range httpLoads() {
		on, off := telemetryName(l.name, "on"), telemetryName(l.name, "off")
		ratio := cell{name: on + " cpu-us", by: off + " cpu-us"}
		t.lines = append(t.lines, line{l.title, []cell{
			{name: off + " rate"}, {name: on + " rate"}, {name: off + " cpu-us", unit: " µs"}, {name: on + " cpu-us", unit: " µs"}, ratio,
		}})
		s.musts = append(s.musts, must{what: "telemetry, server CPU per request, on to off, " + l.title, cell: ratio, most: 1.1})
	}
	s.tables = []table{t}
	return s
}
