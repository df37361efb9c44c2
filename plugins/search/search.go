package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// maxQuery is the longest query in characters. Providers have lower limits of their own and say so.
const maxQuery = 2000

// service answers searches.
type service struct {
	cfg      config
	provider provider
}

// answer is the document that the client reads.
type answer struct {
	Result body `json:"result"`
}

type body struct {
	Query   string   `json:"query"`
	Results []result `json:"results"` // never null
	outcome
}

// result is one source, cleaned.
type result struct {
	Title         string  `json:"title"`
	URL           string  `json:"url"`
	Content       string  `json:"content"`
	Score         float64 `json:"score"`
	PublishedDate *string `json:"published_date"` // null when the provider does not know
	Index         int     `json:"index"`          // from 1
}

// search is POST /api/tools/search.
func (s *service) search(w *plugin.Response, r *plugin.Request) error {
	deadline := time.Now().Add(time.Duration(s.cfg.AnswerWithin))
	query, err := readQuery(r)
	if err != nil {
		return err
	}
	hits, err := s.provider.search(r.Context(), &s.cfg, query)
	if err != nil {
		return fail(w, r, s.provider.name, query, err)
	}
	a := answer{body{Query: query, Results: s.cfg.results(hits.pages)}}
	if s.cfg.Summary.Model != "" {
		a.Result.outcome = s.summarize(r, query, a.Result.Results, deadline)
		if err := r.Context().Err(); err != nil {
			return err
		}
	}
	if hits.demo {
		w.Header().Set(demoHeader, "1")
	}
	document, err := appendAnswer(nil, &a)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	w.Header().Set("content-type", "application/json")
	_, err = w.Write(document)
	return err
}

// readQuery is the query as it was typed, without white space around it. Other fields are ignored: a client of another
// backend may send them.
func readQuery(r *plugin.Request) (string, error) {
	var in struct {
		Q *string `json:"q"`
	}
	if err := r.JSON(&in); err != nil {
		return "", err
	}
	if in.Q == nil {
		return "", plugin.Errorf(422, `The request needs "q", the text to search for.`)
	}
	query := strings.TrimSpace(*in.Q)
	if query == "" {
		return "", plugin.Errorf(422, `"q" is empty; it is the text to search for.`)
	}
	if n := utf8.RuneCountInString(query); n > maxQuery {
		return "", plugin.Errorf(422, `"q" has %d characters; at most %d are allowed.`, n, maxQuery)
	}
	return query, nil
}

// call is a call to a provider. An empty secret is none.
func (c *config) call(method, url, secret string, body []byte) *plugin.Call {
	call := &plugin.Call{Method: method, URL: url, Body: body, Secret: secret, Timeout: time.Duration(c.Timeout)}
	call.Header.Set("accept", "application/json")
	if body != nil {
		call.Header.Set("content-type", "application/json")
	}
	return call
}
