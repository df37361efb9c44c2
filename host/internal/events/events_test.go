package events_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/patchbay-run/patchbay/host/internal/events"
	"github.com/patchbay-run/patchbay/host/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// clock is what a test says it is.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newLog() (*events.Log, *clock) {
	c := &clock{at: time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)}
	return events.New(c.now), c
}

func trapped(plugin, why string) events.Event {
	return events.Event{Kind: events.PluginTrapped, Subject: plugin, Text: why}
}

func said(v events.View) string {
	var b strings.Builder
	for _, e := range v.Events {
		fmt.Fprintf(&b, "%d %s %s %dx; ", e.Seq, e.Subject, e.Text, max(e.Count, 1))
	}
	return b.String()
}

func TestNewestComeFirst(t *testing.T) {
	l, _ := newLog()
	for i := range 5 {
		l.Add(trapped(fmt.Sprint("p", i), "why"))
	}
	for _, c := range []struct {
		after uint64
		limit int
		want  string
	}{
		{0, 100, "5 p4 why 1x; 4 p3 why 1x; 3 p2 why 1x; 2 p1 why 1x; 1 p0 why 1x; "},
		{0, 2, "5 p4 why 1x; 4 p3 why 1x; "},
		{3, 100, "5 p4 why 1x; 4 p3 why 1x; "},
		{5, 100, ""},
		{6, 2, "5 p4 why 1x; 4 p3 why 1x; "}, // the server was started again meanwhile
		{0, 0, ""},
	} {
		if got := l.Look(c.after, c.limit); said(got) != c.want || got.Total != 5 || got.Oldest != 1 {
			t.Errorf("after %d, %d of them: %+v", c.after, c.limit, got)
		}
	}
}

func TestWhatHappensAgainIsOneEvent(t *testing.T) {
	l, clock := newLog()
	l.Add(trapped("a", "one"))
	l.Add(trapped("b", "one"))
	clock.at = clock.at.Add(900 * time.Millisecond)
	l.Add(trapped("a", "two")) // within a second: other words do not matter
	clock.at = clock.at.Add(9 * time.Second)
	l.Add(trapped("a", "two"))   // within ten: the same words
	l.Add(trapped("b", "three")) // other words
	e := trapped("a", "two")
	e.By = "search" // not the host's
	l.Add(e)
	clock.at = clock.at.Add(10 * time.Second)
	l.Add(trapped("a", "two")) // too late
	if got, want := said(l.Look(0, 100)), "7 a two 1x; 6 a two 1x; 5 b three 1x; 4 a two 3x; 2 b one 1x; "; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestKeepsTheNewest(t *testing.T) {
	l, clock := newLog()
	const n = 5*events.Kept + 7
	for i := range n {
		clock.at = clock.at.Add(time.Minute)
		l.Add(trapped("a", fmt.Sprint(i)))
	}
	v := l.Look(0, 2*n)
	if len(v.Events) != events.Kept || v.Total != n || v.Oldest != n-events.Kept+1 || v.Events[0].Seq != n {
		t.Errorf("%d events kept, %d in all, the oldest %d", len(v.Events), v.Total, v.Oldest)
	}
}

// TestOneHasItsShare: a plugin that talks all the time pushes out its own words, and nobody else's.
func TestOneHasItsShare(t *testing.T) {
	l, clock := newLog()
	l.Add(trapped("a", "long ago"))
	l.Add(events.Event{Kind: "said", Subject: "x", By: "quiet"})
	const n = 5 * events.Kept
	for i := range n {
		clock.at = clock.at.Add(time.Minute)
		l.Add(events.Event{Kind: "said", Subject: "x", Text: fmt.Sprint(i), By: "chatty"})
	}
	v := l.Look(0, n)
	if len(v.Events) != events.KeptOf+2 || v.Oldest != 1 || v.Total != n+2 || v.Events[0].Seq != n+2 || v.Events[events.KeptOf-1].Seq != n+3-events.KeptOf || v.Events[events.KeptOf].By != "quiet" {
		t.Errorf("%d events kept, %d in all, the oldest %d", len(v.Events), v.Total, v.Oldest)
	}
}

func TestTextsAreBounded(t *testing.T) {
	l, _ := newLog()
	l.Add(events.Event{Kind: "x", Subject: strings.Repeat("ü", 10_000), Text: "\xff" + strings.Repeat("ü", 10_000)})
	e := l.Look(0, 1).Events[0]
	if len(e.Subject) > events.MaxSubject || len(e.Text) > events.MaxText || !utf8.ValidString(e.Subject+e.Text) || !strings.HasSuffix(e.Text, "ü…") {
		t.Errorf("kept %d bytes of subject and %d of text: %q", len(e.Subject), len(e.Text), e.Text)
	}
}

// TestTextsAreHarmless: what a guest tells is shown on terminals.
func TestTextsAreHarmless(t *testing.T) {
	e := events.Event{Subject: "a\u009b2J", Text: "\u202egpj.exe\u2066 grüße\n"}.Bounded()
	if e.Subject != "a\ufffd2J" || e.Text != "\ufffdgpj.exe\ufffd grüße\n" {
		t.Errorf("%q, %q", e.Subject, e.Text)
	}
}

func TestChangedTellsOfTheNext(t *testing.T) {
	l, _ := newLog()
	l.Add(trapped("a", ""))
	changed := l.Changed()
	select {
	case <-changed:
		t.Fatal("nothing has happened since")
	default:
	}
	l.Add(trapped("b", ""))
	<-changed
}

func TestNilKeepsNothing(t *testing.T) {
	var l *events.Log
	l.Add(trapped("a", ""))
	if v := l.Look(0, 10); v.Total != 0 || v.Events == nil || l.Changed() != nil {
		t.Errorf("%+v", v)
	}
}

func TestManyAtOnce(t *testing.T) {
	l := events.New(nil)
	var all sync.WaitGroup
	const writers, each = 8, 2000
	for w := range writers {
		all.Go(func() {
			for i := range each {
				l.Add(trapped(fmt.Sprint(w, "-", i), ""))
			}
		})
		all.Go(func() {
			for last := uint64(0); last < writers*each; {
				changed := l.Changed()
				v := l.Look(last, 50)
				if v.Total == last {
					<-changed
				}
				last = v.Total
				for i := 1; i < len(v.Events); i++ {
					if v.Events[i].Seq >= v.Events[i-1].Seq {
						t.Errorf("%d follows %d", v.Events[i].Seq, v.Events[i-1].Seq)
					}
				}
			}
		})
	}
	all.Wait()
	if v := l.Look(0, 1); v.Total != writers*each {
		t.Errorf("%d were noted", v.Total)
	}
}
