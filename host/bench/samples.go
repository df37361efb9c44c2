package main

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// samples is what was measured: figures by name, one per round. A name is a benchmark's, without "Benchmark", and its unit: "Serve/go/noop/64 ns/op".
type samples map[string][]float64

// parse takes in what a Go benchmark wrote.
func (s samples) parse(output []byte) error {
	lines := bufio.NewScanner(bytes.NewReader(output))
	for lines.Scan() {
		name, rest, ok := strings.Cut(lines.Text(), "\t")
		if !ok || !strings.HasPrefix(name, "Benchmark") {
			continue
		}
		name = strings.TrimPrefix(strings.TrimSpace(name), "Benchmark")
		if at := strings.LastIndexByte(name, '-'); at > 0 {
			name = name[:at] // the number of CPUs
		}
		fields := strings.Fields(rest) // iterations, then values and units
		for i := 1; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return fmt.Errorf("read a benchmark's output: %q: %w", lines.Text(), err)
			}
			s.add(name+" "+fields[i+1], value)
		}
	}
	return lines.Err()
}

func (s samples) add(name string, value float64) { s[name] = append(s[name], value) }

// merge adds the figures of one more round.
func (s samples) merge(round samples) {
	for name, values := range round {
		s[name] = append(s[name], values...)
	}
}

// over is figures by figures, round by round.
func (s samples) over(name, by string) []float64 {
	values := make([]float64, 0, len(s[name]))
	for i := range min(len(s[name]), len(s[by])) {
		if s[by][i] != 0 {
			values = append(values, s[name][i]/s[by][i])
		}
	}
	return values
}

// spread is a median and its range; ok is false when nothing was measured.
func spread(values []float64) (middle, least, most float64, ok bool) {
	if len(values) == 0 {
		return 0, 0, 0, false
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2, sorted[0], sorted[n-1], true
}
