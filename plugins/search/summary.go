package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// outcome is how the summary went. All of it is left out when none was asked for.
type outcome struct {
	Summary string `json:"llm_summary,omitempty"`
	Status  string `json:"processing_status,omitempty"`
	Error   string `json:"processing_error,omitempty"`
}

// Values of outcome.Status.
const (
	success    = "success"
	noResponse = "no_response" // the model had nothing to say
	apiError   = "api_error"   // the model's server refused
	otherError = "error"       // it could not be asked, or not be understood
)

const (
	maxSummary  = 1 << 20     // bytes of the model's answer that are read
	leastBudget = time.Second // a model is not asked when less time than this is left
)

type chatRequest struct {
	Model       string        `json:"model"`
	Messages    []chatMessage `json:"messages"`
	Temperature float64       `json:"temperature"`
	MaxTokens   int           `json:"max_tokens"`
	Stream      bool          `json:"stream"`
}

type chatMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type chatAnswer struct {
	Choices []struct {
		Message struct {
			Content string `json:"content"`
		} `json:"message"`
	} `json:"choices"`
	Error json.RawMessage `json:"error"`
}

// summarize asks the model. Whatever happens to it, the search has its results: so there is no error, only an outcome.
func (s *service) summarize(ctx context.Context, log *slog.Logger, query string, sources []result, deadline time.Time) outcome {
	if len(sources) == 0 {
		return outcome{Status: noResponse, Error: "There are no results to sum up."}
	}
	left := min(time.Until(deadline), time.Duration(s.cfg.Summary.Timeout))
	if left < min(leastBudget, time.Duration(s.cfg.Summary.Timeout)) {
		return outcome{Status: otherError, Error: "The search took so long that no time was left for a summary."}
	}
	// Of the whole call: a model that sends its head and then nothing must not cost the search either.
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	out, why := s.ask(ctx, query, sources)
	if why != nil {
		log.Warn("summary failed", "status", out.Status, "cause", cause(why, query))
	}
	return out
}

// ask is one call of the model. The error is for the log.
func (s *service) ask(ctx context.Context, query string, sources []result) (outcome, error) {
	c := &s.cfg.Summary
	body, err := json.Marshal(chatRequest{Model: c.Model, Messages: prompt(query, sources), Temperature: c.Temperature, MaxTokens: c.MaxTokens})
	if err != nil {
		return failed(otherError, err)
	}
	call := &plugin.Call{Method: "POST", URL: c.Endpoint + "/v1/chat/completions", Body: body, Secret: c.Secret}
	call.Header.Set("content-type", "application/json")
	call.Header.Set("accept", "application/json")
	reply, err := plugin.Fetch(ctx, call)
	if err != nil {
		return failed(otherError, err)
	}
	if reply.Status/100 != 2 {
		e := plugin.UpstreamError(reply)
		e.Err = fmt.Errorf("the model's server answered %d", reply.Status) // without its message, which may quote the prompt
		return failed(apiError, e)
	}
	var a chatAnswer
	if err := reply.JSON(&a, maxSummary); err != nil {
		return failed(otherError, err)
	}
	if len(a.Choices) == 0 {
		if len(a.Error) > 0 && string(a.Error) != "null" {
			return failed(apiError, plugin.Errorf(502, "The upstream answered with an error."))
		}
		return outcome{Status: noResponse, Error: "The model gave no answer."}, nil
	}
	text := withoutThoughts(a.Choices[0].Message.Content)
	if text == "" {
		return outcome{Status: noResponse, Error: "The model gave no answer."}, nil
	}
	return outcome{Summary: withSources(text, sources), Status: success}, nil
}

// failed is an outcome with what a client may read of err.
func failed(status string, err error) (outcome, error) {
	return outcome{Status: status, Error: plugin.AsError(err).Detail}, err
}

// withoutThoughts is the text without what a reasoning model thought aloud before it.
func withoutThoughts(text string) string {
	text = strings.TrimSpace(text)
	if rest, ok := strings.CutPrefix(text, "<think>"); ok {
		_, text, _ = strings.Cut(rest, "</think>") // cut off within its thoughts: nothing is left
	}
	return strings.TrimSpace(text)
}
