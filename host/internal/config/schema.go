package config

import (
	"reflect"
	"strings"
	"time"
)

// field is one key of a section.
type field struct {
	name string
	typ  reflect.Type
}

// fields lists the keys of a section in the order of its type.
func fields(section reflect.Type) []field {
	list := make([]field, section.NumField())
	for i := range list {
		f := section.Field(i)
		list[i] = field{name: f.Tag.Get("yaml"), typ: f.Type}
	}
	return list
}

// shape is what kind of YAML a type is written as.
type shape int

const (
	scalar  shape = iota // a text, number or boolean
	section              // fixed keys
	entries              // names that the operator chooses, each with a section
	list                 // of one type
	free                 // anything: a plugin's own configuration
)

// shapeOf sorts the types of Config; a nil type is free.
func shapeOf(t reflect.Type) shape {
	switch {
	case t == nil || t.Kind() == reflect.Interface:
		return free
	case t.Kind() == reflect.Struct:
		return section
	case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Struct:
		return entries
	case t.Kind() == reflect.Map:
		return free
	case t.Kind() == reflect.Slice:
		return list
	}
	return scalar
}

// isText reports whether a value of the type is written as text, so that an expanded ${VAR} is
// taken as it is, digits or not. Sizes, durations and worker counts parse their text themselves.
func isText(t reflect.Type) bool {
	return t.Kind() == reflect.String || t == reflect.TypeFor[time.Duration]() ||
		t == reflect.TypeFor[Bytes]() || t == reflect.TypeFor[Workers]()
}

// isWord reports whether a value of the type can be written as one text. An endpoint can, though it
// is a section.
func isWord(t reflect.Type) bool {
	return shapeOf(t) == scalar || t == reflect.TypeFor[Endpoint]()
}

// setting is a value that the environment and the flags can name: a scalar or a whole list.
type setting struct {
	path path
	typ  reflect.Type
}

// settings lists every setting below a type. The entries of a map are those that names returns.
func settings(t reflect.Type, at path, names func(path) []string) []setting {
	var all []setting
	switch shapeOf(t) {
	case section:
		for _, f := range fields(t) {
			all = append(all, settings(f.typ, at.key(f.name), names)...)
		}
	case entries:
		for _, name := range names(at) {
			all = append(all, settings(t.Elem(), at.key(name), names)...)
		}
	default:
		all = append(all, setting{path: at, typ: t})
	}
	return all
}

// nearest returns the candidate that is the fewest edits away from s, and "" when even that one
// is no likely misspelling of it.
func nearest(s string, candidates []string) string {
	best, least := "", max(1, len(s)/3)+1
	if len(s) > maxKey {
		return ""
	}
	for _, c := range candidates {
		if d := edits(s, c); d < least {
			best, least = c, d
		}
	}
	return best
}

// edits counts the characters to insert, delete, replace or swap with their neighbour on the way
// from a to b.
func edits(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// fieldNames lists the keys of a section.
func fieldNames(section reflect.Type) []string {
	var names []string
	for _, f := range fields(section) {
		names = append(names, f.name)
	}
	return names
}

// isName reports whether s can name an upstream or a secret: lower-case letters, digits, and single
// dashes and underscores between them. Such a name can stand in a URL and in an environment variable.
func isName(s string) bool {
	if s == "" || len(s) > 64 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	words := strings.FieldsFunc(s, func(r rune) bool { return r == '-' || r == '_' })
	for _, word := range words {
		if strings.ContainsFunc(word, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }) {
			return false
		}
	}
	separators := strings.Count(s, "-") + strings.Count(s, "_")
	return separators == len(words)-1
}

// fieldType returns the type of a key of a section; nil when it has no such key.
func fieldType(section reflect.Type, key string) reflect.Type {
	for _, f := range fields(section) {
		if f.name == key {
			return f.typ
		}
	}
	return nil
}
