// Package main is the plugin models: the language models of a GPUStack, of either generation, as the browser page wants them.
package main

import (
	"fmt"
	"strings"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

func main() {}

func init() { plugin.Serve(Setup) }

// config is the operator's configuration; manifest.json describes it.
type config struct {
	Endpoint string `json:"endpoint"`
	Secret   string `json:"secret"` // its name; a named upstream brings its own
}

// Setup reads the configuration and serves the one route.
func Setup(p *plugin.Plugin) error {
	cfg := config{Endpoint: "upstream://gpustack"}
	if err := p.Config(&cfg); err != nil {
		return err
	}
	cfg.Endpoint = strings.TrimRight(cfg.Endpoint, "/")
	scheme, rest, _ := strings.Cut(cfg.Endpoint, "://")
	if scheme != "https" && scheme != "http" && scheme != "upstream" || rest == "" || strings.ContainsAny(rest, "?# ") {
		return fmt.Errorf("config: endpoint: %q must begin with https://, http:// or upstream:// and have no query", cfg.Endpoint)
	}
	if cfg.Secret != "" && !p.HasSecret(cfg.Secret) {
		return fmt.Errorf("config: secret: %q is not granted or has no value", cfg.Secret)
	}
	s := &service{url: cfg.Endpoint + "/v1/models?categories=llm&with_meta=true", secret: cfg.Secret}
	p.Handle("GET /api/models", s.list)
	return nil
}
