package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// duckduckgo is the page of DuckDuckGo for browsers without scripts. It is no API: it may change, and shows a captcha to who asks often.
func duckduckgo() provider {
	return provider{
		name:    "duckduckgo",
		missing: keyed("duckduckgo", "", func(c *config) keyedConfig { return keyedConfig{Endpoint: c.DuckDuckGo.Endpoint} }),
		search:  askDuckDuckGo,
	}
}

func askDuckDuckGo(ctx context.Context, c *config, query string) (*found, error) {
	call := c.call("POST", c.DuckDuckGo.Endpoint+"/html/", "", []byte(url.Values{"q": {query}}.Encode()))
	call.Header.Set("content-type", "application/x-www-form-urlencoded")
	call.Header.Set("accept", "text/html")
	reply, err := plugin.Fetch(ctx, call)
	switch {
	case err != nil:
		return nil, err
	case reply.Status == 202: // its way to say that it is enough
		reply.Body.Close()
		return nil, captcha()
	case reply.Status != 200:
		return nil, refused(reply)
	}
	body, err := reply.Bytes(maxReply)
	if err != nil {
		return nil, err
	}
	pages, err := duckPages(string(body))
	if err != nil {
		return nil, err
	}
	return &found{pages: pages}, nil
}

// duckPages reads the results of the page, as HTML: each begins with a link of the class result__a, and has a snippet of the class result__snippet.
func duckPages(text string) ([]page, error) {
	parts := strings.Split(text, `class="result__a"`)
	if len(parts) == 1 {
		switch low := strings.ToLower(text); {
		case suspicious(low):
			return nil, captcha()
		case strings.Contains(low, "no-results") || strings.Contains(low, "no results"):
			return nil, nil
		}
		return nil, fmt.Errorf("%w: a page without results", plugin.ErrReply)
	}
	var pages []page
	for i, part := range parts[1:] {
		before := parts[i]
		tag := before[strings.LastIndexByte(before, '<')+1:] // attributes may stand before the class, too
		after, rest, ok := strings.Cut(part, ">")
		if !ok {
			continue
		}
		title, rest, _ := strings.Cut(rest, "</a>")
		p := page{title: title, url: duckTarget(unescape(attribute(tag+after, "href")))}
		if _, snippet, ok := strings.Cut(rest, "result__snippet"); ok {
			_, snippet, _ = strings.Cut(snippet, ">")
			snippet, _, _ = strings.Cut(snippet, "</a>")
			p.content = snippet
		}
		pages = append(pages, p)
	}
	return pages, nil
}

// attribute is the value of a quoted attribute within a tag, "" when it has none.
func attribute(tag, name string) string {
	_, rest, ok := strings.Cut(tag, name+`="`)
	if !ok {
		return ""
	}
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// duckTarget is where a result's link leads in the end.
func duckTarget(link string) string {
	if strings.HasPrefix(link, "//") {
		link = "https:" + link
	}
	if u, err := url.Parse(link); err == nil {
		if to := u.Query().Get("uddg"); to != "" {
			return to
		}
	}
	return link
}
