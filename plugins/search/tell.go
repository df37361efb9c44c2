package main

import (
	"context"
	"reflect"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// topic is where the operator, and whoever listens if it is public, reads which providers rest.
const topic = "providers"

// maxLooks bounds how often tell speaks in a row, when everything changes all the time.
const maxLooks = 8

// standing is the state of the topic.
type standing struct {
	Providers []string  `json:"providers"` // in the order in which they are asked
	Resting   []resting `json:"resting"`
}

// resting is a provider that is left alone, or asked when nobody else answers.
type resting struct {
	Provider string    `json:"provider"`
	Why      string    `json:"why"`
	Until    time.Time `json:"until"`
	Last     bool      `json:"last,omitempty"` // it is asked when nobody else answers
}

// tell shows how the providers stand. Others may change that at the same time, so it looks again when it has spoken: whoever speaks last
// has seen everything. Where nothing is granted nothing is told, and where nothing can be kept each worker speaks of itself.
func (s *service) tell(ctx context.Context) {
	var said *standing
	for range maxLooks {
		now := s.standing(ctx)
		if said != nil && reflect.DeepEqual(*said, now) || plugin.Publish(ctx, topic, now) != nil {
			return
		}
		said = &now
	}
}

func (s *service) standing(ctx context.Context) standing {
	now := standing{Providers: []string{}, Resting: []resting{}}
	for _, p := range s.providers {
		now.Providers = append(now.Providers, p.name)
		if r := s.rests.of(ctx, p.name); r.on(time.Now()) {
			now.Resting = append(now.Resting, resting{p.name, r.Why, r.Until.UTC(), r.Soft})
		}
	}
	return now
}

// tellSuspended and tellReturned are for the operator's events, too. Those who are granted one may lack the other.
func (s *service) tellSuspended(ctx context.Context, provider string, r rest) {
	text := r.Why + ": it rests until "
	if r.Soft {
		text = r.Why + ": others are asked first until "
	}
	_ = plugin.Publish(ctx, plugin.Events, plugin.Event{Kind: "suspended", Subject: provider, Text: text + r.Until.UTC().Format(time.RFC3339)})
	s.tell(ctx)
}

func (s *service) tellReturned(ctx context.Context, provider string) {
	_ = plugin.Publish(ctx, plugin.Events, plugin.Event{Kind: "returned", Subject: provider, Text: "it answers again"})
	s.tell(ctx)
}
