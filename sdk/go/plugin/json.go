package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// marshal is v as JSON without HTML escapes and without a newline at the end, appended to b.
func marshal(b []byte, v any) ([]byte, error) {
	buf := bytes.NewBuffer(b)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return b, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// unmarshal reads b into v; its errors speak to whoever wrote b, not to a Go programmer.
func unmarshal(b []byte, v any) error {
	err := json.Unmarshal(b, v)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		return fmt.Errorf("%s (%s)", strings.TrimPrefix(syntax.Error(), "json: "), position(b, syntax.Offset))
	case errors.As(err, &kind):
		where := "the whole value"
		if kind.Field != "" {
			where = fmt.Sprintf("%q", kind.Field)
		}
		given, _, _ := strings.Cut(kind.Value, " ")
		return fmt.Errorf("%s must be %s, not %s (%s)", where, jsonKind(kind.Type), article(given), position(b, kind.Offset))
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

// position is offset as a line and a column, both from 1.
func position(b []byte, offset int64) string {
	before := b[:max(0, min(offset, int64(len(b))))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - (bytes.LastIndexByte(before, '\n') + 1)
	return fmt.Sprintf("line %d, column %d", line, max(column, 1))
}

// jsonKind is what t is called in JSON.
func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number of " + fmt.Sprint(t.Bits()) + " bits"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number of " + fmt.Sprint(t.Bits()) + " bits, not negative"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Pointer:
		return jsonKind(t.Elem())
	}
	return "something else"
}

// article is a JSON kind, as package json names it, with its article.
func article(kind string) string {
	switch kind {
	case "bool":
		return "true or false"
	case "array", "object":
		return "an " + kind
	}
	return "a " + kind
}
