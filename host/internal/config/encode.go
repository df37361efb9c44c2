package config

import (
	"reflect"
	"time"
)

// encode turns a value into nested maps and lists in the keys and the spelling of the file, so
// that what it returns can be read back.
func encode(v any) any { return encodeValue(reflect.ValueOf(v)) }

func encodeValue(v reflect.Value) any {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if !v.IsValid() {
		return nil
	}
	switch value := v.Interface().(type) {
	case time.Duration:
		return formatDuration(value)
	case Bytes:
		return value.String()
	case Endpoint:
		if value.Weight <= 1 && value.Metrics == "" {
			return value.URL
		}
	case Workers:
		if value == Auto {
			return value.String()
		}
		return int(value)
	}
	switch v.Kind() {
	case reflect.Interface:
		return encodeValue(v.Elem())
	case reflect.Struct:
		section := map[string]any{}
		for i, f := range fields(v.Type()) {
			section[f.name] = encodeValue(v.Field(i))
		}
		return section
	case reflect.Map:
		entries := map[string]any{}
		for name, entry := range v.Seq2() {
			entries[name.String()] = encodeValue(entry)
		}
		return entries
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = encodeValue(v.Index(i))
		}
		return list
	}
	return v.Interface()
}
