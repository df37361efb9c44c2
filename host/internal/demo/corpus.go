package demo

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"strings"
	"time"
)

// corpusFiles are the articles, one file each.
//
//go:embed corpus/*.md
var corpusFiles embed.FS

const (
	corpusBase     = "https://demo.patchbay.invalid/" // .invalid never resolves, RFC 2606
	maxArticleSize = 64 << 10
)

// article is one page of the corpus. It is read-only once it is parsed.
type article struct {
	title      string
	url        string
	host       string
	published  time.Time // a day, UTC
	markdown   string
	text       string // the markdown without its marks, a paragraph a line
	paragraphs [][]sentence
}

// loadCorpus parses every corpus/*.md of files, in the order of their names, and reports every one that is wrong.
func loadCorpus(files fs.FS) ([]article, error) {
	names, err := fs.Glob(files, "corpus/*.md")
	if err != nil {
		return nil, fmt.Errorf("list the corpus: %w", err)
	}
	var articles []article
	var problems []error
	seen := make(map[string]string)
	for _, name := range names {
		raw, err := fs.ReadFile(files, name)
		if err != nil {
			problems = append(problems, fmt.Errorf("read the corpus: %w", err))
			continue
		}
		a, err := parseArticle(string(raw))
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
			continue
		}
		if first, dup := seen[a.url]; dup {
			problems = append(problems, fmt.Errorf("%s: url %s is that of %s too", name, a.url, path.Base(first)))
		}
		seen[a.url] = name
		articles = append(articles, a)
	}
	return articles, errors.Join(problems...)
}

// parseArticle reads a front matter of title, url and published between two lines of "---", and the Markdown after it.
func parseArticle(raw string) (article, error) {
	if len(raw) > maxArticleSize {
		return article{}, fmt.Errorf("the article is %d bytes, over %d", len(raw), maxArticleSize)
	}
	raw = strings.ReplaceAll(raw, "\r\n", "\n") // a checkout on Windows
	rest, ok := strings.CutPrefix(raw, "---\n")
	if !ok {
		return article{}, errors.New(`line 1: want "---", the start of the front matter`)
	}
	head, body, ok := strings.Cut(rest, "\n---\n")
	if !ok {
		return article{}, errors.New(`the front matter has no end: want a second line "---"`)
	}
	fields := make(map[string]string)
	for i, line := range strings.Split(head, "\n") {
		key, value, ok := strings.Cut(line, ":")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch {
		case !ok || value == "":
			return article{}, fmt.Errorf("line %d: want \"key: value\", got %q", i+2, line)
		case key != "title" && key != "url" && key != "published":
			return article{}, fmt.Errorf("line %d: unknown key %q: want title, url or published", i+2, key)
		case fields[key] != "":
			return article{}, fmt.Errorf("line %d: %s is given twice", i+2, key)
		}
		fields[key] = value
	}
	return buildArticle(fields["title"], fields["url"], fields["published"], strings.TrimSpace(body))
}

func buildArticle(title, address, published, body string) (article, error) {
	if title == "" || address == "" || published == "" {
		return article{}, errors.New("the front matter needs title, url and published")
	}
	u, err := url.Parse(address)
	if err != nil || !strings.HasPrefix(address, corpusBase) || len(address) == len(corpusBase) {
		return article{}, fmt.Errorf("url %q must be a page under %s", address, corpusBase)
	}
	day, err := time.Parse(time.DateOnly, published)
	if err != nil {
		return article{}, fmt.Errorf("published %q must be a date such as 2025-03-14", published)
	}
	if body == "" {
		return article{}, errors.New("there is no text after the front matter")
	}
	a := article{title: title, url: address, host: u.Hostname(), published: day, markdown: body, text: plainText(body)}
	for para := range strings.SplitSeq(a.text, "\n") {
		if sentences := splitSentences(para); len(sentences) > 0 {
			a.paragraphs = append(a.paragraphs, sentences)
		}
	}
	return a, nil
}

// plainText takes the Markdown marks off: headings, list marks, emphasis, code. A paragraph or list item becomes one
// line; lines that Markdown would join are joined.
func plainText(markdown string) string {
	var out []string
	open := false // the last line of out can be continued
	for line := range strings.SplitSeq(markdown, "\n") {
		line = strings.TrimSpace(line)
		heading := strings.HasPrefix(line, "#")
		item := strings.HasPrefix(line, "- ")
		line = strings.TrimSpace(strings.TrimLeft(strings.TrimPrefix(line, "- "), "#"))
		line = strings.NewReplacer("`", "", "**", "").Replace(line)
		switch {
		case line == "":
			open = false
		case open && !heading && !item:
			out[len(out)-1] += " " + line
		default:
			out = append(out, line)
			open = !heading
		}
	}
	return strings.Join(out, "\n")
}
