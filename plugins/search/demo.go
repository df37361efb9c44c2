package main

import "context"

// demo is the small corpus inside the server. It speaks Tavily's protocol and wants no key.
func demo() provider {
	return provider{
		name: "demo",
		missing: func(c *config, _ func(string) bool) string {
			if c.Demo.Endpoint == "" {
				return "set demo.endpoint"
			}
			return ""
		},
		search: func(ctx context.Context, c *config, query string) (*found, error) {
			return askTavily(ctx, c, tavilyConfig{Endpoint: c.Demo.Endpoint, Depth: c.Tavily.Depth}, query)
		},
	}
}
