package cache

import (
	"container/list"
	"time"
)

// Ask is how a caller of Once wants a value.
type Ask struct {
	// NoCache does not take a value that is kept. It still takes one that is being computed, and a failure.
	NoCache bool
	// Refresh is to compute a stale value anew, and not to wait for anybody who does.
	Refresh bool
	// Here is for a caller that cannot refresh in the background: it leads where it would be asked to do that.
	Here bool
	// Lead is how long the caller may take to compute; then it is somebody else's turn. 0 is a minute, the most are ten.
	Lead time.Duration
}

const (
	leadDefault = time.Minute
	leadMax     = 10 * time.Minute
)

// flight is one computation and who waits for it. Guarded by Space.mu.
type flight struct {
	key     string
	leader  *Ticket
	timer   *time.Timer // ends the leader's time
	waiting list.List   // of *Ticket, in order
}

// Ticket is a caller's place in a flight: it leads, or it waits. Its holder calls Put, Fail or Drop once it leads, or Drop while it waits.
type Ticket struct {
	space *Space
	lead  time.Duration
	done  func(Result)

	// Guarded by Space.mu.
	flight *flight       // nil: it is over
	place  *list.Element // nil: it leads
}

// Once asks for the value of key. With Waiting, done is called later, once, from any goroutine, and perhaps not once the ticket
// was dropped; its result may be Lead. With Lead, now or then, the caller computes and says so with the ticket. All other results come without one.
func (s *Space) Once(key string, ask Ask, done func(Result)) (Result, *Ticket) {
	now := s.now()
	if r, ok := s.kept(key, ask, now); ok {
		if r.Refresh && ask.Here {
			ask.Refresh = true
			if again, t := s.Once(key, ask, done); again.State != Busy {
				return again, t
			}
			r.Refresh = false
		}
		return r, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.kept(key, ask, now); ok { // a flight may have landed meanwhile
		return r, nil
	}
	f := s.flights[key]
	if f != nil && ask.Refresh {
		return Result{State: Busy}, nil
	}
	t := &Ticket{space: s, lead: min(max(ask.Lead, 0), leadMax), done: done}
	if t.lead == 0 {
		t.lead = leadDefault
	}
	if f == nil {
		f = &flight{key: key}
		s.flights[key] = f
		if ask.Refresh {
			s.counts.refreshes.Add(1)
		} else {
			s.counts.misses.Add(1)
		}
		f.leads(t)
		return Result{State: Lead}, t
	}
	t.flight, t.place = f, f.waiting.PushBack(t)
	return Result{State: Waiting}, t
}

// kept is a result without a computation. s.mu may be held or not.
func (s *Space) kept(key string, ask Ask, now time.Time) (Result, bool) {
	e := s.lookup(key)
	state := e.state(now)
	switch {
	case state == Failed:
	case state == Hit && !ask.NoCache:
	case state == Stale && !ask.NoCache && !ask.Refresh:
		r := e.result(state, now)
		r.Refresh = e.claim(now)
		s.counts.count(state)
		return r, true
	default:
		return Result{}, false
	}
	s.counts.count(state)
	return e.result(state, now), true
}

// leads puts t at the head of the flight; the space's mu is held.
func (f *flight) leads(t *Ticket) {
	f.leader, t.flight, t.place = t, f, nil
	f.timer = time.AfterFunc(t.lead, func() {
		if next, _ := t.leave(true); next != nil {
			next.done(Result{State: Lead})
		}
	})
}

// Put gives the value to all who wait, and keeps it when there is room. It says false when the
// caller leads no more.
func (t *Ticket) Put(v Value, keep Keep) bool {
	s := t.space
	now := s.now()
	waiting, ok := t.land(func(key string) { s.set(key, newEntry(v, keep, now)) })
	s.counts.shared.Add(int64(len(waiting)))
	for _, w := range waiting {
		w.done(Result{Value: v, State: Shared})
	}
	return ok
}

// Fail tells all who wait that it failed, and for a while whoever asks. data is what they are told. When it is kept for no time, nobody is told
// and the next one tries. It says false when the caller leads no more.
func (t *Ticket) Fail(data []byte, keep time.Duration) bool {
	if keep <= 0 {
		return t.drop()
	}
	s := t.space
	now := s.now()
	waiting, ok := t.land(func(key string) { s.set(key, failure(s.lookup(key), data, keep, now)) })
	if ok {
		s.counts.failures.Add(1)
	}
	for _, w := range waiting {
		w.done(Result{Value: Value{Data: data}, State: Failed})
	}
	return ok
}

// land ends the flight of a leader: keep stores what came of it, before anybody can begin another.
func (t *Ticket) land(keep func(key string)) (waiting []*Ticket, ok bool) {
	s := t.space
	s.mu.Lock()
	defer s.mu.Unlock()
	f := t.flight
	if f == nil || f.leader != t {
		return nil, false
	}
	t.flight = nil
	keep(f.key)
	f.end()
	for e := f.waiting.Front(); e != nil; e = e.Next() {
		w := e.Value.(*Ticket)
		w.flight, w.place = nil, nil
		waiting = append(waiting, w)
	}
	return waiting, true
}

// end takes the flight out; the space's mu is held.
func (f *flight) end() {
	f.timer.Stop()
	delete(f.leader.space.flights, f.key)
}

// Drop gives the place up: whoever waits next leads. It does nothing when the ticket is over.
func (t *Ticket) Drop() { t.drop() }

func (t *Ticket) drop() bool {
	next, led := t.leave(false)
	if next != nil {
		// Its owner may hold the very locks that the callback wants.
		go next.done(Result{State: Lead})
	}
	return led
}

// leave takes t out of its flight, says whether it led, and gives who leads now instead. With late it does so only while t leads.
func (t *Ticket) leave(late bool) (next *Ticket, led bool) {
	s := t.space
	s.mu.Lock()
	defer s.mu.Unlock()
	f := t.flight
	switch {
	case f == nil, late && f.leader != t:
		return nil, false
	case f.leader != t:
		f.waiting.Remove(t.place)
		t.flight, t.place = nil, nil
		return nil, false
	}
	t.flight = nil
	first := f.waiting.Front()
	if first == nil {
		f.end()
		return nil, true
	}
	f.timer.Stop()
	next = f.waiting.Remove(first).(*Ticket)
	f.leads(next)
	s.counts.takeovers.Add(1)
	return next, true
}
