package main

import (
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	truncated = "...[content truncated]"
	maxTitle  = 300 // characters
)

// results are the pages worth showing: cleaned, cut, each address once, in the provider's order. When no page is worth it
// they are the provider's snippets, since a thin answer beats none.
func (c *config) results(pages []page) []result {
	good, thin := []result{}, []result{}
	seen := map[string]bool{}
	for i := range pages {
		p := &pages[i]
		link, key := address(p.url)
		if link == nil || seen[key] || within(link.Hostname(), c.ExcludeDomains) {
			continue
		}
		seen[key] = true
		r := result{Title: title(p.title, link), URL: link.String(), Score: p.score}
		if p.published != "" {
			r.PublishedDate = &p.published
		}
		if i > 0 && len(p.raw)+len(p.content) > firstLook {
			// One thread serves all requests. A sleep, unlike a yield, ends the worker's turn: long pages are cleaned one a turn.
			time.Sleep(time.Microsecond)
		}
		raw := clean(p.raw, c.MaxChars)
		rawIsGood := longer(raw, c.MinChars) && readable(raw)
		if rawIsGood && longer(raw, len(p.content)) { // cleaning makes no text longer: the snippet needs none
			r.Content = cut(raw, c.MaxChars)
			good = append(good, r)
			continue
		}
		snippet := clean(p.content, c.MaxChars)
		text := snippet
		if readable(raw) && longer(raw, utf8.RuneCountInString(snippet)) {
			text = raw
		}
		if longer(text, c.MinChars) && readable(text) {
			r.Content = cut(text, c.MaxChars)
			good = append(good, r)
			continue
		}
		if snippet == "" { // nothing but boilerplate: still what the provider said
			snippet = squeeze(plain(p.content[:min(len(p.content), firstLook)], false))
		}
		r.Content = cut(snippet, c.MaxChars)
		thin = append(thin, r)
	}
	if len(good) == 0 {
		good = thin
	}
	good = good[:min(len(good), c.MaxResults)]
	for i := range good {
		good[i].Index = i + 1
	}
	return good
}

// address reads a page's URL, and gives the key under which two spellings of one address are the same. It is nil for what no browser should be sent to.
func address(raw string) (link *url.URL, key string) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, ""
	}
	host := strings.TrimPrefix(strings.ToLower(u.Host), "www.")
	return u, host + strings.TrimRight(u.EscapedPath(), "/") + "?" + u.RawQuery
}

// within reports whether host is one of the domains or lies under one.
func within(host string, domains []string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, d := range domains {
		d = strings.ToLower(d)
		if d != "" && (host == d || strings.HasSuffix(host, "."+d)) {
			return true
		}
	}
	return false
}

// title is a page's title on one line; a page without one has its host's name.
func title(text string, link *url.URL) string {
	text = squeeze(plain(text[:min(len(text), firstLook)], false))
	if text == "" {
		return link.Host
	}
	return shorten(text, maxTitle, "…")
}

// cut is text with at most limit characters, and a mark when something is missing.
func cut(text string, limit int) string { return shorten(text, limit, truncated) }

// shorten cuts text after at most limit characters, after a whole word when one ends near, and puts mark behind it.
func shorten(text string, limit int, mark string) string {
	if len(text) <= limit {
		return text
	}
	end, n := len(text), 0
	for i := range text {
		if n == limit {
			end = i
			break
		}
		n++
	}
	if end == len(text) {
		return text
	}
	kept := text[:end]
	if text[end] != ' ' && text[end] != '\n' {
		if space := strings.LastIndexAny(kept, " \n"); space > 0 && len(kept)-space <= len(kept)/10+1 {
			kept = kept[:space]
		}
	}
	return strings.TrimRight(kept, " \n") + mark
}
