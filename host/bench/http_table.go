package main

import "fmt"

func overHTTPSection() section {
	s := section{name: "http", servers: func(r *runner) servers { return &overHTTP{r: r} }}
	for _, l := range httpLoads() {
		for _, conns := range httpConns() {
			s.tables = append(s.tables, httpTable(l, conns))
			rate := func(contender string) string { return httpName(l.name, conns, contender) + " rate" }
			s.musts = append(s.musts,
				must{what: fmt.Sprintf("HTTP, %s, %d connections, 1 worker to plain Go", l.title, conns), cell: cell{name: rate("1"), by: rate("plain")}, least: l.least},
				must{what: fmt.Sprintf("HTTP, %s, %d connections, 3 workers to 1", l.title, conns), cell: cell{name: rate("3"), by: rate("1")}, least: 0.9})
		}
	}
	return s
}

func httpTable(l httpLoad, conns int) table {
	t := table{
		title: fmt.Sprintf("HTTP, %s, %d connections", l.title, conns),
		head:  []string{"", "requests/s", "to plain Go", "p50", "p99", "server CPU per request", "to plain Go"},
	}
	peer := httpName(l.name, conns, "plain")
	for _, c := range l.of() {
		of := httpName(l.name, conns, c.name)
		t.lines = append(t.lines, line{c.title, []cell{
			{name: of + " rate"}, {name: of + " rate", by: peer + " rate"},
			{name: of + " p50-ms", unit: " ms"}, {name: of + " p99-ms", unit: " ms"},
			{name: of + " cpu-us", unit: " µs"}, {name: of + " cpu-us", by: peer + " cpu-us"},
		}})
	}
	return t
}
