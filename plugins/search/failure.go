package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// refused is the answer to a client for a provider's answer that is no success. It reads and closes the reply.
// Its causes hold no words of the provider: those may quote the query, and causes are logged.
func refused(reply *plugin.Reply) *plugin.Error {
	e := plugin.UpstreamError(reply)
	e.Err = fmt.Errorf("the provider answered %d", reply.Status)
	switch reply.Status {
	case 401, 403:
		e.Detail = "The search provider refused the server's key."
	case 429:
		e.Status, e.Detail = 503, "The search provider is answering no more for now; try again later."
		e.RetryAfter = retryAfter(reply, time.Minute)
	case 432, 433: // Tavily: the plan's limit, the pay-as-you-go limit. Neither is over in a minute.
		e.Status, e.Detail = 503, "The server's plan with the search provider is used up; try again later."
		e.RetryAfter = retryAfter(reply, time.Hour)
	default:
		if e.Status == 502 {
			e.Detail = fmt.Sprintf("The search provider failed with status %d.", reply.Status)
		}
	}
	return e
}

// retryAfter is how long the provider wants to be left alone, or otherwise when it does not say it in seconds.
func retryAfter(reply *plugin.Reply, otherwise time.Duration) time.Duration {
	if seconds, err := strconv.ParseInt(reply.Header.Get("retry-after"), 10, 32); err == nil && seconds > 0 {
		return time.Duration(seconds) * time.Second
	}
	return otherwise
}

// searchFailed logs why a search failed, and is the answer to whoever waits for it: without a cause, which may quote the query.
func searchFailed(ctx context.Context, log *slog.Logger, provider, query string, err error) error {
	if ctx.Err() != nil {
		return err // nobody is left to read an answer
	}
	e := plugin.AsError(err)
	log.Warn("search failed", "provider", provider, "status", e.Status, "cause", cause(err, query))
	return &plugin.Error{Status: e.Status, Detail: e.Detail, RetryAfter: e.RetryAfter}
}

// fail answers for a search that failed. It writes the answer itself, since an error that a handler returns is logged with its
// detail, and a provider's message may quote the query.
func fail(w *plugin.Response, r *plugin.Request, err error) error {
	if r.Context().Err() != nil {
		return err // nobody is left to read an answer
	}
	e := plugin.AsError(err)
	if e.RetryAfter > 0 {
		seconds := int64((e.RetryAfter + time.Second - 1) / time.Second)
		w.Header().Set("retry-after", strconv.FormatInt(seconds, 10))
	}
	return w.JSON(e.Status, map[string]string{"detail": e.Detail})
}

// cause is why a call failed, for the log: what the host said (a missing grant, a refused connection), without the query that a URL in it may hold.
func cause(err error, query string) string {
	var e *plugin.Error
	text := err.Error()
	if errors.As(err, &e) {
		if e.Err == nil {
			return "refused"
		}
		text = e.Err.Error()
	}
	return strings.NewReplacer("q="+url.QueryEscape(query), "q=…", "q="+url.PathEscape(query), "q=…").Replace(text)
}
