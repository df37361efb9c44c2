package capability

import (
	"sync"
	"time"
)

const (
	keptRefusals = 32
	saidRefusals = 32 // log lines in a minute: a guest chooses what is refused
)

// Refusal is a call without a grant.
type Refusal struct {
	Text  string    `json:"text"`
	Count int       `json:"count"`
	Last  time.Time `json:"last"`
	said  string    // in the log
}

// Refusals remembers the latest different refusals of a plugin, for its operator. The zero value is ready.
type Refusals struct {
	mu     sync.Mutex
	list   []Refusal
	minute time.Time // when the minute of said began
	said   int
}

// Add counts a refusal, which List shows by text, and says whether it is worth a log line, said: that is new, and there were not too
// many of late.
func (r *Refusals) Add(said, text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, known := time.Now(), false
	for i := range r.list {
		if r.list[i].Text == text {
			r.list[i].Count++
			r.list[i].Last = now
			return false
		}
		known = known || r.list[i].said == said
	}
	if len(r.list) == keptRefusals {
		r.list = r.list[1:]
	}
	r.list = append(r.list, Refusal{Text: text, Count: 1, Last: now, said: said})
	if known {
		return false
	}
	if now.Sub(r.minute) >= time.Minute {
		r.minute, r.said = now, 0
	}
	r.said++
	return r.said <= saidRefusals
}

// List is a copy, oldest first.
func (r *Refusals) List() []Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Refusal(nil), r.list...)
}
