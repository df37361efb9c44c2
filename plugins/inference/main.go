// Package main is the plugin inference: it hands chats to an OpenAI-compatible server and the answers back, whole or as
// a stream. It looks at nothing in them but what it must, and logs none of it.
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

// Setup reads the configuration and serves the two routes.
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
	s := &service{url: cfg.Endpoint + "/v1/chat/completions", secret: cfg.Secret}
	p.Handle("POST /api/inference/infer", s.infer)
	p.Handle("POST /api/inference/stream", s.stream)
	return nil
}
