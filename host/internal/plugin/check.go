package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// Check holds a plugin's configuration against its manifest. Warnings are wishes that were not granted.
func Check(c config.Plugin, m *Manifest) (warnings []string, err error) {
	var problems []error
	add := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("plugin %q: "+format, append([]any{c.Name}, args...)...))
	}
	names := m.routeNames()
	for _, r := range c.Routes {
		if !slices.Contains(names, r) {
			add("routes: it cannot answer %s: its manifest has %s", r, strings.Join(names, ", "))
		}
	}
	if len(c.Routes) == 0 {
		warnings = append(warnings, fmt.Sprintf("plugin %q: routes is empty, so it answers nothing: its manifest has %s", c.Name, strings.Join(names, ", ")))
	}
	b, err := configJSON(c)
	if err != nil {
		add("config: %w", err)
	} else {
		for _, problem := range m.CheckConfig(b) {
			add("%w", problem)
		}
	}
	for _, w := range m.Wants {
		warnings = append(warnings, ungranted(c, w)...)
	}
	return warnings, errors.Join(problems...)
}

// configJSON is the plugin's configuration as the guest gets it.
func configJSON(c config.Plugin) ([]byte, error) {
	if c.Config == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(c.Config)
}

func ungranted(c config.Plugin, w Want) (warnings []string) {
	switch {
	case w.Capability == "cache" && c.Grant.Cache == 0:
		return []string{fmt.Sprintf("plugin %q would like to keep values (%s), which its grant does not allow: add to its grant: cache: 16MiB", c.Name, w.Reason)}
	case w.Capability == "publish":
		for _, topic := range w.Topics {
			if !slices.ContainsFunc(c.Grant.Publish, func(g config.Publish) bool { return g.Topic == topic }) {
				warnings = append(warnings, fmt.Sprintf("plugin %q would like to publish %s (%s), which its grant does not allow: add to its grant: publish: [{topic: %s}]", c.Name, topic, w.Reason, topic))
			}
		}
		return warnings
	case w.Capability != "fetch":
		return nil
	}
	has := func(is func(config.Fetch) bool) bool { return slices.ContainsFunc(c.Grant.Fetch, is) }
	if len(w.Hosts)+len(w.Upstreams) == 0 && len(c.Grant.Fetch) == 0 {
		warnings = append(warnings, fmt.Sprintf("plugin %q would like to fetch (%s), which its grant does not allow: add to its grant: fetch: [{host: …, methods: […], paths: […]}]", c.Name, w.Reason))
	}
	for _, h := range w.Hosts {
		if !has(func(f config.Fetch) bool { return f.Host != "" && config.MatchHost(f.Host, strings.ToLower(h)) }) {
			warnings = append(warnings, fmt.Sprintf("plugin %q would like to fetch from %s (%s), which its grant does not allow: add to its grant: fetch: [{host: %s, methods: […], paths: […]}]", c.Name, h, w.Reason, h))
		}
	}
	for _, u := range w.Upstreams {
		if !has(func(f config.Fetch) bool { return f.Upstream == u }) {
			warnings = append(warnings, fmt.Sprintf("plugin %q would like to fetch from upstream %s (%s), which its grant does not allow: add to its grant: fetch: [{upstream: %s, methods: […], paths: […]}]", c.Name, u, w.Reason, u))
		}
	}
	return warnings
}
