package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/plugin/plugintest"
)

func TestAutoPicksWhatIsThere(t *testing.T) {
	for _, c := range []struct {
		name, config string
		key          bool
		want         string
	}{
		{"nothing", `{}`, false, "demo"},
		{"a key", `{}`, true, "tavily"},
		{"a key and an endpoint", `{"searxng":{"endpoint":"https://s.test"}}`, true, "tavily"},
		{"an endpoint", `{"searxng":{"endpoint":"https://s.test"}}`, false, "searxng"},
		{"auto by name", `{"provider":"auto"}`, true, "tavily"},
		{"demo by name", `{"provider":"demo"}`, true, "demo"},
		{"searxng by name", `{"provider":"searxng","searxng":{"endpoint":"https://s.test"}}`, true, "searxng"},
		{"another name for the key", `{"tavily":{"secret":"other"}}`, true, "demo"},
		{"a list", `{"providers":["searxng","tavily","demo"],"searxng":{"endpoint":"https://s.test"}}`, true, "searxng,tavily,demo"},
		{"a mirror without a key", `{"tavily":{"secret":"","endpoint":"http://m.test"}}`, false, "tavily"},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts := []plugintest.Option{plugintest.Config(c.config)}
			if c.key {
				opts = append(opts, plugintest.Secret("tavily", "s3cret"))
			}
			h := plugintest.New(t, Setup, opts...)
			if err := h.SetupError(); err != nil {
				t.Fatal(err)
			}
			if logs := strings.Join(h.Logs(), "\n"); !strings.Contains(logs, "provider="+c.want) {
				t.Errorf("want %s: %s", c.want, logs)
			}
		})
	}
}

// TestSetupErrors: each says what is wrong, all at once.
func TestSetupErrors(t *testing.T) {
	for config, wants := range map[string][]string{
		`{"provider":"tavily"}`:  {`"tavily"`, "TAVILY_API_KEY", "grant"},
		`{"provider":"searxng"}`: {"set searxng.endpoint"},
		`{"provider":"searxng","searxng":{"endpoint":"https://s.test","secret":"x"}}`: {"searxng.secret", `"x"`},
		`{"provider":"demo","demo":{"endpoint":""}}`:                                  {"set demo.endpoint"},
		`{"demo":{"endpoint":""}}`:                                                    {"none of tavily, searxng, demo"},
		`{"provider":"google"}`:                                                       {`"google"`, "auto, tavily, searxng, brave, serper, exa, duckduckgo, demo"},
		`{"providers":["demo","brave"]}`:                                              {`"brave"`, "BRAVE_API_KEY", "grant"},
		`{"providers":["demo","demo"]}`:                                               {"providers", "twice"},
		`{"providers":["demo","altavista"]}`:                                          {`"altavista"`},
		`{"cache":{"ttl":"-1s","stale":"999h"}}`:                                      {"cache.ttl", "cache.stale"},
		`{"providr":"demo"}`:                                                          {"providr"},
		`{"max_results":"8"}`:                                                         {"max_results"},
		`{"timeout":"soon"}`:                                                          {"soon", "20s"},
		`{"timeout":20}`:                                                              {"20", `"20s"`},
		`{"max_results":0,"min_chars":2000,"tavily":{"endpoint":"api.tavily.com"}}`:                      {"max_results", "min_chars", "tavily.endpoint"},
		`{"summary":{"model":"m","endpoint":""}}`:                                                        {"summary.endpoint"},
		`{"timeout":"0s","answer_within":"-1s","max_chars":5,"summary":{"timeout":"0s","max_tokens":0}}`: {"timeout", "answer_within", "max_chars", "summary.timeout", "summary.max_tokens"},
	} {
		err := plugintest.New(t, Setup, plugintest.Config(config)).SetupError()
		if err == nil {
			t.Errorf("%s: no error", config)
			continue
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not name %q", config, err, want)
			}
		}
	}
}

// TestManifestTellsTheDefaults holds the schema in the manifest against the code.
func TestManifestTellsTheDefaults(t *testing.T) {
	b, err := os.ReadFile("manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct{ Config property }
	if err := json.Unmarshal(b, &manifest); err != nil {
		t.Fatal(err)
	}
	cfg := defaults()
	if b, err = json.Marshal(cfg); err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := json.Unmarshal(b, &values); err != nil {
		t.Fatal(err)
	}
	compare(t, "config", &manifest.Config, values)
}

// property is a part of a JSON Schema.
type property struct {
	Description          string
	Default              any
	Properties           map[string]*property
	AdditionalProperties *bool
}

func compare(t *testing.T, name string, p *property, values map[string]any) {
	if p.AdditionalProperties == nil || *p.AdditionalProperties {
		t.Errorf("%s: the schema takes unknown keys", name)
	}
	if len(p.Properties) != len(values) {
		t.Errorf("%s: the schema has %d keys, the code %d", name, len(p.Properties), len(values))
	}
	for key, value := range values {
		inner := p.Properties[key]
		switch {
		case inner == nil:
			t.Errorf("%s.%s: not in the schema", name, key)
		case inner.Description == "":
			t.Errorf("%s.%s: no description", name, key)
		case len(inner.Properties) > 0:
			compare(t, name+"."+key, inner, value.(map[string]any))
		default:
			if text, ok := inner.Default.(string); ok {
				if d, err := time.ParseDuration(text); err == nil { // as the code holds it
					inner.Default = d
				}
			}
			given, _ := json.Marshal(inner.Default)
			coded, _ := json.Marshal(value)
			if string(given) != string(coded) {
				t.Errorf("%s.%s: default %s in the schema, %s in the code", name, key, given, coded)
			}
		}
	}
}
