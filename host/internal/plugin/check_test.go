package plugin_test

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/plugin"
)

func manifest(t testing.TB) *plugin.Manifest {
	t.Helper()
	m, err := plugin.ParseManifest([]byte(`{"name": "search", "version": "1.0.0", "abi": "1",
		"routes": [{"method": "POST", "path": "/search"}, {"method": "GET", "path": "/x/{id}"}],
		"wants": [{"capability": "fetch", "hosts": ["api.tavily.com", "html.duckduckgo.com"], "upstreams": ["gpustack"], "reason": "asks"}, {"capability": "log"}],
		"config": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "object", "properties": {"c": {"type": "integer"}}}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCheck(t *testing.T) {
	all := []config.Fetch{{Host: "api.tavily.com"}, {Host: "html.duckduckgo.com"}, {Upstream: "gpustack"}}
	for name, c := range map[string]struct {
		config   config.Plugin
		warnings []string
		errors   []string // one a line
	}{
		"all is well": {config: config.Plugin{Routes: []string{"POST /search"}, Grant: config.Grant{Fetch: all}, Config: map[string]any{"a": "x"}}},
		"other routes": {
			config: config.Plugin{Routes: []string{"GET /search", "POST /search", "GET /x/{name}"}, Grant: config.Grant{Fetch: all}},
			errors: []string{"routes: it cannot answer GET /search: its manifest has POST /search, GET /x/{id}", "routes: it cannot answer GET /x/{name}"},
		},
		"no routes": {config: config.Plugin{Grant: config.Grant{Fetch: all}}, warnings: []string{"routes is empty"}},
		"wishes": {
			config:   config.Plugin{Routes: []string{"POST /search"}, Grant: config.Grant{Fetch: []config.Fetch{{Host: "api.tavily.com"}, {Upstream: "html.duckduckgo.com"}, {Host: "gpustack"}}}},
			warnings: []string{"html.duckduckgo.com (asks), which its grant does not allow: add to its grant: fetch: [{host: html.duckduckgo.com, ", "upstream gpustack (asks), which its grant does not allow: add to its grant: fetch: [{upstream: gpustack, "},
		},
		"everything at once": {
			config: config.Plugin{Routes: []string{"GET /none"}, Grant: config.Grant{Fetch: all}, Config: map[string]any{"a": 1, "b": map[string]any{"c": "x"}}},
			errors: []string{"routes: it cannot answer GET /none", "config.", "config."},
		},
		"no JSON": {
			config: config.Plugin{Routes: []string{"POST /search"}, Grant: config.Grant{Fetch: all}, Config: map[string]any{"a": math.NaN()}},
			errors: []string{"config: "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.Name = "mine"
			warnings, err := plugin.Check(c.config, manifest(t))
			var problems []string
			if err != nil {
				problems = strings.Split(err.Error(), "\n")
			}
			for what, pair := range map[string][2][]string{"warning": {warnings, c.warnings}, "error": {problems, c.errors}} {
				if len(pair[0]) != len(pair[1]) {
					t.Errorf("%ss:\n%s\nwant %q", what, strings.Join(pair[0], "\n"), pair[1])
					continue
				}
				for i, line := range pair[0] {
					if !strings.HasPrefix(line, `plugin "mine"`) || !strings.Contains(line, pair[1][i]) {
						t.Errorf("%s %q lacks its plugin or %q", what, line, pair[1][i])
					}
				}
			}
		})
	}
	m := manifest(t)
	m.Wants = []plugin.Want{{Capability: "publish", Topics: []string{"progress", "events"}, Reason: "tells"}}
	warnings, err := plugin.Check(config.Plugin{Name: "mine", Routes: []string{"POST /search"}, Grant: config.Grant{Publish: []config.Publish{{Topic: "progress"}}}}, m)
	if want := `plugin "mine" would like to publish events (tells), which its grant does not allow: add to its grant: publish: [{topic: events}]`; err != nil || len(warnings) != 1 || warnings[0] != want {
		t.Errorf("%q, %v", warnings, err)
	}
	m.Wants = []plugin.Want{{Capability: "fetch", Reason: "anything"}}
	warnings, err = plugin.Check(config.Plugin{Name: "mine", Routes: []string{"POST /search"}}, m)
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "(anything), which its grant does not allow: add to its grant: fetch: [{host: …, ") {
		t.Errorf("a wish without hosts: %q, %v", warnings, err)
	}
	if b, _ := json.Marshal(m); !slices.Contains(strings.Split(string(b), `"`), "anything") {
		t.Error("the manifest lost a reason")
	}
}
