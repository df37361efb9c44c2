package main

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// table is one table of the report, in Markdown.
type table struct {
	title string
	note  string
	head  []string
	lines []line
}

type line struct {
	what  string
	cells []cell
}

// cell is a figure, or its ratio to another.
type cell struct {
	name string
	by   string  // "": the figure itself
	unit string  // what is printed behind it
	per  float64 // what it is divided by, so that it is in that unit; 0 is 1
}

// must is what a figure has to reach.
type must struct {
	what string
	cell
	most, least float64 // least counts when it is not 0
}

func (c cell) values(s samples) []float64 {
	if c.by != "" {
		return s.over(c.name, c.by)
	}
	values := make([]float64, len(s[c.name]))
	for i, v := range s[c.name] {
		values[i] = v
		if c.per != 0 {
			values[i] /= c.per
		}
	}
	return values
}

// text is the median with the range.
func (c cell) text(s samples) string {
	values := c.values(s)
	middle, least, most, ok := spread(values)
	unit := c.unit
	if c.by != "" {
		unit = "×"
	}
	switch {
	case !ok:
		return "–"
	case len(values) == 1:
		return number(middle) + unit
	}
	return fmt.Sprintf("%s%s (%s–%s)", number(middle), unit, number(least), number(most))
}

// number has three digits that count.
func number(v float64) string {
	switch size := math.Abs(v); {
	case v == math.Trunc(v) && size < 1e6 || size >= 100:
		return fmt.Sprintf("%.0f", v)
	case size >= 10:
		return fmt.Sprintf("%.1f", v)
	case size >= 0.1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

func (t table) print(w io.Writer, s samples) {
	fmt.Fprintf(w, "\n## %s\n\n", t.title)
	if t.note != "" {
		fmt.Fprintf(w, "%s\n\n", t.note)
	}
	fmt.Fprintf(w, "| %s |\n|%s\n", strings.Join(t.head, " | "), strings.Repeat("---|", len(t.head)))
	for _, l := range t.lines {
		texts := []string{l.what}
		for _, c := range l.cells {
			texts = append(texts, c.text(s))
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(texts, " | "))
	}
}

// printMusts says of each figure whether it is reached, by its median, and how many are not.
func printMusts(w io.Writer, all []must, s samples) {
	fmt.Fprintf(w, "\n## Must reach\n\n| what | bound | measured | |\n|---|---|---|---|\n")
	reached, measured := 0, 0
	for _, m := range all {
		middle, _, _, ok := spread(m.values(s))
		bound, holds := "≤ "+number(m.most), middle <= m.most
		if m.least > 0 {
			bound, holds = "≥ "+number(m.least), middle >= m.least
		}
		says := "not reached"
		switch {
		case !ok:
			says = "not measured"
		case holds:
			says = "reached"
			reached++
		}
		if ok {
			measured++
		}
		unit := m.unit
		if m.by != "" {
			unit = "×"
		}
		fmt.Fprintf(w, "| %s | %s%s | %s | %s |\n", m.what, bound, unit, m.text(s), says)
	}
	fmt.Fprintf(w, "\n%d of %d reached; %d not measured.\n", reached, len(all), len(all)-measured)
}
