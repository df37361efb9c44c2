package demo

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Tavily's own limits.
const (
	maxQueryLength    = 400 // characters
	maxResults        = 20
	defaultMaxResults = 5
	maxDomains        = 300
)

// Lengths of a result's content in bytes, by search depth.
const (
	basicPassage    = 400
	advancedPassage = 900
)

// tavilyRequest holds the fields of POST /search that the demo honours. Others are accepted and change nothing.
type tavilyRequest struct {
	Query             string   `json:"query"`
	SearchDepth       string   `json:"search_depth"` // basic, advanced, fast, ultra-fast
	Topic             string   `json:"topic"`        // general, news, finance; one corpus serves them all
	MaxResults        *int     `json:"max_results"`
	TimeRange         *string  `json:"time_range"`
	IncludeRawContent option   `json:"include_raw_content"`
	IncludeAnswer     option   `json:"include_answer"`
	IncludeDomains    []string `json:"include_domains"`
	ExcludeDomains    []string `json:"exclude_domains"`
}

type tavilyResponse struct {
	Query        string         `json:"query"`
	Answer       *string        `json:"answer"`
	Images       []string       `json:"images"`
	Results      []tavilyResult `json:"results"`
	ResponseTime float64        `json:"response_time"` // seconds
	RequestID    string         `json:"request_id"`
}

type tavilyResult struct {
	Title         string  `json:"title"`
	URL           string  `json:"url"`
	Content       string  `json:"content"`
	Score         float64 `json:"score"`
	RawContent    *string `json:"raw_content"`
	PublishedDate string  `json:"published_date"`
}

// option is a JSON value that is true, false, null or the name of a variant: "" is off, "true" is on.
type option string

// UnmarshalJSON implements json.Unmarshaler.
func (o *option) UnmarshalJSON(raw []byte) error {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
		*o = ""
	case bool:
		*o = ""
		if v {
			*o = "true"
		}
	case string:
		*o = option(v)
	default:
		return fmt.Errorf("want true, false or a string, got %s", raw)
	}
	return nil
}

func (s *Server) tavily(x *exchange) error {
	req, err := decodeTavily(x.body)
	if err != nil {
		return err
	}
	limit := defaultMaxResults
	if req.MaxResults != nil {
		limit = *req.MaxResults
	}
	since := ""
	if req.TimeRange != nil {
		since = *req.TimeRange
	}
	keep, err := s.newerThan(since)
	if err != nil {
		return err
	}
	terms := subject(req.Query, s.index.stop)
	hits := s.index.search(terms, func(a *article) bool {
		return keep(a) && (len(req.IncludeDomains) == 0 || inDomains(a.host, req.IncludeDomains)) && !inDomains(a.host, req.ExcludeDomains)
	})
	hits = hits[:min(len(hits), limit)]

	out := tavilyResponse{Query: req.Query, Images: []string{}, Results: make([]tavilyResult, len(hits)), RequestID: s.newID("demo-search")}
	size := basicPassage
	if req.SearchDepth == "advanced" {
		size = advancedPassage
	}
	for i, h := range hits {
		out.Results[i] = tavilyResult{
			Title:         h.title,
			URL:           h.url,
			Content:       s.index.passage(h.article, terms, size),
			Score:         h.score,
			RawContent:    rawContent(h.article, req.IncludeRawContent),
			PublishedDate: h.published.Format(time.DateOnly),
		}
	}
	if req.IncludeAnswer != "" && len(hits) > 0 {
		text := compose(terms, sourcesOf(hits))
		out.Answer = &text
	}
	out.ResponseTime = s.opts.Now().Sub(x.begun).Seconds()
	return x.reply(http.StatusOK, out)
}

func decodeTavily(body []byte) (tavilyRequest, error) {
	var req tavilyRequest
	if err := unmarshal(body, &req); err != nil {
		return req, err
	}
	bad := func(format string, args ...any) (tavilyRequest, error) {
		return req, faultf(http.StatusBadRequest, format, args...)
	}
	switch {
	case strings.TrimSpace(req.Query) == "":
		return bad("query is missing")
	case utf8.RuneCountInString(req.Query) > maxQueryLength:
		return bad("query is too long: at most %d characters", maxQueryLength)
	case req.MaxResults != nil && (*req.MaxResults < 0 || *req.MaxResults > maxResults):
		return bad("max_results must be from 0 to %d", maxResults)
	case !oneOf(req.SearchDepth, "", "basic", "advanced", "fast", "ultra-fast"):
		return bad("search_depth %q must be basic, advanced, fast or ultra-fast", req.SearchDepth)
	case !oneOf(req.Topic, "", "general", "news", "finance"):
		return bad("topic %q must be general, news or finance", req.Topic)
	case !oneOf(string(req.IncludeRawContent), "", "true", "markdown", "text"):
		return bad("include_raw_content %q must be true, false, markdown or text", req.IncludeRawContent)
	case !oneOf(string(req.IncludeAnswer), "", "true", "basic", "advanced"):
		return bad("include_answer %q must be true, false, basic or advanced", req.IncludeAnswer)
	case len(req.IncludeDomains) > maxDomains || len(req.ExcludeDomains) > maxDomains:
		return bad("include_domains and exclude_domains take at most %d domains each", maxDomains)
	}
	return req, nil
}

func oneOf(v string, allowed ...string) bool { return slices.Contains(allowed, v) }

// newerThan returns a filter for a time range: "" keeps all; day, week, month and year may be written as one letter.
func (s *Server) newerThan(timeRange string) (func(*article) bool, error) {
	now := s.opts.Now()
	var since time.Time
	switch timeRange {
	case "":
		return func(*article) bool { return true }, nil
	case "day", "d":
		since = now.AddDate(0, 0, -1)
	case "week", "w":
		since = now.AddDate(0, 0, -7)
	case "month", "m":
		since = now.AddDate(0, -1, 0)
	case "year", "y":
		since = now.AddDate(-1, 0, 0)
	default:
		return nil, faultf(http.StatusBadRequest, "time_range %q must be day, week, month or year", timeRange)
	}
	return func(a *article) bool { return !a.published.Before(since) }, nil
}

// inDomains says whether host is one of the domains or under one.
func inDomains(host string, domains []string) bool {
	return slices.ContainsFunc(domains, func(d string) bool {
		d = strings.ToLower(strings.TrimPrefix(d, "www."))
		return d != "" && (host == d || strings.HasSuffix(host, "."+d))
	})
}

func rawContent(a *article, as option) *string {
	switch as {
	case "true", "markdown":
		return &a.markdown
	case "text":
		return &a.text
	}
	return nil
}

// newID returns an id that no other answer of this server has.
func (s *Server) newID(kind string) string {
	return kind + "-" + strconv.FormatUint(s.lastID.Add(1), 10)
}
