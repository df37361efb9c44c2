package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

const (
	// EnvPrefix starts the name of every environment variable that is a setting.
	EnvPrefix = "PATCHBAY_"

	// EnvFile is the variable that names the configuration file when Options.File does not.
	EnvFile = EnvPrefix + "CONFIG"

	environmentSource = "environment "
	flagSource        = "flag "
)

// notation is how a source writes the path of a setting.
type notation struct {
	source    string // goes before the name in a Problem
	prefix    string
	separator string
	letters   func(string) string // how a step is spelled
}

// environmentNotation writes server.listen as PATCHBAY_SERVER__LISTEN. A dash, which a shell does
// not take in a name, becomes an underscore.
func environmentNotation() notation {
	return notation{source: environmentSource, prefix: EnvPrefix, separator: "__", letters: func(step string) string {
		return strings.ToUpper(strings.ReplaceAll(step, "-", "_"))
	}}
}

// flagNotation writes server.listen as it is.
func flagNotation() notation {
	return notation{source: flagSource, separator: ".", letters: func(step string) string { return step }}
}

// name writes a path.
func (n notation) name(p path) string {
	steps := make([]string, len(p))
	for i, step := range p {
		steps[i] = n.letters(step)
	}
	return n.prefix + strings.Join(steps, n.separator)
}

// fromEnvironment reads the settings among the variables. The file's layer is asked for the names of
// upstreams and secrets.
func fromEnvironment(environ map[string]string, file *layer, r *report) *layer {
	given := map[string]string{}
	for name, value := range environ {
		if strings.HasPrefix(name, EnvPrefix) && name != EnvFile {
			given[name] = value
		}
	}
	return environmentNotation().read(given, file, r)
}

// read turns named texts into a layer.
func (n notation) read(given map[string]string, file *layer, r *report) *layer {
	l := newLayer()
	for _, name := range slices.Sorted(maps.Keys(given)) {
		at := origin{source: n.source + name}
		all := settings(reflect.TypeFor[Config](), nil, func(p path) []string { return n.entries(p, name, file) })
		s, problem := n.lookup(name, all)
		if problem != "" {
			r.add(at, nil, "%s", problem)
			continue
		}
		value, err := fromText(given[name], s.typ)
		if err != nil {
			r.add(at, s.path, "%v", err)
			r.broken.add(s.path)
			continue
		}
		l.set(s.path, value, at)
	}
	return l
}

// entries lists the names that the map at p may have: the file's, and the one that this variable
// or flag itself brings.
func (n notation) entries(p path, name string, file *layer) []string {
	known, _ := file.values[p[0]].(map[string]any)
	names := slices.Sorted(maps.Keys(known))
	rest, ok := strings.CutPrefix(name, n.name(p)+n.separator)
	if !ok {
		return names
	}
	own, _, _ := strings.Cut(rest, n.separator)
	spelledAs := func(entry string) bool { return n.letters(entry) == own }
	if fresh := strings.ToLower(own); isName(fresh) && spelledAs(fresh) && !slices.ContainsFunc(names, spelledAs) {
		names = append(names, fresh)
	}
	return names
}

// lookup finds the setting of a name, or says why there is none.
func (n notation) lookup(name string, all []setting) (setting, string) {
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = n.name(s.path)
		ofSections := shapeOf(s.typ) == list && !isWord(s.typ.Elem())
		switch {
		case ofSections && (names[i] == name || strings.HasPrefix(name, names[i]+n.separator) || strings.HasPrefix(name, names[i]+"[")):
			return setting{}, s.path.String() + " is a list of sections, which only the file can set"
		case names[i] == name:
			return s, ""
		}
	}
	for _, known := range names {
		if strings.HasPrefix(known, name+n.separator) {
			return setting{}, "this is a section, not a setting; one of its settings is " + known
		}
	}
	return setting{}, "there is no such setting; the nearest known one is " + n.nearest(name, names)
}

// nearest returns the known name that a wrong one probably means: the one that ends like it, as
// PATCHBAY_SERVER__LISTEN does like PATCHBAY_LISTEN, else the one with the fewest edits.
func (n notation) nearest(name string, known []string) string {
	ending := n.separator + strings.TrimPrefix(name, n.prefix)
	best, least := known[0], -1
	for _, k := range known {
		if strings.HasSuffix(k, ending) {
			return k
		}
		if d := edits(name[:min(len(name), maxKey)], k); least < 0 || d < least {
			best, least = k, d
		}
	}
	return best
}

// fromText reads a value that came without a type. A list of texts is written with commas.
func fromText(text string, t reflect.Type) (any, error) {
	switch {
	case shapeOf(t) == list:
		values := []any{}
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				values = append(values, item)
			}
		}
		return values, nil
	case isText(t) || text == "":
		return text, nil
	}
	v, err := resolve(text)
	if v == nil && err == nil {
		return text, nil // "null" is a text here: a variable that is there says something
	}
	return v, err
}
