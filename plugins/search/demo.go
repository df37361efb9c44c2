package main

import "context"

// demo is the small corpus inside the server. It speaks Tavily's protocol and wants no key.
func demo() provider {
	return provider{
		name:    "demo",
		missing: keyed("demo", "", func(c *config) keyedConfig { return keyedConfig{Endpoint: c.Demo.Endpoint} }),
		search: func(ctx context.Context, c *config, query string) (*found, error) {
			return askTavily(ctx, c, tavilyConfig{Endpoint: c.Demo.Endpoint, Depth: c.Tavily.Depth}, query)
		},
	}
}
