// Package main is the plugin search: it asks a search provider, cleans what the provider found, and may have a language
// model sum it up. It ranks nothing itself and keeps nothing: a cache belongs to the host.
package main

import "github.com/patchbay-run/patchbay/sdk/go/plugin"

func main() {}

func init() { plugin.Serve(Setup) }

// Setup reads the configuration, picks the provider and serves the one route. It fails when a provider was asked for by
// name and cannot work.
func Setup(p *plugin.Plugin) error {
	cfg := defaults()
	if err := p.Config(&cfg); err != nil {
		return err
	}
	if err := cfg.validate(); err != nil {
		return err
	}
	chosen, err := pick(&cfg, p.HasSecret)
	if err != nil {
		return err
	}
	p.Log().Info("search is ready", "provider", chosen.name, "summary_model", cfg.Summary.Model)
	s := &service{cfg: cfg, provider: chosen}
	p.Handle("POST /api/tools/search", s.search)
	return nil
}
