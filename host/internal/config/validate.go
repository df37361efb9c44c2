package config

import (
	"slices"
	"strings"
	"time"
)

// validator judges a whole configuration. It looks at every setting, and stays silent about those
// that depend on something that could not be read: that has been reported.
type validator struct {
	*Config
	layers   []*layer // file, environment, flags
	readable bool     // the file's values are all known
	report   *report
}

// validate reports what decodes and yet makes no sense.
func validate(c *Config, layers []*layer, readable bool, r *report) {
	v := &validator{Config: c, layers: layers, readable: readable, report: r}
	v.server()
	v.auth()
	v.admin()
	v.rest()
	v.traces()
	v.upstreams()
	v.secrets()
	v.plugins()
}

// fault reports a problem with the value at p, unless that value is not known.
func (v *validator) fault(p path, format string, args ...any) {
	if v.known(p) {
		v.report.add(v.origin(p), p, format, args...)
	}
}

// known reports whether every one of the values could be read.
func (v *validator) known(paths ...path) bool {
	for _, p := range paths {
		if v.report.broken.covers(p) {
			return false
		}
		if !v.readable && !slices.ContainsFunc(v.layers[1:], func(l *layer) bool { return l.has(p) }) {
			return false // the file may have said something else
		}
	}
	return true
}

// whole reports whether everything at and below p could be read.
func (v *validator) whole(p path) bool { return v.known(p) && !v.report.broken.meets(p) }

// origin returns where the value at p was written, by the highest layer that did; else where the
// innermost section around it is.
func (v *validator) origin(p path) origin {
	for n := len(p); n > 0; n-- {
		for _, l := range slices.Backward(v.layers) {
			if at, depth := l.places.find(p[:n]); depth == n {
				return at
			}
		}
		// A section that only variables and flags make has no place of its own.
		for _, l := range v.layers[1:] {
			if at := l.places.any(p[:n]); at.source != "" {
				return at
			}
		}
	}
	return origin{}
}

// text shows a value in a message: what was written, where a variable stands behind it, since that
// may hold a secret.
func (v *validator) text(p path, value string) string {
	if at := v.origin(p); at.ref != "" {
		return at.ref
	}
	return shown(value)
}

// number wants low <= n <= high.
func (v *validator) number(p path, n, low, high int64) {
	if n < low || n > high {
		v.fault(p, "want %d to %d, got %d", low, high, n)
	}
}

// size wants low <= n <= high.
func (v *validator) size(p path, n, low, high Bytes) {
	if n < low || n > high {
		v.fault(p, "want %v to %v, got %v", low, high, n)
	}
}

// positive wants a duration that is long enough to mean something.
func (v *validator) positive(p path, d time.Duration) {
	if d <= 0 {
		v.fault(p, "want a duration above zero, got %s", formatDuration(d))
	}
}

// oneOf wants one of a few words.
func (v *validator) oneOf(p path, word string, words ...string) {
	if !slices.Contains(words, word) {
		v.fault(p, "want %s, got %s", alternatives(words), v.text(p, word))
	}
}

// alternatives writes "a, b or c".
func alternatives(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
