package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/v2"
)

// wrongType is a value that its setting cannot take.
type wrongType struct {
	path path
	want string // "a whole number"
	got  string // "the text \"many\""
}

// Error is for the errors that mapstructure collects; a reader sees what layer.check makes of it.
func (w *wrongType) Error() string { return "want " + w.want + ", got " + w.got }

// decode reads values strictly into c and returns what does not fit, all of it.
func decode(k *koanf.Koanf, c *Config) []*wrongType {
	err := k.UnmarshalWithConf("", c, koanf.UnmarshalConf{
		Tag: "yaml",
		DecoderConfig: &mapstructure.DecoderConfig{
			// The readers let known keys pass only; this is the net below them.
			ErrorUnused: true,
			MatchName:   func(key, field string) bool { return key == field },
			DecodeHook:  mapstructure.DecodeHookFuncValue(convert),
		},
	})
	return wrongTypes(err)
}

// wrongTypes flattens the errors of mapstructure and gives each its path.
func wrongTypes(err error) []*wrongType {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*wrongType
		for _, e := range joined.Unwrap() {
			all = append(all, wrongTypes(e)...)
		}
		return all
	}
	named, ok := err.(*mapstructure.DecodeError)
	if !ok {
		if inner := errors.Unwrap(err); inner != nil {
			return wrongTypes(inner) // the heading that mapstructure puts over them all
		}
		return []*wrongType{{want: "a readable configuration", got: err.Error()}}
	}
	w := &wrongType{want: "another value", got: named.Unwrap().Error()}
	errors.As(named, &w)
	return []*wrongType{{path: parseName(named.Name()), want: w.want, got: w.got}}
}

// parseName turns mapstructure's upstreams[gpustack].endpoints[0] into a path. What stands in brackets may hold dots, as the names of
// resource attributes do.
func parseName(name string) path {
	var p path
	for name != "" {
		var step string
		if inside, ok := strings.CutPrefix(name, "["); ok {
			step, name, _ = strings.Cut(inside, "]")
			if _, err := strconv.Atoi(step); err == nil {
				step = "[" + step + "]"
			}
		} else if end := strings.IndexAny(name, ".["); end >= 0 {
			step, name = name[:end], name[end:]
		} else {
			step, name = name, ""
		}
		name = strings.TrimPrefix(name, ".")
		p = p.key(step)
	}
	return p
}

// convert checks that a value fits its type, and turns text into sizes, durations and worker
// counts. mapstructure alone would cut 1.5 to 1, wrap large numbers, and take 30 for 30ns.
func convert(from, to reflect.Value) (any, error) {
	got := from.Interface()
	misfit := func(want string) (any, error) { return nil, &wrongType{want: want, got: describe(got)} }
	switch target := to.Addr().Interface().(type) {
	case *time.Duration:
		if text, ok := got.(string); ok {
			d, err := parseDuration(text)
			if err != nil {
				return misfit(strings.TrimPrefix(err.Error(), "want "))
			}
			return d, nil
		}
		if isNumber(got) {
			return misfit("a duration: add a unit, as in 30s")
		}
		return misfit("a duration such as 30s, 500ms or 10m")
	case *Endpoint: // a section, or its URL alone
		if text, ok := got.(string); ok {
			return Endpoint{URL: text}, nil
		}
		if _, ok := got.(map[string]any); ok {
			return got, nil
		}
		if _, ok := got.([]any); ok {
			return misfit("a URL, or a section with one")
		}
		return misfit("text, so put it in quotes")
	case encoding.TextUnmarshaler: // Bytes, Workers
		if text, ok := got.(string); ok {
			if err := target.UnmarshalText([]byte(text)); err != nil {
				return misfit(strings.TrimPrefix(err.Error(), "want "))
			}
			return to.Interface(), nil
		}
		if isWhole(got) {
			return got, nil
		}
		if _, ok := target.(*Workers); ok {
			return misfit("a whole number or auto")
		}
		return misfit("a size such as 64MiB")
	}
	if want, ok := fits(got, to.Type()); !ok {
		return misfit(want)
	}
	return got, nil
}

// fits reports whether a value can be decoded into a type as it is, and what the type wants.
func fits(got any, t reflect.Type) (want string, ok bool) {
	switch shapeOf(t) {
	case free:
		if t.Kind() == reflect.Map {
			_, ok = got.(map[string]any)
			return "a section of keys", ok
		}
		return "", true
	case section, entries:
		_, ok = got.(map[string]any)
		return "a section of keys", ok
	case list:
		_, ok = got.([]any)
		if text, isText := got.(string); isText {
			return "a list, as in [" + shown(text) + "]", ok
		}
		return "a list", ok
	}
	switch t.Kind() {
	case reflect.Bool:
		_, ok = got.(bool)
		return "true or false", ok
	case reflect.Int, reflect.Int64:
		return "a whole number", isWhole(got)
	case reflect.Float64:
		return "a number", isNumber(got)
	case reflect.String:
		_, ok = got.(string)
		if _, isBool := got.(bool); isBool || isNumber(got) {
			return "text, so put it in quotes", ok
		}
		return "text", ok
	}
	return "another type", false
}

// isWhole reports whether v is a whole number that a setting can hold.
func isWhole(v any) bool {
	switch n := v.(type) {
	case int, int64:
		return true
	case uint64:
		return n <= math.MaxInt64
	}
	return false
}

// isNumber reports whether v is a number.
func isNumber(v any) bool {
	switch v.(type) {
	case int, int64, uint64, float64:
		return true
	}
	return false
}

// describe names a value for a message.
func describe(v any) string {
	switch v := v.(type) {
	case map[string]any:
		return "a section of keys"
	case []any:
		return "a list"
	case string:
		return shown(v)
	}
	return fmt.Sprint(v)
}
