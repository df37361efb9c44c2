package main

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// rest is how long a provider is left alone, and why. The operator reads it in the cache's status.
type rest struct {
	Why     string    `json:"why"`
	Until   time.Time `json:"until"`
	Seconds int64     `json:"seconds"`        // how long it is; the next one is twice as long
	Soft    bool      `json:"soft,omitempty"` // it may be asked when nobody else answers
	Of      string    `json:"of,omitempty"`   // the configuration that it is for: another one may have another plan, or another server
}

func (r rest) on(now time.Time) bool { return now.Before(r.Until) }

// rests is who rests. It lies in the cache, for all workers; without one each worker has its own.
type rests struct {
	config string // what they are for
	mu     sync.Mutex
	own    map[string]rest
}

func newRests(config string) *rests { return &rests{config: config, own: map[string]rest{}} }

func restKey(provider string) string { return "status:provider/" + provider }

// of is a provider's rest, perhaps one that is over.
func (r *rests) of(ctx context.Context, provider string) rest {
	var c plugin.Cache
	b, ok, err := c.Get(ctx, restKey(provider))
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.own[provider]
	}
	if !ok {
		return rest{}
	}
	return r.read(b)
}

// read is a rest as it is kept, if it is for this configuration.
func (r *rests) read(b []byte) rest {
	var kept rest
	if json.Unmarshal(b, &kept) != nil || kept.Of != r.config {
		return rest{}
	}
	return kept
}

// begin lets a provider rest for its trouble, twice as long as the last time if that is not long ago. It does nothing when the provider rests
// already: then others failed at the same time.
func (r *rests) begin(ctx context.Context, provider string, t trouble) (rest, bool) {
	if t.first == 0 {
		return rest{}, false
	}
	before := r.of(ctx, provider)
	now := time.Now()
	if before.on(now) && (t.soft || !before.Soft) {
		return before, false
	}
	length := t.first
	if before.Soft == t.soft && (t.soft || before.Why == t.why) { // of the hard ones each has times of its own
		last := time.Duration(before.Seconds) * time.Second
		length = max(t.first, min(2*last, t.most))
	}
	if t.after > 0 {
		length = min(t.after, longestRest)
	}
	next := rest{Why: t.why, Until: now.Add(length).Round(time.Second), Seconds: int64(length / time.Second), Soft: t.soft, Of: r.config}
	b, err := json.Marshal(next)
	if err == nil {
		c := plugin.Cache{TTL: 2*length + time.Minute} // for who fails again right after it
		err = c.Put(ctx, restKey(provider), b)
	}
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.own[provider] = next
	}
	return next, true
}

// forget is for a provider that answers, and of which before was known. It says whether there was a rest: of many who ask at the same time
// one hears so.
func (r *rests) forget(ctx context.Context, provider string, before rest) bool {
	if before.Seconds == 0 || r.of(ctx, provider).Seconds == 0 {
		return false
	}
	var c plugin.Cache
	if err := c.Delete(ctx, restKey(provider)); err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.own, provider)
	}
	return true
}
