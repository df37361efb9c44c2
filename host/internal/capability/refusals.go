package capability

import (
	"sync"
	"time"
)

const keptRefusals = 32

// Refusal is a call without a grant.
type Refusal struct {
	Text  string    `json:"text"`
	Count int       `json:"count"`
	Last  time.Time `json:"last"`
}

// Refusals remembers the latest different refusals of a plugin, for its operator. The zero value is ready.
type Refusals struct {
	mu   sync.Mutex
	list []Refusal
}

// Add counts a refusal and says whether its text is new.
func (r *Refusals) Add(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.list {
		if r.list[i].Text == text {
			r.list[i].Count++
			r.list[i].Last = time.Now()
			return false
		}
	}
	if len(r.list) == keptRefusals {
		r.list = r.list[1:]
	}
	r.list = append(r.list, Refusal{Text: text, Count: 1, Last: time.Now()})
	return true
}

// List is a copy, oldest first.
func (r *Refusals) List() []Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Refusal(nil), r.list...)
}
