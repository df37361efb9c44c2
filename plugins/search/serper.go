package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
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
	return reader{"organic", pageKeys{title: "title", url: "link", content: "snippet", published: "date"}, serperPages}
}

type serperAnswer struct {
	Organic *[]struct {
		Title   string `json:"title"`
		Link    string `json:"link"`
		Snippet string `json:"snippet"`
		Date    string `json:"date"`
	} `json:"organic"`
}

func serperPages(body []byte) ([]page, error) {
	var answer serperAnswer
	if err := decode(body, &answer); err != nil {
		return nil, err
	}
	if answer.Organic == nil {
		return nil, fmt.Errorf("%w: it has no organic", plugin.ErrReply)
	}
	var pages []page
	for _, r := range *answer.Organic {
		pages = append(pages, page{title: r.Title, url: r.Link, content: r.Snippet, published: r.Date})
	}
	return pages, nil
}
