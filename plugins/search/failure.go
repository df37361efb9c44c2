package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// How long providers rest: at first, and at most. One that says when to come back is believed up to longestRest.
const (
	limitedFirst, limitedMost = time.Minute, time.Hour
	planFirst, planMost       = time.Hour, 24 * time.Hour
	captchaRest               = 24 * time.Hour
	brokenFirst, brokenMost   = 10 * time.Second, 5 * time.Minute
	longestRest               = 24 * time.Hour
)

// trouble is what is wrong with a provider, and how long it had better be left alone.
type trouble struct {
	why         string        // a few words for the answer and the operator
	first, most time.Duration // of the rest; 0 is none
	after       time.Duration // that the provider asked for; 0 when it did not
	soft        bool          // it may be asked when nobody else answers
}

// refusal is the answer to a client for a provider's answer that is no success, with the trouble behind it.
type refusal struct {
	answer *plugin.Error
	trouble
}

func (r *refusal) Error() string { return r.answer.Error() }

// Unwrap is the answer to the client.
func (r *refusal) Unwrap() error { return r.answer }

// judge is the trouble behind any error of a search.
func judge(err error) trouble {
	var r *refusal
	var e *plugin.Error
	broken := trouble{first: brokenFirst, most: brokenMost, soft: true}
	switch {
	case errors.As(err, &r):
		return r.trouble
	case errors.Is(err, plugin.ErrTimeout), errors.Is(err, plugin.ErrPool), errors.Is(err, context.DeadlineExceeded):
		broken.why = "out of time"
	case errors.Is(err, plugin.ErrDenied), errors.Is(err, plugin.ErrBlocked):
		return trouble{why: "not granted"}
	case errors.Is(err, plugin.ErrReply):
		broken.why = "not understood"
	case errors.Is(err, plugin.ErrTooLarge):
		broken.why = "its answer is too large"
	case errors.Is(err, plugin.ErrUnavailable):
		broken.why = "not asked for now"
	case errors.Is(err, plugin.ErrConnect):
		broken.why = "not reached"
	case errors.Is(err, plugin.ErrReset):
		broken.why = "it broke off"
	case errors.As(err, &e) && e.Status < 500:
		return trouble{why: "it refused the query"}
	default:
		broken.why = "failed"
	}
	return broken
}

// refused reads and closes a reply that is no success.
// Its causes hold no words of the provider: those may quote the query, and causes are logged.
func refused(reply *plugin.Reply) error {
	status := reply.Status
	text, after := sniff(reply), reply.RetryAfter()
	e := plugin.UpstreamError(reply)
	t := trouble{why: "it answered " + strconv.Itoa(status), first: brokenFirst, most: brokenMost, soft: true, after: after}
	switch {
	case suspicious(text):
		return captcha()
	case status == 401, status == 403:
		e.Detail, t.why = "The search provider refused the server's key.", "it refused the key"
	case status == 429:
		e.Status, e.Detail = 503, "The search provider is answering no more for now; try again later."
		t = trouble{why: "rate limited", first: limitedFirst, most: limitedMost, after: after}
		e.RetryAfter = cmp.Or(t.after, limitedFirst)
	case status == 432, status == 433: // Tavily: the plan's limit, the pay-as-you-go limit. Neither is over in a minute.
		e.Status, e.Detail = 503, "The server's plan with the search provider is used up; try again later."
		t = trouble{why: "plan used up", first: planFirst, most: planMost, after: after}
		e.RetryAfter = cmp.Or(t.after, planFirst)
	case status < 500 && e.Status < 500:
		t = trouble{why: "it refused the query"}
	case e.Status == 502:
		e.Detail = fmt.Sprintf("The search provider failed with status %d.", status)
	}
	return &refusal{e, t}
}

// captcha is the refusal of a provider that takes us for a robot, which we are.
func captcha() error {
	return &refusal{
		&plugin.Error{Status: 503, Detail: "The search provider wants to see a human; try again later.", RetryAfter: captchaRest, Err: errors.New("the provider shows a captcha")},
		trouble{why: "captcha", first: captchaRest, most: captchaRest},
	}
}

// maxSniffed is how much of a page is looked at, in bytes.
const maxSniffed = 64 << 10

// sniff is the beginning of a reply that is a page for people, in lower case; "" when it is not. What was read is there again.
func sniff(reply *plugin.Reply) string {
	if !strings.Contains(strings.ToLower(reply.Header.Get("content-type")), "html") {
		return ""
	}
	b, _ := io.ReadAll(io.LimitReader(reply.Body, maxSniffed))
	reply.Body.Close()
	again := *reply
	again.Body = io.NopCloser(bytes.NewReader(b))
	*reply = plugin.Reply{Status: again.Status, Header: again.Header, Body: again.Body}
	return strings.ToLower(string(b))
}

// suspicious says whether a page asks for proof of a human.
func suspicious(page string) bool {
	for _, mark := range []string{"captcha", "unusual traffic", "anomaly-modal", "anomaly.js", "are you a robot", "are you human", "cf-challenge", "challenge-platform"} {
		if strings.Contains(page, mark) {
			return true
		}
	}
	return false
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
