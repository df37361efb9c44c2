package main

import (
	"strings"
	"testing"
)

const benchOutput = `goos: linux
BenchmarkServe/go/noop/64-2  	  25478	     10000 ns/op	      6981 cpu-ns/op	       7 allocs/op
BenchmarkExtism/own/noop/1-2 	   4052	     50000 ns/op
--- BENCH: BenchmarkX
PASS
`

func TestTable(t *testing.T) {
	s := samples{}
	for _, out := range []string{benchOutput, strings.ReplaceAll(benchOutput, "10000 ns/op", "20000 ns/op"), strings.ReplaceAll(benchOutput, "10000 ns/op", "40000 ns/op")} {
		round := samples{}
		if err := round.parse([]byte(out)); err != nil {
			t.Fatal(err)
		}
		s.merge(round)
	}
	ours := cell{name: "Serve/go/noop/64 ns/op", unit: " µs", per: 1e3}
	ratio := cell{name: "Extism/own/noop/1 ns/op", by: ours.name}
	var out strings.Builder
	table{title: "T", head: []string{"", "ours", "ratio", "none"}, lines: []line{{"no-op", []cell{ours, ratio, {name: "x"}}}}}.print(&out, s)
	printMusts(&out, []must{
		{what: "a", cell: ours, most: 20}, {what: "b", cell: ours, most: 19}, {what: "c", cell: ratio, least: 2.5},
		{what: "d", cell: ratio, least: 3}, {what: "e", cell: cell{name: "x"}, most: 1}, {what: "f", cell: cell{name: "Serve/go/noop/64 zero"}},
	}, s)
	for _, want := range []string{
		"| no-op | 20 µs (10–40) | 2.50× (1.25–5) | – |",
		"| a | ≤ 20 µs | 20 µs (10–40) | reached |", "| b | ≤ 19 µs | 20 µs (10–40) | not reached |",
		"| c | ≥ 2.50× | 2.50× (1.25–5) | reached |", "| d | ≥ 3× | 2.50× (1.25–5) | not reached |",
		"| e | ≤ 1 | – | not measured |", "2 of 6 reached; 2 not measured.",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}

// TestSections: a section has a name of its own, measures something, and its tables are as wide as their heads.
func TestSections(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sections() {
		if seen[s.name] {
			t.Errorf("two sections %s", s.name)
		}
		seen[s.name] = true
		if len(s.parts) == 0 && s.servers == nil || len(s.tables) == 0 || len(s.musts) == 0 {
			t.Errorf("section %s measures, shows or asks nothing", s.name)
		}
		for _, table := range s.tables {
			for _, l := range table.lines {
				if len(l.cells) != len(table.head)-1 {
					t.Errorf("%s: %s has %d cells under %d heads", table.title, l.what, len(l.cells), len(table.head)-1)
				}
			}
		}
	}
	if _, err := choose("http,x"); err == nil {
		t.Error("a section that is not there was chosen")
	}
}
