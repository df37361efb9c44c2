package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// searxng is a SearXNG instance. It takes no number of results and leaves out no domains: both happen here, later.
func searxng() provider {
	return provider{
		name: "searxng",
		missing: func(c *config, hasSecret func(string) bool) string {
			switch {
			case c.SearXNG.Endpoint == "":
				return "set searxng.endpoint, and grant fetch for GET /search there"
			case c.SearXNG.Secret != "" && !hasSecret(c.SearXNG.Secret):
				return fmt.Sprintf("searxng.secret names %q, which is not granted or has no value", c.SearXNG.Secret)
			}
			return ""
		},
		search: askSearXNG,
	}
}

// maxAddress is the longest URL, in bytes, that the host and the servers in front of SearXNG take.
const maxAddress = 8 << 10

func askSearXNG(ctx context.Context, c *config, query string) (*found, error) {
	params := url.Values{"q": {query}, "format": {"json"}}
	for name, value := range map[string]string{
		"language":   c.SearXNG.Language,
		"categories": c.SearXNG.Categories,
		"engines":    c.SearXNG.Engines,
	} {
		if value != "" {
			params.Set(name, value)
		}
	}
	if c.SearXNG.SafeSearch != nil {
		params.Set("safesearch", strconv.Itoa(*c.SearXNG.SafeSearch))
	}
	address := c.SearXNG.Endpoint + "/search?" + params.Encode()
	if len(address) > maxAddress {
		return nil, plugin.Errorf(422, `"q" is too long for the search provider: in an address it may have %d bytes.`, maxAddress)
	}
	reply, err := plugin.Fetch(ctx, c.call("GET", address, c.SearXNG.Secret, nil))
	if err != nil {
		return nil, err
	}
	if reply.Status == 403 && !suspicious(sniff(reply)) {
		reply.Body.Close()
		return nil, &refusal{
			&plugin.Error{
				Status: 502,
				Detail: "SearXNG has format json disabled: add json to search.formats in its settings.yml.",
				Err:    fmt.Errorf("the provider answered %d", reply.Status),
			},
			trouble{why: "format json is disabled", first: brokenFirst, most: brokenMost, soft: true},
		}
	}
	return readFound(reply, searxngReader())
}

func searxngReader() reader {
	return reader{array: "results", keys: pageKeys{title: "title", url: "url", content: "content", score: "score", published: "publishedDate"}}
}
