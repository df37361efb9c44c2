package main

import (
	"context"
	"encoding/json"
	"fmt"
)

// tavily is https://api.tavily.com, or something that speaks its protocol.
func tavily() provider {
	return provider{
		name:    "tavily",
		missing: keyed("tavily", "TAVILY_API_KEY", func(c *config) keyedConfig { return keyedConfig{c.Tavily.Endpoint, c.Tavily.Secret} }),
		search: func(ctx context.Context, c *config, query string) (*found, error) {
			return askTavily(ctx, c, c.Tavily, query)
		},
	}
}

type tavilyRequest struct {
	Query          string   `json:"query"`
	Topic          string   `json:"topic"`
	SearchDepth    string   `json:"search_depth"`
	MaxResults     int      `json:"max_results"`
	RawContent     bool     `json:"include_raw_content"`
	ExcludeDomains []string `json:"exclude_domains,omitempty"`
}

// askTavily speaks the protocol with whoever is at t.Endpoint.
func askTavily(ctx context.Context, c *config, t tavilyConfig, query string) (*found, error) {
	body, err := json.Marshal(tavilyRequest{
		Query:          query,
		Topic:          "general",
		SearchDepth:    t.Depth,
		MaxResults:     c.MaxResults,
		RawContent:     true,
		ExcludeDomains: c.ExcludeDomains,
	})
	if err != nil {
		return nil, fmt.Errorf("encode the search: %w", err)
	}
	return c.askJSON(ctx, "POST", t.Endpoint+"/search", t.Secret, body, tavilyReader())
}

func tavilyReader() reader {
	return reader{array: "results", keys: pageKeys{"title", "url", "content", "raw_content", "score", "published_date"}}
}
