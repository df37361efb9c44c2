package main

import (
	"context"
	"encoding/json"
	"fmt"
)

// exa is exa.ai. Its key goes into the header x-api-key, which the grant says (as).
func exa() provider {
	return provider{
		name:    "exa",
		missing: keyed("exa", "EXA_API_KEY", func(c *config) keyedConfig { return c.Exa }),
		search: func(ctx context.Context, c *config, query string) (*found, error) {
			type text struct {
				MaxCharacters int `json:"maxCharacters"`
			}
			type contents struct {
				Text text `json:"text"`
			}
			body, err := json.Marshal(struct {
				Query          string   `json:"query"`
				Type           string   `json:"type"`
				NumResults     int      `json:"numResults"`
				Contents       contents `json:"contents"`
				ExcludeDomains []string `json:"excludeDomains,omitempty"`
			}{query, "auto", c.MaxResults, contents{text{4 * c.MaxChars}}, c.ExcludeDomains}) // cleaning takes some of it away
			if err != nil {
				return nil, fmt.Errorf("encode the search: %w", err)
			}
			return c.askJSON(ctx, "POST", c.Exa.Endpoint+"/search", c.Exa.Secret, body, exaReader())
		},
	}
}

func exaReader() reader {
	return reader{array: "results", keys: pageKeys{title: "title", url: "url", content: "text", score: "score", published: "publishedDate"}}
}
