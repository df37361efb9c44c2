package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Problem is one thing that is wrong with the configuration.
type Problem struct {
	File    string // the file; or "environment NAME", "flag NAME"; "" when nobody wrote the setting
	Line    int    // in File, from 1; 0 when there is none
	Path    string // of the setting, as in plugins[0].grant.fetch[1].host; "" for the whole file
	Message string // what is wrong and what to write instead
}

// String is "file:line: path: message", without the parts that are not known.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			b.WriteString(":" + strconv.Itoa(p.Line))
		}
		b.WriteString(": ")
	}
	if p.Path != "" && p.File != flagSource+p.Path {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Errors is everything that is wrong: the file's problems by line, then those of the environment
// and of the flags. Load returns it as its error.
type Errors []Problem

// Error writes one problem a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// maxProblems bounds a report: a file of a megabyte can hold 100,000 mistakes.
const maxProblems = 1000

// report gathers problems, and the paths that could not be read. What depends on such a path is
// not judged: one mistake is reported once, and not again by whatever misses its value.
type report struct {
	found   Errors
	dropped int
	broken  pathSet
}

// add takes a problem with the value at p, which was written at a place.
func (r *report) add(at origin, p path, format string, args ...any) {
	if len(r.found) == maxProblems {
		r.dropped++
		return
	}
	r.found = append(r.found, Problem{File: at.source, Line: at.line, Path: p.String(), Message: fmt.Sprintf(format, args...)})
}

// err is nil when nothing is wrong, else Errors in the order in which a reader meets them.
func (r *report) err(file string) error {
	if len(r.found) == 0 {
		return nil
	}
	elsewhere := func(p Problem) int {
		if p.File == file {
			return 0
		}
		return 1
	}
	// The environment comes before the flags by the names of their sources.
	slices.SortFunc(r.found, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(elsewhere(a), elsewhere(b)), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Path, b.Path), cmp.Compare(a.Message, b.Message))
	})
	if r.dropped > 0 {
		r.found = append(r.found, Problem{File: file, Message: fmt.Sprintf("and %d more problems", r.dropped)})
	}
	return r.found
}

// shown quotes a text for a message, without the credentials that a URL may hold and cut to a
// length that a terminal bears.
func shown(s string) string {
	const most = 80
	s = redactURL(s, hidden+"@")
	if len(s) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		return strconv.Quote(s[:cut]) + "…"
	}
	return strconv.Quote(s)
}
