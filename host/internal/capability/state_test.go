package capability

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// depth is how deep a value is nested, found by decoding it.
func depth(v any) int {
	deepest := 0
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			deepest = max(deepest, depth(item))
		}
	case map[string]any:
		for _, item := range v {
			deepest = max(deepest, depth(item))
		}
	default:
		return 0
	}
	return deepest + 1
}

// decoded reads one value, with numbers as they are written: they may be larger than any that Go has.
func decoded(b []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows")
	}
	return v, nil
}

// FuzzState wants a state to be taken when it is JSON in UTF-8 that is not too deep, and only then, and to mean the same afterwards.
func FuzzState(f *testing.F) {
	for _, s := range []string{
		``, `null`, ` {"a": [1, -2.5e3, "\u00fc\"[{", {}]} `, `"\\"`, `"\`, `{"a":1,"a":{"b":2}}`, "\"\xed\xa0\x80\"", `[1]]`, `[}`, `"a`, "\ufeff1",
		strings.Repeat("[", 33) + strings.Repeat("]", 33), strings.Repeat(`{"[":`, 32) + `""` + strings.Repeat("}", 32), "\"\u2028<>&\"",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > abi.MaxState {
			return
		}
		before := bytes.Clone(b)
		got, err := readState(b)
		v, err2 := decoded(b)
		good := utf8.Valid(b) && err2 == nil
		repeated := false // a name that is there twice hides the first value from depth
		if good && err != nil {
			repeated = bytes.Count(b, []byte(`"`)) > 4
		}
		switch {
		case err == nil && !good:
			t.Fatalf("%q was taken", b)
		case err != nil && good && depth(v) <= abi.MaxStateDepth && !repeated:
			t.Fatalf("%q was refused: %v", b, err)
		case err != nil:
			return
		case depth(v) > abi.MaxStateDepth:
			t.Fatalf("%q is %d deep", b, depth(v))
		}
		again, err := decoded(got)
		if err != nil || !utf8.Valid(got) || len(got) > len(b) || !bytes.Equal(b, before) {
			t.Fatalf("%q became %q: %v", b, got, err)
		}
		x, _ := json.Marshal(v)
		y, _ := json.Marshal(again)
		if !bytes.Equal(x, y) {
			t.Fatalf("%q became %q", b, got)
		}
	})
}
