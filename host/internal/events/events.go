// Package events remembers what happened to the server of late: swaps, traps, breakers, endpoints that were left out, and what plugins
// have to say about themselves. It is for people who look back. It is no log of requests, and nothing waits on it.
package events

import (
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Kind is what happened. The host's kinds have a dot; a plugin's own never has one, so that it cannot speak for the host.
type Kind string

// The host's kinds, with what the subject of each is.
const (
	ConfigApplied  Kind = "config.applied"  // file
	ConfigRejected Kind = "config.rejected" // file

	PluginLoaded    Kind = "plugin.loaded" // plugin, here and below
	PluginSwapped   Kind = "plugin.swapped"
	PluginRemoved   Kind = "plugin.removed"   // it is not in the configuration any more
	PluginRetired   Kind = "plugin.retired"   // a generation that was replaced has answered its last request
	PluginFailed    Kind = "plugin.failed"    // the newest did not load
	PluginTrapped   Kind = "plugin.trapped"   // a worker died
	PluginRecycled  Kind = "plugin.recycled"  // a worker is replaced, drained
	PluginDegraded  Kind = "plugin.degraded"  // each request has an instance of its own for a while
	PluginRecovered Kind = "plugin.recovered" // requests share workers again
	PluginOpened    Kind = "plugin.opened"    // it traps on everything: requests are refused
	PluginClosed    Kind = "plugin.closed"    // it answers again

	EndpointEjected  Kind = "endpoint.ejected"  // upstream and endpoint: it is left out
	EndpointReturned Kind = "endpoint.returned" // likewise
	BreakerOpened    Kind = "breaker.opened"    // upstream: it is asked nothing
	BreakerHalfOpen  Kind = "breaker.half-open" // upstream: a few calls try
	BreakerClosed    Kind = "breaker.closed"    // upstream
)

// Event is one thing that happened.
type Event struct {
	Seq     uint64    `json:"seq"` // counts from 1 since the server started
	Time    time.Time `json:"time"`
	Kind    Kind      `json:"kind"`
	Subject string    `json:"subject"`
	Text    string    `json:"text,omitempty"`
	By      string    `json:"by,omitempty"`    // the plugin whose word this is; "" is the host
	Count   int       `json:"count,omitempty"` // how often it happened, when that is more than once; see Log.Add
}

// The bounds of an event's texts in bytes; what is longer is cut.
const (
	MaxSubject = 256
	MaxText    = 1024
)

// Bounded is e with its texts cut to their bounds, and without what steers a terminal or turns the direction of writing around: a
// guest may have written them, and JSON leaves such characters as they are.
func (e Event) Bounded() Event {
	e.Subject, e.Text = cut(e.Subject, MaxSubject), cut(e.Text, MaxText)
	return e
}

// Kept is how many events a Log holds; KeptOf is how many of those may be one plugin's own, so that it cannot push out what others tell.
const (
	Kept   = 1000
	KeptOf = 200
)

// One thing may happen a thousand times a second. What happened a moment ago already, or a little longer ago in the same words, is one
// event with a count, so that it cannot push all others out.
const (
	moment  = time.Second
	lately  = 10 * time.Second
	lookFor = 32 // events that are looked through for it
)

// Log is the newest events. A nil one takes them and keeps nothing.
type Log struct {
	now func() time.Time

	mu      sync.Mutex // guards what follows; held for moments only
	list    []Event    // in order of Seq; the newest Kept of them count
	seq     uint64
	changed chan struct{} // nil: nobody waits
}

// New makes an empty log. A nil now is time.Now.
func New(now func() time.Time) *Log {
	if now == nil {
		now = time.Now
	}
	return &Log{now: now}
}

// Add notes an event, with a Seq and a Time of its own. It never blocks. What happens again, of the same kind, to the same subject and by the same, within a
// second, or within ten in the same words, takes the place of the event before: it has its newest text, a new Seq and a count.
func (l *Log) Add(e Event) {
	if l == nil {
		return
	}
	e = e.Bounded()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	e.Seq, e.Time, e.Count = l.seq, l.now().UTC(), 0
	for i := len(l.list) - 1; i >= max(0, len(l.list)-lookFor); i-- {
		before := &l.list[i]
		age := e.Time.Sub(before.Time)
		if age >= lately {
			break
		}
		if before.Kind == e.Kind && before.Subject == e.Subject && before.By == e.By && (age < moment || before.Text == e.Text) {
			e.Count = max(before.Count, 1) + 1
			l.list = slices.Delete(l.list, i, i+1)
			break
		}
	}
	if e.By != "" {
		l.makeRoom(e.By)
	}
	if len(l.list) == 2*Kept {
		l.list = l.list[:copy(l.list, l.list[Kept:])]
	}
	l.list = append(l.list, e)
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// makeRoom forgets the oldest of what a plugin has said itself when there is as much of it as may be. l.mu is held.
func (l *Log) makeRoom(by string) {
	oldest, n := -1, 0
	for i := range l.list {
		if l.list[i].By == by {
			if n++; oldest < 0 {
				oldest = i
			}
		}
	}
	if n >= KeptOf {
		l.list = slices.Delete(l.list, oldest, oldest+1)
	}
}

// View is a look at a Log.
type View struct {
	Total  uint64  `json:"total"`  // the newest Seq: how much has happened since the server started
	Oldest uint64  `json:"oldest"` // the least Seq that is kept; 0 is none
	Events []Event `json:"events"` // newest first
}

// Look gives the newest events with a Seq above after, at most limit of them. An after that is above all of them is from before the server
// was started again: it counts as 0.
func (l *Log) Look(after uint64, limit int) View {
	v := View{Events: []Event{}}
	if l == nil {
		return v
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := l.list[max(0, len(l.list)-Kept):]
	v.Total = l.seq
	if len(kept) > 0 {
		v.Oldest = kept[0].Seq
	}
	if after > l.seq {
		after = 0
	}
	for i := len(kept) - 1; i >= 0 && kept[i].Seq > after && len(v.Events) < limit; i-- {
		v.Events = append(v.Events, kept[i])
	}
	return v
}

// Changed gives a channel that is closed by the next Add.
func (l *Log) Changed() <-chan struct{} {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.changed
}

// cut shortens a text to whole, harmless characters within n bytes.
func cut(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 0x7f && r < 0xa0, r >= 0x200e && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) <= n {
		return s
	}
	const more = "…"
	n -= len(more)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + more
}
