package plugin_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/plugin"
)

// TestManifests reads testdata/manifest: each NAME.good.json is one, and each NAME.bad.json gives the lines of NAME.bad.txt.
func TestManifests(t *testing.T) {
	good, bad := glob(t, "*.good.json"), glob(t, "*.bad.json")
	for _, file := range good {
		if _, err := plugin.ParseManifest(read(t, file)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	for _, file := range bad {
		_, err := plugin.ParseManifest(read(t, file))
		if err == nil {
			t.Errorf("%s: no error", file)
			continue
		}
		want := strings.TrimSpace(string(read(t, strings.TrimSuffix(file, "json")+"txt")))
		got := strings.Split(err.Error(), "\n")
		for i, line := range strings.Split(want, "\n") {
			if i >= len(got) || !strings.Contains(got[i], line) {
				t.Errorf("%s: line %d lacks %q:\n%v", file, i+1, line, err)
				break
			}
		}
		if len(got) != strings.Count(want, "\n")+1 {
			t.Errorf("%s: %d problems, want %d:\n%v", file, len(got), strings.Count(want, "\n")+1, err)
		}
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "manifest", pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no %s: %v", pattern, err)
	}
	return files
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestManifestTooLarge(t *testing.T) {
	b := append(read(t, "testdata/manifest/least.good.json"), bytes.Repeat([]byte(" "), 64<<10)...)
	if _, err := plugin.ParseManifest(b); err == nil || !strings.Contains(err.Error(), "over 65536") {
		t.Error(err)
	}
}

func TestConfigAgainstSchema(t *testing.T) {
	m := &plugin.Manifest{Config: json.RawMessage(`{
		"type": "object", "additionalProperties": false, "required": ["provider"],
		"properties": {
			"provider": {"enum": ["auto", "demo"]},
			"max_results": {"type": "integer", "minimum": 1, "maximum": 20},
			"list": {"type": "array", "items": {"type": "object", "properties": {"url": {"type": "string"}}}}
		}}`)}
	for config, want := range map[string][]string{
		`{"provider":"auto"}`: nil,
		`{"provider":"auto","max_results":20,"list":[{"url":"x"}]}`: nil,
		`{}`: {"config: missing property 'provider'"},
		`[]`: {"config: got array, want object"},
		`{"provider":"none","max_results":99,"list":[{"url":1},{"url":2}],"x":1}`: {
			"config.provider: value must be one of 'auto', 'demo'", "config.max_results: maximum: got 99, want 20", "config.list.0.url: got number, want string",
			"config.list.1.url: got number, want string", "config: additional properties 'x' not allowed",
		},
		`{`: {"config: "},
	} {
		got := fmt.Sprint(m.CheckConfig([]byte(config)))
		if problems := m.CheckConfig([]byte(config)); len(problems) != len(want) {
			t.Errorf("%s: %v", config, got)
		}
		for _, line := range want {
			if !strings.Contains(got, line) {
				t.Errorf("%s: lacks %q: %s", config, line, got)
			}
		}
	}
	if problems := (&plugin.Manifest{}).CheckConfig([]byte(`{"anything":1}`)); problems != nil {
		t.Errorf("without a schema: %v", problems)
	}
}

func FuzzManifest(f *testing.F) {
	files, _ := filepath.Glob("testdata/manifest/*.json")
	for _, file := range files {
		f.Add(read(f, file))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := plugin.ParseManifest(b)
		if err != nil {
			return
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := plugin.ParseManifest(again); err != nil && len(again) <= 64<<10 {
			t.Fatalf("%s was accepted, and is refused when it is written again: %v", b, err)
		}
		m.CheckConfig([]byte("{}"))
	})
}
