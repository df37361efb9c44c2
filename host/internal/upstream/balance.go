package upstream

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// choice is what one call asks of an endpoint.
type choice struct {
	sticky    string  // "" is none
	addressed *member // the one to take while it is a candidate; nil is any
	now       time.Time
}

// candidate is a member with its share at this moment.
type candidate struct {
	*member
	share float64
}

// candidates lists the members a call may go to: none of skip, and only the available ones where
// that is asked for.
func (u *Upstream) candidates(list []candidate, c *choice, availableOnly bool, skip []*member) []candidate {
next:
	for _, m := range u.members {
		if availableOnly && !m.available(c.now) {
			continue
		}
		for _, s := range skip {
			if s == m {
				continue next
			}
		}
		list = append(list, candidate{m, m.share(c.now, u.health.SlowStart)})
	}
	return list
}

// pick chooses an endpoint, nil when no candidate is left.
func (u *Upstream) pick(c *choice, availableOnly bool, skip []*member) *member {
	var buffer [8]candidate
	list := u.candidates(buffer[:0], c, availableOnly, skip)
	if slices.ContainsFunc(list, func(x candidate) bool { return x.member == c.addressed }) {
		return c.addressed
	}
	switch {
	case len(list) == 0:
		return nil
	case len(list) == 1:
		return list[0].member
	case c.sticky != "":
		return stuck(list, c.sticky)
	}
	a := draw(list)
	first := list[a]
	list[a] = list[len(list)-1]
	list = list[:len(list)-1]
	return lighter(first, list[draw(list)], c.now)
}

// draw picks an index with a chance in proportion to the shares.
func draw(list []candidate) int {
	if len(list) == 1 {
		return 0
	}
	total := 0.0
	for i := range list {
		total += list[i].share
	}
	at := rand.Float64() * total
	for i := range list {
		if at -= list[i].share; at < 0 {
			return i
		}
	}
	return len(list) - 1
}

// lighter is the one of two with less work for its share: M. Mitzenmacher's "The Power of Two
// Choices in Randomized Load Balancing". While both have the same, as when both are idle, the first stays, so
// that the weights hold, unless it is much slower.
func lighter(a, b candidate, now time.Time) *member {
	x, y := a.work()/a.share, b.work()/b.share
	switch {
	case x > y:
		return b.member
	case x < y:
		return a.member
	case muchSlower(a.record, b.record, now):
		return b.member
	}
	return a.member
}

// muchSlower says whether a took more than twice as long as b of late, and so much longer that it matters. Only a needs calls enough to
// be judged: a b of which little is known is tried, and no sooner than it has nothing to do. One whose latest call failed is quick perhaps because it fails.
func muchSlower(a, b *record, now time.Time) bool {
	const enough, matters = 3, 10 * time.Millisecond
	slow, calls, _ := a.recent(now)
	if calls < enough || slow <= matters {
		return false
	}
	quick, _, failing := b.recent(now)
	return !failing && slow > 2*quick+matters
}

// stuck chooses by rendezvous hashing (D. Thaler and C. Ravishankar, 1998) with weights: of the calls of a key
// nothing moves but to an endpoint that comes, or from one that goes.
func stuck(list []candidate, value string) *member {
	var best *member
	most := math.Inf(-1)
	for _, c := range list {
		h := fnv.New64a()
		_, _ = h.Write([]byte(c.name))
		_, _ = h.Write([]byte{0})
		_, _ = h.Write([]byte(value))
		if score := -c.share / math.Log(unit(h.Sum64())); score > most {
			best, most = c.member, score
		}
	}
	return best
}

// unit mixes the bits of a hash, as the end of splitmix64 does, and makes them a number above 0 and below 1.
func unit(h uint64) float64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	h ^= h >> 31
	return (float64(h>>11) + 0.5) / (1 << 53)
}
