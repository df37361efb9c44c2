// Package topics holds what plugins publish: the newest state of each topic that is granted, beyond a request, a worker and a version of the
// plugin. Its states are bounded one by one where they come in, and by the grants in number. It shows them to nobody itself: a Feed does.
package topics

import (
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"
)

// Feed brings states to those who listen. Its methods are called one at a time, in the order in which things happened, from within a guest's
// turn to compute: they must not block. Who listens may be behind; only the newest state matters.
type Feed interface {
	// Publish sets the state of a topic. Nobody changes the state afterwards.
	Publish(topic string, state json.RawMessage, public bool)
	// Retire takes a topic away.
	Retire(topic string)
}

// Name is what a plugin's topic is called in the feed.
func Name(plugin, topic string) string { return "plugin/" + plugin + "/" + topic }

// Grant allows a plugin one topic.
type Grant struct {
	Topic  string
	Public bool // everybody may see it, not the operator alone
}

// State is a look at a topic.
type State struct {
	Topic   string          `json:"topic"`
	Public  bool            `json:"public"`
	Updates uint64          `json:"updates"` // how often it was published
	Updated time.Time       `json:"updated,omitzero"`
	Bytes   int             `json:"bytes"`
	State   json.RawMessage `json:"state,omitempty"` // nil is none
}

// Board is the states of all plugins.
type Board struct {
	now  func() time.Time
	feed Feed

	mu      sync.Mutex // guards what follows, and is held while the feed is called
	plugins map[string]map[string]*slot
}

// slot is one topic of one plugin.
type slot struct {
	State
	pending bool // the configuration that grants it is not in force yet: its state is kept, and shown to nobody
}

// New makes a board without topics and without a feed. A nil now is time.Now.
func New(now func() time.Time) *Board {
	if now == nil {
		now = time.Now
	}
	return &Board{now: now, feed: nobody{}, plugins: map[string]map[string]*slot{}}
}

// Attach has a feed show what there is, and what will be.
func (b *Board) Attach(feed Feed) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.feed = feed
	for plugin, slots := range b.plugins {
		for _, s := range slots {
			b.show(plugin, s)
		}
	}
}

// Prepare makes room for the topics of a plugin that is about to be loaded. What they are told is shown when Grant names them, and
// forgotten when it does not.
func (b *Board) Prepare(plugin string, grants []Grant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, g := range grants {
		if b.plugins[plugin] == nil {
			b.plugins[plugin] = map[string]*slot{}
		}
		if b.plugins[plugin][g.Topic] == nil {
			b.plugins[plugin][g.Topic] = &slot{State: State{Topic: g.Topic, Public: g.Public}, pending: true}
		}
	}
}

// Grant puts grants in force, by plugin. Topics that they do not name are forgotten.
func (b *Board) Grant(grants map[string][]Grant) {
	for plugin, list := range grants {
		b.Prepare(plugin, list)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for plugin, slots := range b.plugins {
		for topic, s := range slots {
			i := slices.IndexFunc(grants[plugin], func(g Grant) bool { return g.Topic == topic })
			if i < 0 {
				delete(slots, topic)
				b.retire(plugin, s)
				continue
			}
			changed := s.pending || s.Public != grants[plugin][i].Public
			if changed {
				b.retire(plugin, s)
				s.pending, s.Public = false, grants[plugin][i].Public
				b.show(plugin, s)
			}
		}
		if len(slots) == 0 {
			delete(b.plugins, plugin)
		}
	}
}

// Publish sets a topic's state, which nobody may change afterwards; nil is none. It says whether the plugin has that topic.
func (b *Board) Publish(plugin, topic string, state json.RawMessage) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.plugins[plugin][topic]
	if s == nil {
		return false
	}
	s.Updates++
	s.Updated, s.Bytes = b.now().UTC(), len(state)
	if state == nil {
		b.retire(plugin, s)
	}
	s.State.State = state
	b.show(plugin, s)
	return true
}

// show tells the feed of a state, if there is one. b.mu is held.
func (b *Board) show(plugin string, s *slot) {
	if s.State.State != nil && !s.pending {
		b.feed.Publish(Name(plugin, s.Topic), s.State.State, s.Public)
	}
}

// retire takes a state out of the feed, if it is there. b.mu is held.
func (b *Board) retire(plugin string, s *slot) {
	if s.State.State != nil && !s.pending {
		b.feed.Retire(Name(plugin, s.Topic))
	}
}

// Look lists a plugin's topics by name.
func (b *Board) Look(plugin string) []State {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := []State{}
	for _, topic := range slices.Sorted(maps.Keys(b.plugins[plugin])) {
		if s := b.plugins[plugin][topic]; !s.pending {
			list = append(list, s.State)
		}
	}
	return list
}

// nobody listens.
type nobody struct{}

func (nobody) Publish(string, json.RawMessage, bool) {}
func (nobody) Retire(string)                         {}
