package plugin_test

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/plugin"
)

const head = "\x00asm\x01\x00\x00\x00"

// section is one of a module.
func section(id byte, content string) string {
	return string(binary.AppendUvarint([]byte{id}, uint64(len(content)))) + content
}

// custom is a custom section.
func custom(name, content string) string {
	return section(0, string(binary.AppendUvarint(nil, uint64(len(name))))+name+content)
}

const (
	least  = `{"name": "a", "version": "0.0.1", "abi": "1", "routes": [{"method": "GET", "path": "/x"}]}`
	second = `{"name": "b", "version": "0.0.1", "abi": "1", "routes": [{"method": "GET", "path": "/x"}]}`
)

func TestReadManifest(t *testing.T) {
	const name = "patchbay.manifest"
	for what, c := range map[string]struct{ module, name, err string }{
		"alone":               {module: head + custom(name, least), name: "a"},
		"behind others":       {module: head + section(1, "\x00") + custom("name", "x") + custom(name, least) + custom("producers", ""), name: "a"},
		"two: the first":      {module: head + custom(name, least) + custom(name, second), name: "a"},
		"none":                {module: head + custom("name", "x"), err: "build it with patchbay plugin build"},
		"none at all":         {module: head, err: "build it with patchbay plugin build"},
		"an empty one":        {module: head + custom(name, "") + custom(name, least), err: "EOF"},
		"another id":          {module: head + section(1, string(rune(len(name)))+name+least), err: "build it with"},
		"a bad one":           {module: head + custom(name, "{}"), err: "manifest: name"},
		"nothing":             {module: "", err: "no WebAssembly module"},
		"text":                {module: "#!/bin/sh\necho hello", err: "no WebAssembly module"},
		"a component":         {module: "\x00asm\x0d\x00\x01\x00", err: "no WebAssembly module"},
		"cut in a section":    {module: (head + custom(name, least))[:40], err: "cut off"},
		"cut behind an id":    {module: head + "\x00", err: "cut off"},
		"cut in a size":       {module: head + "\x00\xff", err: "cut off"},
		"a size over all":     {module: head + "\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", err: "cut off"},
		"a size without end":  {module: head + "\x00" + strings.Repeat("\xff", 20), err: "cut off"},
		"a name over all":     {module: head + section(0, "\x7fabc"), err: "cut off"},
		"no name":             {module: head + section(0, ""), err: "cut off"},
		"cut after the first": {module: head + custom(name, least) + "\x00\x05", err: "cut off"},
	} {
		m, err := plugin.ReadManifest([]byte(c.module))
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v, want %q", what, err, c.err)
			}
		case err != nil || m.Name != c.name:
			t.Errorf("%s: %+v, %v", what, m, err)
		}
	}
}

func TestEmbedManifest(t *testing.T) {
	module := head + section(1, "types") + custom("patchbay.manifest", second) + custom("name", "x") + custom("patchbay.manifest", "{}")
	got, err := plugin.EmbedManifest([]byte(module), []byte(least))
	if err != nil {
		t.Fatal(err)
	}
	if want := head + section(1, "types") + custom("name", "x") + custom("patchbay.manifest", least); string(got) != want {
		t.Errorf("%q\nwant\n%q", got, want)
	}
	if again, err := plugin.EmbedManifest(got, []byte(least)); err != nil || !bytes.Equal(again, got) {
		t.Errorf("a second time: %q, %v", again, err)
	}
	if _, err := plugin.EmbedManifest([]byte(head+"\x00\x05"), []byte(least)); err == nil {
		t.Error("a module that is cut off is no error")
	}
}

func FuzzSections(f *testing.F) {
	for _, s := range []string{head, head + custom("patchbay.manifest", least), head + section(1, "types") + custom("name", "x"), head + "\x00\xff\xff\xff\xff\x0f", head + section(0, "\x80\x00"), ""} {
		f.Add([]byte(s))
	}
	want, err := plugin.ParseManifest([]byte(least))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, module []byte) {
		_, readErr := plugin.ReadManifest(module)
		out, err := plugin.EmbedManifest(module, []byte(least))
		if err != nil {
			if readErr == nil {
				t.Fatalf("a module can be read and not written: %v", err)
			}
			return
		}
		got, err := plugin.ReadManifest(out)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q became %q: %+v, %v", module, out, got, err)
		}
		if n := bytes.Count(out, []byte(least)); n != bytes.Count(module, []byte(least)) && n < 1 {
			t.Fatal("the manifest is not there")
		}
	})
}
