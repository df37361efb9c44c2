package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// provider is one row of the table: somebody who can be asked.
type provider struct {
	name string
	// missing says what an operator must set before the provider can work; "" when nothing is.
	missing func(c *config, hasSecret func(string) bool) string
	// search asks for query, which goes out as it is. Its errors are what plugin.AsError understands.
	search func(ctx context.Context, c *config, query string) (*found, error)
}

// found is what a provider answers.
type found struct {
	pages []page
	demo  bool // it came from the built-in demo
}

// page is one hit, as the provider gives it.
type page struct {
	title, url string
	content    string // what the provider thinks fits the query
	raw        string // the whole page as text, Markdown or HTML, where the provider has it
	score      float64
	published  string
}

// providers is the table, in the order in which "auto" tries it. The last one always works.
func providers() []provider {
	return []provider{tavily(), searxng(), demo()}
}

// pick is the provider that the configuration names, or with "auto" the first that can work.
func pick(c *config, hasSecret func(string) bool) (provider, error) {
	names := []string{"auto"}
	for _, p := range providers() {
		names = append(names, p.name)
		missing := p.missing(c, hasSecret)
		switch {
		case c.Provider == p.name && missing != "":
			return provider{}, fmt.Errorf("config: provider %q cannot work: %s", p.name, missing)
		case c.Provider == p.name, c.Provider == "auto" && missing == "":
			return p, nil
		}
	}
	if c.Provider == "auto" {
		return provider{}, fmt.Errorf("config: provider %q: none of %s can work", c.Provider, strings.Join(names[1:], ", "))
	}
	return provider{}, fmt.Errorf("config: provider %q is unknown: use one of %s", c.Provider, strings.Join(names, ", "))
}

// maxReply is how much of a provider's answer is read, in bytes.
const maxReply = 8 << 20

// demoHeader is on every answer of the host's built-in demo, and on ours when we pass its words on.
const demoHeader = "x-patchbay-demo"

// readJSON reads a provider's answer. What is not JSON is no answer: a login page, or the note of a proxy.
func readJSON(reply *plugin.Reply) ([]byte, error) {
	if kind := reply.Header.Get("content-type"); kind != "" && !strings.Contains(strings.ToLower(kind), "json") {
		reply.Body.Close()
		return nil, fmt.Errorf("%w: its content type is %.80q", plugin.ErrReply, kind)
	}
	return reply.Bytes(maxReply)
}

// decode reads JSON into v as Reply.JSON does, with its errors.
func decode(body []byte, v any) error {
	return (&plugin.Reply{Body: io.NopCloser(bytes.NewReader(body))}).JSON(v, maxReply)
}
