package config_test

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

func TestRedacted(t *testing.T) {
	c, err := config.Load(config.Options{File: "testdata/redact.yaml", Environ: []string{"KEY=" + secretValue}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(c.Redacted(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if strings.Contains(string(got), secretValue) {
		t.Errorf("a secret is shown:\n%s", got)
	}
	if *update {
		if err := os.WriteFile("testdata/redact.json", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/redact.json")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if c.Plugins[0].Config["api_key"] != secretValue {
		t.Error("Redacted changed the configuration itself")
	}
}

// What Redacted returns is the file's own language: without a secret in it, it loads as the same.
func TestRedactedLoadsAgain(t *testing.T) {
	c := load(t, "server: {max_body: 1000, idle_timeout: 1h1m0.5s}\nupstreams: {a: {endpoints: [\"http://a\", {url: \"http://b\", weight: 2}]}}\nplugins: [{name: p, source: p.wasm, routes: [\"GET /p\"], workers: auto, limits: {timeout: 2h}}]\n")
	text, err := yaml.Marshal(c.Redacted())
	if err != nil {
		t.Fatal(err)
	}
	if again := load(t, string(text)); !reflect.DeepEqual(again, c) {
		t.Errorf("\n%s\nloads as\n%+v\nwant\n%+v", text, again, c)
	}
}

// Load refuses these; a configuration that was built by hand is shown safely all the same.
func TestRedactedOfUnchecked(t *testing.T) {
	c := config.Default()
	c.Upstreams["a"] = config.Upstream{Endpoints: []config.Endpoint{{URL: "https://user:" + secretValue + "@a.example.com"}, {URL: "https://b", Metrics: "https://" + secretValue + "@b.example.com/metrics"}}}
	c.Plugins = []config.Plugin{{Source: "https://" + secretValue + "@plugins.example.com/a.wasm?token=" + secretValue}}
	got, err := json.Marshal(c.Redacted())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"https://a.example.com"`, `"https://b.example.com/metrics"`, `"https://plugins.example.com/a.wasm?token=***"`} {
		if !strings.Contains(string(got), want) {
			t.Errorf("%s is not shown in %s", want, got)
		}
	}
	if strings.Contains(string(got), secretValue) {
		t.Errorf("a secret is shown: %s", got)
	}
}
