package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// service answers searches.
type service struct {
	cfg       config
	providers []provider // in the order in which they are asked
	rests     *rests
	cache     plugin.Cache
	key       string // what keys begin with: it names everything that an answer depends on beside the query
}

// answer is the document that the client reads.
type answer struct {
	Result body `json:"result"`
}

type body struct {
	Query   string   `json:"query"`
	Results []result `json:"results"` // never null
	outcome
	origin
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
	query, err := readQuery(r)
	if err != nil {
		return err
	}
	c := &s.cache
	if s.cfg.Cache.NoCache && noCache(r) {
		anew := s.cache
		anew.NoCache = true
		c = &anew
	}
	compute := func(ctx context.Context, keep *plugin.Keep) ([]byte, error) {
		return s.answer(ctx, r.Log(), query, keep, c.NoCache)
	}
	w.Header().Set("content-type", "application/json")
	if _, err := w.Write(appendHead(make([]byte, 0, len(query)+64), query)); err != nil {
		return err
	}
	if s.cache.TTL > 0 {
		return c.Answer(w, s.key+normal(query), compute) // the cause of its error is logged, its detail is the client's
	}
	var keep plugin.Keep
	got := &plugin.Cached{}
	if got.Value, err = compute(r.Context(), &keep); err != nil {
		return err
	}
	got.Header = keep.Header
	return got.Answer(w)
}

// answer is what a search finds, behind the query; anew, when nothing that is kept will do. Its errors are logged, and hold nothing of the query.
func (s *service) answer(ctx context.Context, log *slog.Logger, query string, keep *plugin.Keep, anew bool) ([]byte, error) {
	deadline := time.Now().Add(time.Duration(s.cfg.AnswerWithin))
	b, demo, at, err := s.found(ctx, log, query, deadline, anew)
	if err != nil {
		return nil, err
	}
	keep.TTL = max(keep.TTL-time.Since(at), min(keep.TTL, brief)) // the sources may be older than the answer
	if b.Partial || demo && len(s.providers) > 1 {                // somebody may have more soon
		keep.TTL, keep.Stale = min(keep.TTL, brief), 0
	}
	if s.cfg.Summary.Model != "" {
		bare := *b
		b.outcome = s.summarize(ctx, log, query, b.Results, deadline)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if b.Status != success && b.Status != noResponse {
			if keep.TTL > brief {
				s.keepFound(ctx, query, &bare, demo, at) // the next one asks for a summary alone
			}
			keep.TTL, keep.Stale = min(keep.TTL, brief), 0
		}
	}
	keep.Header = headers(demo, at)
	kept, err := appendRest(nil, b)
	if err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	return kept, nil
}

// found is what a provider finds, or what a search found whose summary failed.
func (s *service) found(ctx context.Context, log *slog.Logger, query string, deadline time.Time, anew bool) (b *body, demo bool, at time.Time, err error) {
	if !anew {
		if b, demo, at = s.keptFound(ctx, query); b != nil {
			return b, demo, at, nil
		}
	}
	hits, from, err := s.consult(ctx, log, query, deadline)
	if err != nil {
		return nil, false, at, err
	}
	return &body{Results: s.cfg.results(hits.pages), origin: from}, hits.demo, time.Now(), nil
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
