package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
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

// providers is the table.
func providers() []provider {
	return []provider{tavily(), searxng(), brave(), serper(), exa(), duckduckgo(), demo()}
}

// auto is whom "auto" considers, in order: those that need nothing but their own setting. The demo always works.
func auto() []string { return []string{"tavily", "searxng", "demo"} }

// pick is who is asked, in order: the providers that the configuration lists, or the one that it names, or with "auto" the first of three that can work.
func pick(c *config, hasSecret func(string) bool) ([]provider, error) {
	table := map[string]provider{}
	var names []string
	for _, p := range providers() {
		table[p.name] = p
		names = append(names, p.name)
	}
	wanted := c.Providers
	switch {
	case len(wanted) > 0:
	case c.Provider != "auto":
		wanted = []string{c.Provider}
	default:
		for _, name := range auto() {
			if table[name].missing(c, hasSecret) == "" {
				return []provider{table[name]}, nil
			}
		}
		return nil, fmt.Errorf("config: provider %q: none of %s can work", c.Provider, strings.Join(auto(), ", "))
	}
	var chosen []provider
	for _, name := range wanted {
		p, ok := table[name]
		if !ok {
			return nil, fmt.Errorf("config: provider %q is unknown: use one of auto, %s", name, strings.Join(names, ", "))
		}
		if missing := p.missing(c, hasSecret); missing != "" {
			return nil, fmt.Errorf("config: provider %q cannot work: %s", name, missing)
		}
		chosen = append(chosen, p)
	}
	return chosen, nil
}

// keyed says what is missing for a provider that has an endpoint and may want a key, which the examples call variable.
func keyed(name, variable string, of func(*config) keyedConfig) func(*config, func(string) bool) string {
	return func(c *config, hasSecret func(string) bool) string {
		switch k := of(c); {
		case k.Endpoint == "":
			return "set " + name + ".endpoint"
		case k.Secret != "" && !hasSecret(k.Secret):
			return fmt.Sprintf("it needs the secret %q: give it a value under the server's secrets (such as {env: %s, hosts: […]}) and name it in the grant for %s", k.Secret, variable, k.Endpoint)
		}
		return ""
	}
}

// maxReply is how much of a provider's answer is read, in bytes.
const maxReply = 8 << 20

// demoHeader is on every answer of the host's built-in demo, and on ours when we pass its words on.
const demoHeader = "x-patchbay-demo"

// askJSON makes one call to a provider that answers with JSON.
func (c *config) askJSON(ctx context.Context, method, address, secret string, body []byte, r reader) (*found, error) {
	reply, err := plugin.Fetch(ctx, c.call(method, address, secret, body))
	if err != nil {
		return nil, err
	}
	return readFound(reply, r)
}

// readFound reads an answer and closes it. With an error it still gives the pages that had come, or nil.
func readFound(reply *plugin.Reply, r reader) (*found, error) {
	if reply.Status != 200 {
		return nil, refused(reply)
	}
	f := &found{demo: reply.Header.Has(demoHeader)}
	body, err := readJSON(reply)
	if err == nil {
		if f.pages, err = r.pages(body); err == nil {
			return f, nil
		}
	}
	if f.pages = r.salvage(body); len(f.pages) == 0 {
		return nil, err
	}
	return f, err
}

// readJSON reads a provider's answer; with an error it gives what had come. What is not JSON is no answer: a login page, or the note of a proxy.
func readJSON(reply *plugin.Reply) ([]byte, error) {
	defer func() { reply.Body.Close() }()
	if kind := reply.Header.Get("content-type"); kind != "" && !strings.Contains(strings.ToLower(kind), "json") {
		if suspicious(sniff(reply)) {
			return nil, captcha()
		}
		return nil, fmt.Errorf("%w: its content type is %.80q", plugin.ErrReply, kind)
	}
	size, _ := strconv.ParseInt(reply.Header.Get("content-length"), 10, 64)
	var b bytes.Buffer
	b.Grow(int(min(max(size, 0), 1<<20)) + bytes.MinRead)
	_, err := b.ReadFrom(io.LimitReader(reply.Body, maxReply+1))
	if b.Len() > maxReply {
		return nil, fmt.Errorf("%w: over %d bytes", plugin.ErrTooLarge, maxReply)
	}
	return b.Bytes(), err
}

// decode reads JSON into v as Reply.JSON does, with its errors.
func decode(body []byte, v any) error {
	return (&plugin.Reply{Body: io.NopCloser(bytes.NewReader(body))}).JSON(v, maxReply)
}
