package plugin_test

import (
	"slices"
	"testing"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

func TestHeader(t *testing.T) {
	var h plugin.Header
	h.Add("A", "1")
	h.Add("b", "2")
	h.Add("a", "3")
	h.Add("C", "")
	if h.Get("a") != "1" || h.Get("B") != "2" || h.Get("x") != "" || h.Has("x") || !h.Has("c") {
		t.Error(h)
	}
	if v := h.Values("a"); !slices.Equal(v, []string{"1", "3"}) {
		t.Error(v)
	}
	h.Set("A", "4")
	if want := (plugin.Header{{Name: "a", Value: "4"}, {Name: "b", Value: "2"}, {Name: "c"}}); !slices.Equal(h, want) {
		t.Error(h)
	}
	h.Del("B")
	h.Set("d", "5")
	var names []string
	for name, value := range h.All() {
		names = append(names, name+value)
		if name == "d" {
			break
		}
	}
	if !slices.Equal(names, []string{"a4", "c", "d5"}) {
		t.Error(names)
	}
}
