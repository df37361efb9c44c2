package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// skip is a provider that gave nothing, or was not asked, and why.
type skip struct {
	Provider string `json:"provider"`
	Why      string `json:"why"`
}

// origin is who gave an answer, and who did not. It stands behind the fields of the contract.
type origin struct {
	Provider string `json:"provider,omitempty"`
	Skipped  []skip `json:"skipped,omitempty"`
	Partial  bool   `json:"partial,omitempty"` // the provider broke off, and nobody had more
}

// consult asks the providers one after the other, until one answers or the deadline is near. Those that failed a moment ago come last,
// those that rest are left alone. What a provider gave before it broke off is better than nothing.
func (s *service) consult(ctx context.Context, log *slog.Logger, query string, deadline time.Time) (*found, origin, error) {
	var from origin
	var failed error // the first
	var partial *found
	var partialFrom string
	known := s.known(ctx)
	queue, resting := s.queue(known)
	for i, p := range queue {
		if time.Until(deadline) <= 0 { // which says nothing of this provider
			from.Skipped = append(from.Skipped, skip{p.name, "no time was left"})
			if failed == nil {
				failed = outOfTime()
			}
			continue
		}
		hits, err := s.attempt(ctx, p, query, deadline, len(queue)-i)
		if ctx.Err() != nil {
			return nil, from, ctx.Err() // nobody is left to read an answer
		}
		if err == nil {
			if s.rests.forget(ctx, p.name, known[p.name]) {
				s.tellReturned(ctx, p.name)
			}
			from.Provider, from.Skipped = p.name, append(from.Skipped, resting...)
			return hits, from, nil
		}
		t := judge(err)
		log.Warn("search failed", "provider", p.name, "status", plugin.AsError(err).Status, "why", t.why, "cause", cause(err, query))
		if r, begins := s.rests.begin(ctx, p.name, t); begins {
			log.Warn("a search provider rests", "provider", p.name, "why", r.Why, "until", r.Until.UTC().Format(time.RFC3339))
			s.tellSuspended(ctx, p.name, r)
		}
		from.Skipped = append(from.Skipped, skip{p.name, t.why})
		if failed == nil {
			failed = err
		}
		if hits != nil && (partial == nil || len(hits.pages) > len(partial.pages)) {
			partial, partialFrom = hits, p.name
		}
	}
	from.Skipped = append(from.Skipped, resting...)
	switch {
	case partial != nil:
		from.Provider, from.Partial = partialFrom, true
		return partial, from, nil
	case failed == nil:
		failed = allRest(known)
	}
	e := plugin.AsError(failed)
	return nil, from, &plugin.Error{Status: e.Status, Detail: e.Detail, RetryAfter: e.RetryAfter} // its cause was logged; it may quote the query
}

// known is the rest of each provider, by name, when a search begins.
func (s *service) known(ctx context.Context) map[string]rest {
	known := map[string]rest{}
	for _, p := range s.providers {
		known[p.name] = s.rests.of(ctx, p.name)
	}
	return known
}

// queue is who is asked, in order, and who is not.
func (s *service) queue(known map[string]rest) (queue []provider, resting []skip) {
	var last []provider
	for _, p := range s.providers {
		switch r := known[p.name]; {
		case !r.on(time.Now()):
			queue = append(queue, p)
		case r.Soft:
			last = append(last, p)
		default:
			resting = append(resting, skip{p.name, "rests until " + r.Until.UTC().Format(time.RFC3339) + ": " + r.Why})
		}
	}
	return append(queue, last...), resting
}

func outOfTime() error {
	return &plugin.Error{Status: 504, Detail: "The search providers did not answer in time.", Err: context.DeadlineExceeded}
}

// attempt asks one provider, and leaves time for those behind it.
func (s *service) attempt(ctx context.Context, p provider, query string, deadline time.Time, remaining int) (*found, error) {
	ctx, cancel := context.WithTimeout(ctx, min(time.Until(deadline)/time.Duration(remaining), time.Duration(s.cfg.Timeout)))
	defer cancel()
	return p.search(ctx, &s.cfg, query)
}

// allRest is the answer when nobody may be asked.
func allRest(known map[string]rest) error {
	first := time.Duration(1<<63 - 1)
	for _, r := range known {
		first = min(first, time.Until(r.Until))
	}
	return &plugin.Error{
		Status: 503, Detail: "The search provider is answering no more for now; try again later.", RetryAfter: max(first, time.Second),
		Err: errors.New("every provider rests"),
	}
}
