package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// tavily is https://api.tavily.com, or something that speaks its protocol.
func tavily() provider {
	return provider{
		name: "tavily",
		missing: func(c *config, hasSecret func(string) bool) string {
			switch {
			case c.Tavily.Endpoint == "":
				return "set tavily.endpoint"
			case c.Tavily.Secret != "" && !hasSecret(c.Tavily.Secret):
				return fmt.Sprintf("it needs the secret %q: give it a value under the server's secrets (TAVILY_API_KEY in the examples) and name it in the grant for %s", c.Tavily.Secret, c.Tavily.Endpoint)
			}
			return ""
		},
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

type tavilyAnswer struct {
	Results *[]struct {
		Title         string  `json:"title"`
		URL           string  `json:"url"`
		Content       string  `json:"content"`
		RawContent    string  `json:"raw_content"`
		Score         float64 `json:"score"`
		PublishedDate string  `json:"published_date"`
	} `json:"results"`
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
	return c.askJSON(ctx, "POST", t.Endpoint+"/search", t.Secret, body, reader{"results", tavilyKeys(), tavilyPages})
}

// tavilyKeys are those of tavilyAnswer.
func tavilyKeys() pageKeys {
	return pageKeys{"title", "url", "content", "raw_content", "score", "published_date"}
}

// tavilyPages reads the answer's results.
func tavilyPages(body []byte) ([]page, error) {
	if pages, ok := quickPages(body, tavilyKeys()); ok {
		return pages, nil
	}
	var answer tavilyAnswer
	if err := decode(body, &answer); err != nil {
		return nil, err
	}
	if answer.Results == nil {
		return nil, fmt.Errorf("%w: it has no results", plugin.ErrReply)
	}
	var pages []page
	for _, r := range *answer.Results {
		pages = append(pages, page{r.Title, r.URL, r.Content, r.RawContent, r.Score, r.PublishedDate})
	}
	return pages, nil
}
