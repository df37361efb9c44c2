package cache

import (
	"sync/atomic"
	"unicode/utf8"
)

// Stats is a look at a space. Counters count since it was made.
type Stats struct {
	Entries   int               `json:"entries"`
	Bytes     int64             `json:"bytes"` // keys, values and what an entry costs
	Limit     int64             `json:"limit_bytes"`
	Hits      int64             `json:"hits"`
	Stale     int64             `json:"stale"`  // given out past their time to live
	Shared    int64             `json:"shared"` // callers that waited for another's computation
	Misses    int64             `json:"misses"` // times that nothing was there; each of Once began a computation
	Refreshes int64             `json:"refreshes"`
	Takeovers int64             `json:"takeovers"` // computations that a waiting caller took over
	Failures  int64             `json:"failures"`  // computations that failed
	Failed    int64             `json:"failed"`    // callers that were given a failure
	TooLarge  int64             `json:"too_large"` // values that did not fit
	Evictions int64             `json:"evictions"`
	Waiting   int               `json:"waiting"`          // callers that wait now
	Status    map[string]string `json:"status,omitempty"` // entries whose key begins with StatusPrefix, without it
}

// Stats looks at the space.
func (s *Space) Stats() Stats {
	c := &s.counts
	st := Stats{
		Entries: s.store.EstimatedSize(), Bytes: int64(s.store.WeightedSize()), Limit: int64(s.store.GetMaximum()),
		Hits: c.hits.Load(), Stale: c.stale.Load(), Shared: c.shared.Load(), Misses: c.misses.Load(), Refreshes: c.refreshes.Load(),
		Takeovers: c.takeovers.Load(), Failures: c.failures.Load(), Failed: c.failed.Load(), TooLarge: c.tooLarge.Load(), Evictions: c.evictions.Load(),
	}
	s.mu.Lock()
	for _, f := range s.flights {
		st.Waiting += f.waiting.Len()
	}
	s.mu.Unlock()
	st.Status = s.status()
	return st
}

// status is what the plugin tells its operator.
func (s *Space) status() map[string]string {
	now := s.now()
	s.noting.Lock()
	defer s.noting.Unlock()
	all := map[string]string{}
	for key := range s.notes {
		e, ok := s.store.GetEntryQuietly(key)
		if !ok || e.Value.state(now) == Miss {
			delete(s.notes, key)
			continue
		}
		if text := e.Value.Data; len(text) <= maxShown && utf8.Valid(text) {
			all[key[len(StatusPrefix):]] = string(text)
		}
	}
	return all
}

// counts is what a space has seen.
type counts struct {
	hits, stale, shared, misses, refreshes, takeovers, failures, failed, tooLarge, evictions atomic.Int64
}

func (c *counts) count(state State) {
	switch state {
	case Miss:
		c.misses.Add(1)
	case Hit:
		c.hits.Add(1)
	case Stale:
		c.stale.Add(1)
	case Failed:
		c.failed.Add(1)
	}
}
