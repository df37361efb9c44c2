package main

import (
	"context"
	"encoding/json"
	"fmt"
)

// serper is serper.dev. Its key goes into the header X-API-KEY, which the grant says (as).
func serper() provider {
	return provider{
		name:    "serper",
		missing: keyed("serper", "SERPER_API_KEY", func(c *config) keyedConfig { return c.Serper }),
		search: func(ctx context.Context, c *config, query string) (*found, error) {
			body, err := json.Marshal(map[string]any{"q": query, "num": c.MaxResults})
			if err != nil {
				return nil, fmt.Errorf("encode the search: %w", err)
			}
			return c.askJSON(ctx, "POST", c.Serper.Endpoint+"/search", c.Serper.Secret, body, serperReader())
		},
	}
}

func serperReader() reader {
	return reader{array: "organic", keys: pageKeys{title: "title", url: "link", content: "snippet", published: "date"}}
}
