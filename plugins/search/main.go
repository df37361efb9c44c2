// Package main is the plugin search: it asks a search provider, cleans what the provider found, and may have a language
// model sum it up. It ranks nothing itself. Answers are kept in the host's cache, so that no search is paid for twice.
package main

import (
	"strings"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

func main() {}

func init() { plugin.Serve(Setup) }

// Setup reads the configuration, picks the providers and serves the one route. It fails when a provider was asked for by
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
	var names []string
	for _, c := range chosen {
		names = append(names, c.name)
	}
	who := strings.Join(names, ",")
	p.Log().Info("search is ready", "provider", who, "summary_model", cfg.Summary.Model)
	key, err := cacheKey(p.Version(), cfg)
	if err != nil {
		return err
	}
	s := &service{
		cfg: cfg, providers: chosen, rests: newRests(key), key: key + who + ":",
		cache: plugin.Cache{TTL: time.Duration(cfg.Cache.TTL), Stale: time.Duration(cfg.Cache.Stale), Lead: time.Duration(cfg.AnswerWithin) + time.Second},
	}
	s.tell(p.Context())
	p.Handle("POST /api/tools/search", s.search)
	return nil
}
