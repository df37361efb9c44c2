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
}

// Refusals remembers the latest different refusals of a plugin, for its operator. The zero value is ready.
type Refusals struct {
	mu     sync.Mutex
	list   []Refusal
	minute time.Time // when the minute of said began
	said   int
}

// Add counts a refusal and says whether it is worth a log line: its text is new, and there were not too many of late.
func (r *Refusals) Add(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for i := range r.list {
		if r.list[i].Text == text {
			r.list[i].Count++
			r.list[i].Last = now
			return false
		}
	}
	if len(r.list) == keptRefusals {
		r.list = r.list[1:]
	}
	r.list = append(r.list, Refusal{Text: text, Count: 1, Last: now})
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
