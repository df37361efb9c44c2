package main

import "testing"

// TestOptionsNameTheFile: the file is known by name however it was named, since a server watches it.
func TestOptionsNameTheFile(t *testing.T) {
	for _, c := range []struct{ flag, variable, want string }{
		{"", "", ""},
		{"flag.yaml", "", "flag.yaml"},
		{"", "variable.yaml", "variable.yaml"},
		{"flag.yaml", "variable.yaml", "flag.yaml"},
	} {
		p := &process{environ: []string{"PATH=/bin", "PATCHBAY_CONFIG=" + c.variable}}
		o, err := (&configFlags{file: c.flag}).options(p)
		if err != nil || o.File != c.want {
			t.Errorf("--config %q, PATCHBAY_CONFIG=%q: %q, %v", c.flag, c.variable, o.File, err)
		}
	}
}
