package abi_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

func TestParseLog(t *testing.T) {
	type fields = []abi.LogField
	many, wanted := "", fields(nil)
	for i := range 40 {
		many += fmt.Sprintf(",%q:%d", fmt.Sprint("n", i), i)
		if i < abi.MaxLogFields {
			wanted = append(wanted, abi.LogField{Name: fmt.Sprint("n", i), Value: int64(i)})
		}
	}
	for _, c := range []struct {
		line, text string
		fields     fields
		left       int
	}{
		{"plain", "plain", nil, 0},
		{"", "", nil, 0},
		{`{"a":1}`, `{"a":1}`, nil, 0},
		{"said\x1e{\"b\":\"x y\",\"a\":-3,\"f\":1.5,\"t\":true,\"n\":null}", "said", fields{{"b", "x y"}, {"a", int64(-3)}, {"f", 1.5}, {"t", true}, {"n", nil}}, 0},
		{"said\x1e{}", "said", nil, 0},
		{"a \x1e b\x1e{\"k\":\"\\u001e\"}", "a \x1e b", fields{{"k", "\x1e"}}, 0},
		{"said\x1e[1]", "said\x1e[1]", nil, 0},
		{"said\x1e", "said\x1e", nil, 0},
		{"cut\x1e{\"a\":1,\"b\":\"xy", "cut", fields{{"a", int64(1)}}, 1},
		{"cut\x1e{\"a\":1", "cut", fields{{"a", int64(1)}}, 1},
		{"nested\x1e{\"a\":1,\"o\":{\"b\":2},\"c\":3}", "nested", fields{{"a", int64(1)}}, 1},
		{"name\x1e{\"\":1,\"" + strings.Repeat("n", 65) + "\":2,\"k\":3}", "name", fields{{"k", int64(3)}}, 2},
		{"long\x1e{\"k\":\"" + strings.Repeat("ä", 600) + "\"}", "long", fields{{"k", strings.Repeat("ä", 512) + "…"}}, 0},
		{"huge\x1e{\"k\":1e999,\"l\":99999999999999999999}", "huge", fields{{"k", "1e999"}, {"l", 1e20}}, 0},
		{"many\x1e{" + many[1:] + "}", "many", wanted, 8},
	} {
		text, got, left := abi.ParseLog(c.line)
		if text != c.text || !reflect.DeepEqual(got, c.fields) || left != c.left {
			t.Errorf("%.80q: %q %v, %d left out; want %q %v, %d", c.line, text, got, left, c.text, c.fields, c.left)
		}
	}
}

// FuzzParseLog: whatever a guest wrote, what is kept is bounded, and nothing of the text is lost.
func FuzzParseLog(f *testing.F) {
	for _, seed := range []string{"x", "x\x1e{\"a\":1}", "x\x1e{\"a\":{}", "x\x1e{\"a\":\"\\ud800\"}", "x\x1e{\"a\" 1}", "\x1e{\"a\":1,}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		text, fields, left := abi.ParseLog(line)
		if !strings.HasPrefix(line, text) || text != line && line[len(text)] != abi.LogMark || left < 0 || len(fields) > abi.MaxLogFields {
			t.Fatalf("%q %v %d", text, fields, left)
		}
		for _, f := range fields {
			if s, ok := f.Value.(string); f.Name == "" || len(f.Name) > abi.MaxLogName || ok && len(s) > abi.MaxLogValue+len("…") {
				t.Errorf("%+v", f)
			}
		}
	})
}
