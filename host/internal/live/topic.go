package live

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// stateFrame is the newest state of a topic as it goes over the wire. Nobody changes it.
type stateFrame struct {
	seq  uint64
	wire []byte
}

// topic is a Topic at work.
type topic struct {
	name    string
	public  bool
	state   func() any // nil for a published one
	history *history   // nil keeps none

	frame atomic.Pointer[stateFrame] // nil until somebody wanted it

	// Run's alone.
	data    []byte // the state in frame
	failing bool

	// Guarded by the hub's mu.
	wanted  [rateCount]int  // subscriptions by rate
	taken   time.Time       // when the state was last looked at
	value   json.RawMessage // what was published
	retired bool
}

// wantedAt must be called under the hub's mu.
func (t *topic) wantedAt(due rates) bool {
	for r, n := range t.wanted {
		if n > 0 && due.has(rate(r)) {
			return true
		}
	}
	return false
}

// fresh says whether a newcomer can do with the newest state. It must be called under the hub's mu.
func (t *topic) fresh(interval time.Duration) bool {
	return !t.taken.IsZero() && time.Since(t.taken) < interval
}

// job is what is to be done with a state.
type job struct {
	*topic
	send   bool // make a frame of it
	record bool // keep its numbers
}

// take looks at the state, keeps its numbers, and makes a frame of it unless it is what it was.
func (h *Hub) take(j job) {
	t := j.topic
	now := h.now().UTC()
	data, err := h.look(j, now)
	if err == nil && j.send {
		if old := t.frame.Load(); old == nil || !bytes.Equal(data, t.data) {
			next := &stateFrame{seq: 1}
			if old != nil {
				next.seq = old.seq + 1
			}
			var b []byte
			if b, err = json.Marshal(Frame{Type: typeState, Topic: t.name, Seq: next.seq, Time: now, Data: json.RawMessage(data)}); err == nil {
				next.wire, t.data = text(b), data
				t.frame.Store(next)
			}
		}
		h.mu.Lock()
		t.taken = time.Now()
		h.mu.Unlock()
	}
	if err != nil && !t.failing {
		h.log.Error("live topic is left out as long as this goes on", "topic", t.name, "error", err)
	}
	t.failing = err != nil
}

// look keeps a topic that panics from taking the feed with it.
func (h *Hub) look(j job, now time.Time) (data []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	if j.state == nil {
		h.mu.Lock()
		value := j.value
		h.mu.Unlock()
		if !utf8.Valid(value) {
			return nil, errors.New("it is not UTF-8")
		}
		return json.Marshal(value)
	}
	state := j.state()
	if j.record {
		j.history.add(now, state)
	}
	if !j.send {
		return nil, nil
	}
	return json.Marshal(state)
}

// Publish puts the state of a topic that is not one of Options, and makes the topic when there is none. It returns at once;
// clients get the newest state with their next turn. state must be JSON, and is not changed by anybody afterwards. A topic too
// many, or a state that is too large, is left out and logged.
func (h *Hub) Publish(name string, state json.RawMessage, public bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[name]
	why := ""
	switch {
	case len(name) > maxName || !utf8.ValidString(name):
		why, name = fmt.Sprintf("its name is longer than %d bytes, or not UTF-8", maxName), ""
	case len(state) > int(h.config.MaxState):
		why = fmt.Sprintf("its state of %d bytes is larger than live.max_state", len(state))
	case t != nil && t.state != nil:
		why = "the name is the server's own"
	case t == nil && h.published >= h.config.MaxPublished:
		why = "there are as many as live.max_published allows"
	}
	if why != "" {
		if now := time.Now(); now.Sub(h.warned) > time.Minute {
			h.warned = now
			h.log.Warn("a published topic is left out of the feed", "topic", name, "why", why)
		}
		return
	}
	if t != nil && t.public != public {
		// Who had it may not see it any more. A topic of its own has none of the old one's subscribers.
		h.retire(t)
		t = nil
	}
	if t == nil {
		t = &topic{name: name, public: public}
		h.topics[name] = t
		own := len(h.order) - h.published
		at, _ := slices.BinarySearchFunc(h.order[own:], name, func(t *topic, name string) int { return strings.Compare(t.name, name) })
		h.order = slices.Insert(h.order, own+at, t)
		h.published++
		h.changed = true
		h.nudge()
	}
	t.value = state
}

// maxName bounds the name of a topic, in bytes: it must fit into a message of a client.
const maxName = 256

// Retire takes a published topic away. Its subscribers are told that the list of topics has changed.
func (h *Hub) Retire(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.topics[name]; t != nil && t.state == nil {
		h.retire(t)
	}
}

// retire must be called under mu.
func (h *Hub) retire(t *topic) {
	t.retired = true
	delete(h.topics, t.name)
	h.order = slices.DeleteFunc(h.order, func(other *topic) bool { return other == t })
	h.published--
	h.changed = true
	h.nudge()
}

// names lists what a door shows. It must be called under mu.
func (h *Hub) names(public bool) []string {
	list := []string{}
	for _, t := range h.order {
		if t.public || !public {
			list = append(list, t.name)
		}
	}
	return list
}

// announce tells everybody which topics there are, and ends subscriptions to those that are gone. It must be called under mu.
func (h *Hub) announce() {
	var frames [len(h.doors)][]byte
	for i := range h.doors {
		frames[i] = h.message(typeTopics, Topics{h.names(h.doors[i].public)})
	}
	for _, c := range h.clients {
		public := c.door.public
		c.mu.Lock()
		c.subs = slices.DeleteFunc(c.subs, func(s sub) bool {
			if s.topic.retired {
				h.count(s, -1)
			}
			return s.topic.retired
		})
		if public {
			c.reply(typeTopics, frames[1])
		} else {
			c.reply(typeTopics, frames[0])
		}
		c.mu.Unlock()
	}
}

// count must be called under mu.
func (h *Hub) count(s sub, n int) {
	h.wanted[s.rate] += n
	s.topic.wanted[s.rate] += n
}

// nudge has Run look at what there is to do.
func (h *Hub) nudge() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}
