package config

import (
	"reflect"
	"strconv"
	"strings"

	"github.com/knadh/koanf/maps"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// layer is what one source says: the file, the environment or the flags.
type layer struct {
	values map[string]any
	places places
}

func newLayer() *layer { return &layer{values: map[string]any{}} }

// set writes a value and its origin. The sections on the way are made.
func (l *layer) set(p path, v any, at origin) {
	l.places.put(p, at)
	section := l.values
	for _, step := range p[:len(p)-1] {
		next, ok := section[step].(map[string]any)
		if !ok {
			next = map[string]any{}
			section[step] = next
		}
		section = next
	}
	section[p[len(p)-1]] = v
}

// has reports whether the layer says something about exactly this setting.
func (l *layer) has(p path) bool {
	_, depth := l.places.find(p)
	return depth == len(p)
}

// check decodes the layer alone, reports the values of a wrong type and takes them out. So each
// mistake is found, also one that a higher layer covers, and what is left decodes.
func (l *layer) check(r *report) {
	var unused Config
	for _, w := range decode(koanfOf(l.values), &unused) {
		at, _ := l.places.find(w.path)
		if at.ref != "" {
			r.add(at, w.path, "want %s, which %s does not give", w.want, at.ref)
		} else {
			r.add(at, w.path, "want %s, got %s", w.want, w.got)
		}
		r.broken.add(w.path)
		l.drop(w.path)
	}
}

// drop takes a value out: a key goes, an entry of a list becomes empty so that the others keep
// their places.
func (l *layer) drop(p path) {
	var at any = l.values
	for i, step := range p {
		last := i == len(p)-1
		switch v := at.(type) {
		case map[string]any:
			if last {
				delete(v, step)
			}
			at = v[step]
		case []any:
			n, err := strconv.Atoi(strings.Trim(step, "[]"))
			if err != nil || n >= len(v) {
				return
			}
			if last {
				v[n] = zeroOf(typeAt(p))
			}
			at = v[n]
		default:
			return
		}
	}
}

// typeAt returns the type of the setting at p; nil when it is free.
func typeAt(p path) reflect.Type {
	t := reflect.TypeFor[Config]()
	for _, step := range p {
		switch shapeOf(t) {
		case section:
			t = fieldType(t, step)
		case entries, list:
			t = t.Elem()
		default:
			return nil
		}
	}
	return t
}

// zeroOf is the empty value that stands for an entry of a list that could not be read.
func zeroOf(t reflect.Type) any {
	switch shapeOf(t) {
	case section:
		return map[string]any{}
	case scalar:
		return ""
	}
	return nil
}

// stack merges the layers over the defaults, the later ones winning.
func stack(layers []*layer) *koanf.Koanf {
	merged := koanfOf(encode(Default()).(map[string]any))
	upstreams := map[string]any{}
	for _, l := range layers {
		said, _ := l.values["upstreams"].(map[string]any)
		for name := range said {
			upstreams[name] = encode(DefaultUpstream())
		}
	}
	load(merged, map[string]any{"upstreams": upstreams})
	for _, l := range layers {
		load(merged, withPluginDefaults(l.values))
	}
	return merged
}

// withPluginDefaults puts the defaults of a plugin under each entry of the list, which koanf
// replaces whole.
func withPluginDefaults(values map[string]any) map[string]any {
	plugins, ok := values["plugins"].([]any)
	if !ok {
		return values
	}
	filled := make([]any, len(plugins))
	for i, plugin := range plugins {
		one := encode(DefaultPlugin()).(map[string]any)
		if said, ok := plugin.(map[string]any); ok {
			maps.Merge(said, one) // over the defaults, as koanf does it
		}
		filled[i] = one
	}
	out := make(map[string]any, len(values))
	for k, v := range values {
		out[k] = v
	}
	out["plugins"] = filled
	return out
}

// koanfOf returns a koanf that holds a copy of the values.
func koanfOf(values map[string]any) *koanf.Koanf {
	k := koanf.New(".")
	load(k, values)
	return k
}

// load merges values into k. A map that is already in memory cannot fail to load.
func load(k *koanf.Koanf, values map[string]any) {
	if err := k.Load(confmap.Provider(values, ""), nil); err != nil {
		panic("config: " + err.Error())
	}
}
