package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// brave is Brave's search API. Its key goes into the header X-Subscription-Token, which the grant says (as).
func brave() provider {
	return provider{
		name:    "brave",
		missing: keyed("brave", "BRAVE_API_KEY", func(c *config) keyedConfig { return c.Brave }),
		search: func(ctx context.Context, c *config, query string) (*found, error) {
			params := url.Values{"q": {query}, "count": {strconv.Itoa(c.MaxResults)}}
			return c.askJSON(ctx, "GET", c.Brave.Endpoint+"/res/v1/web/search?"+params.Encode(), c.Brave.Secret, nil, braveReader())
		},
	}
}

func braveReader() reader {
	return reader{array: "results", keys: pageKeys{title: "title", url: "url", content: "description", published: "page_age"}, read: bravePages}
}

type braveAnswer struct {
	Web *struct {
		Results []struct {
			Title       string   `json:"title"`
			URL         string   `json:"url"`
			Description string   `json:"description"`
			Extra       []string `json:"extra_snippets"`
			PageAge     string   `json:"page_age"`
		} `json:"results"`
	} `json:"web"`
	Type string `json:"type"`
}

func bravePages(body []byte) ([]page, error) {
	var answer braveAnswer
	if err := decode(body, &answer); err != nil {
		return nil, err
	}
	if answer.Web == nil {
		if answer.Type == "search" { // nothing of the web
			return nil, nil
		}
		return nil, fmt.Errorf("%w: it has no web.results", plugin.ErrReply)
	}
	var pages []page
	for _, r := range answer.Web.Results {
		content := strings.Join(append([]string{r.Description}, r.Extra...), "\n")
		pages = append(pages, page{title: r.Title, url: r.URL, content: content, published: r.PageAge})
	}
	return pages, nil
}
