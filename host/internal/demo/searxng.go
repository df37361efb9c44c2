package demo

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// searxngPage is how many results SearXNG puts on one page; pageno asks for the others.
const searxngPage = 10

type searxngResponse struct {
	Query           string          `json:"query"`
	NumberOfResults int             `json:"number_of_results"`
	Results         []searxngResult `json:"results"`
	Answers         []string        `json:"answers"`
	Suggestions     []string        `json:"suggestions"`
}

type searxngResult struct {
	URL           string  `json:"url"`
	Title         string  `json:"title"`
	Content       string  `json:"content"`
	Engine        string  `json:"engine"`
	Category      string  `json:"category"`
	Score         float64 `json:"score"`
	PublishedDate string  `json:"publishedDate"`
}

func (s *Server) searxng(x *exchange) error {
	q := x.r.URL.Query()
	query := strings.TrimSpace(q.Get("q"))
	if q.Get("format") != "json" {
		return faultf(http.StatusForbidden, "only format=json is enabled")
	}
	if query == "" {
		return faultf(http.StatusBadRequest, "q is missing")
	}
	page := 1
	if v := q.Get("pageno"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return faultf(http.StatusBadRequest, "pageno %q must be a number from 1", v)
		}
		page = n
	}
	keep, err := s.newerThan(q.Get("time_range"))
	if err != nil {
		return err
	}
	terms := subject(query, s.index.stop)
	hits := s.index.search(terms, keep)
	out := searxngResponse{Query: query, NumberOfResults: len(hits), Results: []searxngResult{}, Answers: []string{}, Suggestions: []string{}}
	// Compared before it is multiplied, so that no page number overflows.
	if page-1 <= len(hits)/searxngPage {
		hits = hits[(page-1)*searxngPage:]
		for _, h := range hits[:min(len(hits), searxngPage)] {
			out.Results = append(out.Results, searxngResult{
				URL:           h.url,
				Title:         h.title,
				Content:       s.index.passage(h.article, terms, basicPassage),
				Engine:        "patchbay-demo",
				Category:      "general",
				Score:         h.score,
				PublishedDate: h.published.Format(time.DateOnly + "T15:04:05"),
			})
		}
	}
	return x.reply(http.StatusOK, out)
}
