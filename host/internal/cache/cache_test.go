package cache_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/cache"
	"github.com/patchbay-run/patchbay/host/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// clock is one that tests move. It begins now, since the store beneath has a clock of its own that is only ever behind it.
type clock struct{ nanos atomic.Int64 }

func (c *clock) now() time.Time       { return time.Unix(0, c.nanos.Load()) }
func (c *clock) pass(d time.Duration) { c.nanos.Add(int64(d)) }

func newSpace(t *testing.T, limit int64) (*cache.Space, *clock) {
	t.Helper()
	at := &clock{}
	at.nanos.Store(time.Now().UnixNano())
	c := cache.New(at.now)
	t.Cleanup(c.Close)
	return c.Space("test", limit), at
}

const hour = time.Hour

func TestValuesAge(t *testing.T) {
	s, at := newSpace(t, 1<<20)
	want := func(state cache.State, age time.Duration) {
		t.Helper()
		if r := s.Get("k"); r.State != state || r.Age != age || state != cache.Miss && string(r.Data) != "v" {
			t.Errorf("%+v, want state %d of age %v", r, state, age)
		}
	}
	want(cache.Miss, 0)
	s.Put("k", cache.Value{Data: []byte("v")}, cache.Keep{TTL: time.Minute, Stale: hour})
	want(cache.Hit, 0)
	at.pass(59 * time.Second)
	want(cache.Hit, 59*time.Second)
	at.pass(time.Second)
	want(cache.Stale, time.Minute)
	at.pass(hour)
	want(cache.Miss, 0)
	s.Put("k", cache.Value{Data: []byte("v")}, cache.Keep{TTL: time.Minute})
	s.Delete("k")
	want(cache.Miss, 0)
	s.Put("k", cache.Value{Data: []byte("v")}, cache.Keep{TTL: time.Minute})
	s.Put("k", cache.Value{Data: []byte("w")}, cache.Keep{}) // for no time at all
	want(cache.Miss, 0)
	if st := s.Stats(); st.Hits != 2 || st.Stale != 1 || st.Misses != 4 || st.Entries != 0 {
		t.Errorf("%+v", st)
	}
}

// TestBoundsInBytes fills spaces with more than they hold.
func TestBoundsInBytes(t *testing.T) {
	const limit = 64 << 10
	c := cache.New(nil)
	t.Cleanup(c.Close)
	full, other := c.Space("full", limit), c.Space("other", limit)
	other.Put("mine", cache.Value{Data: []byte("stays")}, cache.Keep{TTL: hour})
	for i := range 10_000 {
		full.Put(fmt.Sprint("key ", i), cache.Value{Data: make([]byte, i%2000)}, cache.Keep{TTL: hour})
		if st := full.Stats(); st.Bytes > limit {
			t.Fatalf("%d of %d bytes after %d values", st.Bytes, limit, i)
		}
	}
	for i := range 1000 { // even without values
		full.Put(strings.Repeat("k", 1000)+fmt.Sprint(i), cache.Value{}, cache.Keep{TTL: hour})
	}
	st := full.Stats()
	if st.Bytes > limit || st.Bytes < limit/2 || st.Evictions == 0 || st.Entries > limit/1256 {
		t.Errorf("%+v", st)
	}
	if full.Put("large", cache.Value{Data: make([]byte, limit)}, cache.Keep{TTL: hour}) || full.Stats().TooLarge != 1 {
		t.Error("a value over the bound was kept")
	}
	if other.Get("mine").State != cache.Hit || full.Get("mine").State != cache.Miss {
		t.Error("one space reached into the other")
	}
	c.Resize(map[string]int64{"full": limit / 8, "other": limit})
	if st := full.Stats(); st.Bytes > limit/8 || st.Limit != limit/8 {
		t.Errorf("after it was made smaller: %+v", st)
	}
	c.Resize(map[string]int64{"full": limit})
	if other.Get("mine").State != cache.Miss || other.Stats().Entries != 0 {
		t.Error("a space that was dropped still holds a value")
	}
	if other.Put("mine", cache.Value{Data: []byte("x")}, cache.Keep{TTL: hour}); other.Stats().Entries != 0 || c.Space("other", limit) == other {
		t.Error("a space that was dropped keeps values")
	}
}

func TestStatusIsShown(t *testing.T) {
	s, at := newSpace(t, 1<<20)
	s.Put("status:provider/tavily", cache.Value{Data: []byte("rests")}, cache.Keep{TTL: time.Minute})
	s.Put("status:bytes", cache.Value{Data: []byte{0xff}}, cache.Keep{TTL: hour})
	s.Put("status:long", cache.Value{Data: make([]byte, 5000)}, cache.Keep{TTL: hour})
	s.Put("secret", cache.Value{Data: []byte("x")}, cache.Keep{TTL: hour})
	if got := s.Stats().Status; len(got) != 1 || got["provider/tavily"] != "rests" {
		t.Errorf("%q", got)
	}
	at.pass(time.Minute)
	if got := s.Stats().Status; len(got) != 0 {
		t.Errorf("%q is over", got)
	}
	for i := range 200 {
		s.Put(fmt.Sprint("status:", i), cache.Value{Data: []byte("x")}, cache.Keep{TTL: hour})
	}
	if n := len(s.Stats().Status); n > 64 {
		t.Errorf("%d are shown", n)
	}
}

// caller is one who asks Once, with what came of it.
type caller struct {
	t      *testing.T
	ticket *cache.Ticket
	first  cache.Result
	later  chan cache.Result
}

func ask(t *testing.T, s *cache.Space, how cache.Ask) *caller {
	c := &caller{t: t, later: make(chan cache.Result, 1)}
	c.first, c.ticket = s.Once("k", how, func(r cache.Result) { c.later <- r })
	return c
}

// gets is what the caller has in the end.
func (c *caller) gets(state cache.State, data string) {
	c.t.Helper()
	r := c.first
	if r.State == cache.Waiting {
		select {
		case r = <-c.later:
		case <-time.After(time.Minute):
			c.t.Fatal("nothing came")
		}
	}
	if r.State != state || string(r.Data) != data {
		c.t.Errorf("%+v (%q), want state %d and %q", r, r.Data, state, data)
	}
}

func TestOnceIsShared(t *testing.T) {
	s, _ := newSpace(t, 1<<20)
	leader := ask(t, s, cache.Ask{})
	leader.gets(cache.Lead, "")
	var others []*caller
	for range 100 {
		others = append(others, ask(t, s, cache.Ask{}))
	}
	if st := s.Stats(); st.Waiting != 100 || st.Misses != 1 {
		t.Errorf("%+v", st)
	}
	if !leader.ticket.Put(cache.Value{Data: []byte("v")}, cache.Keep{TTL: hour}) || leader.ticket.Put(cache.Value{Data: []byte("w")}, cache.Keep{TTL: hour}) {
		t.Error("a leader puts once")
	}
	for _, o := range others {
		o.gets(cache.Shared, "v")
	}
	ask(t, s, cache.Ask{}).gets(cache.Hit, "v")
	if st := s.Stats(); st.Shared != 100 || st.Hits != 1 || st.Waiting != 0 {
		t.Errorf("%+v", st)
	}
}

func TestNextTakesOver(t *testing.T) {
	for name, leave := range map[string]func(*caller){
		"dropped":           func(c *caller) { c.ticket.Drop(); c.ticket.Drop() },
		"failed for itself": func(c *caller) { c.ticket.Fail([]byte("x"), 0) },
		"out of time":       func(*caller) {},
	} {
		takesOver := func(t *testing.T) {
			s, _ := newSpace(t, 1<<20)
			lead := hour
			if name == "out of time" {
				lead = time.Millisecond
			}
			leader := ask(t, s, cache.Ask{Lead: lead})
			gone, next, last := ask(t, s, cache.Ask{}), ask(t, s, cache.Ask{}), ask(t, s, cache.Ask{})
			gone.ticket.Drop()
			leave(leader)
			next.gets(cache.Lead, "")
			if leader.ticket.Put(cache.Value{Data: []byte("late")}, cache.Keep{TTL: hour}) || leader.ticket.Fail(nil, hour) {
				t.Error("who leads no more was heard")
			}
			next.ticket.Put(cache.Value{Data: []byte("v")}, cache.Keep{TTL: hour})
			last.gets(cache.Shared, "v")
			if st := s.Stats(); st.Takeovers != 1 || st.Misses != 1 {
				t.Errorf("%+v", st)
			}
			select {
			case r := <-gone.later:
				t.Errorf("who had left got %+v", r)
			default:
			}
		}
		t.Run(name, func(t *testing.T) { synctest.Test(t, takesOver) }) // where no time is over before all have asked
	}
	s, _ := newSpace(t, 1<<20)
	ask(t, s, cache.Ask{}).ticket.Drop() // nobody waits
	ask(t, s, cache.Ask{}).gets(cache.Lead, "")
}

func TestFailuresAreKeptBriefly(t *testing.T) {
	s, at := newSpace(t, 1<<20)
	leader, other := ask(t, s, cache.Ask{}), ask(t, s, cache.Ask{})
	leader.ticket.Fail([]byte("why"), time.Second)
	other.gets(cache.Failed, "why")
	ask(t, s, cache.Ask{}).gets(cache.Failed, "why")
	ask(t, s, cache.Ask{NoCache: true}).gets(cache.Failed, "why")
	if s.Get("k").State != cache.Miss {
		t.Error("a failure is no value")
	}
	at.pass(time.Second)
	ask(t, s, cache.Ask{}).gets(cache.Lead, "")
	if st := s.Stats(); st.Failures != 1 || st.Failed != 2 {
		t.Errorf("%+v", st)
	}
}

func TestStaleIsServedWhileOneRefreshes(t *testing.T) {
	s, at := newSpace(t, 1<<20)
	s.Put("k", cache.Value{Data: []byte("old")}, cache.Keep{TTL: time.Second, Stale: hour})
	asked := func() (n int) {
		t.Helper()
		for range 50 {
			c := ask(t, s, cache.Ask{})
			c.gets(cache.Stale, "old")
			if c.first.Refresh {
				n++
			}
		}
		return n
	}
	at.pass(time.Second)
	if n := asked(); n != 1 {
		t.Fatalf("%d were asked to refresh", n)
	}
	at.pass(5 * time.Second) // whoever was asked has died
	if n := asked(); n != 1 {
		t.Fatalf("%d were asked to refresh", n)
	}
	one := ask(t, s, cache.Ask{Refresh: true})
	one.gets(cache.Lead, "")
	ask(t, s, cache.Ask{Refresh: true}).gets(cache.Busy, "")
	eager := ask(t, s, cache.Ask{NoCache: true})
	if !one.ticket.Fail([]byte("why"), time.Second) {
		t.Fatal("it does not lead")
	}
	eager.gets(cache.Failed, "why")
	if n := asked(); n != 0 { // the old value outlives the failure, which is not repeated at once
		t.Fatalf("%d were asked to refresh", n)
	}
	at.pass(time.Second)
	if n := asked(); n != 1 {
		t.Fatalf("%d were asked to refresh", n)
	}
	two := ask(t, s, cache.Ask{Refresh: true})
	eager = ask(t, s, cache.Ask{NoCache: true})
	two.ticket.Put(cache.Value{Data: []byte("new")}, cache.Keep{TTL: time.Second, Stale: hour})
	eager.gets(cache.Shared, "new")
	ask(t, s, cache.Ask{}).gets(cache.Hit, "new")
	ask(t, s, cache.Ask{Refresh: true}).gets(cache.Hit, "new")
	ask(t, s, cache.Ask{NoCache: true}).gets(cache.Lead, "")
}

// TestStaleIsComputedHere: a caller that does nothing in the background leads itself; the others have the old value meanwhile.
func TestStaleIsComputedHere(t *testing.T) {
	s, at := newSpace(t, 1<<20)
	s.Put("k", cache.Value{Data: []byte("old")}, cache.Keep{TTL: time.Second, Stale: hour})
	at.pass(time.Second)
	one := ask(t, s, cache.Ask{Here: true})
	one.gets(cache.Lead, "")
	for range 5 {
		c := ask(t, s, cache.Ask{Here: true})
		if c.gets(cache.Stale, "old"); c.first.Refresh {
			t.Error("another one is asked to refresh it")
		}
	}
	at.pass(time.Minute) // it takes its time
	ask(t, s, cache.Ask{Here: true}).gets(cache.Stale, "old")
	one.ticket.Put(cache.Value{Data: []byte("new")}, cache.Keep{TTL: time.Second})
	ask(t, s, cache.Ask{Here: true}).gets(cache.Hit, "new")
}

// TestHammer has many goroutines lead, leave, fail and wait. Each that asks gets one result, and no flight is left.
func TestHammer(t *testing.T) {
	s, _ := newSpace(t, 8<<10)
	var all sync.WaitGroup
	for g := range 32 {
		all.Go(func() {
			for i := range 500 {
				key := fmt.Sprint(i % 5)
				got := make(chan cache.Result, 4)
				r, ticket := s.Once(key, cache.Ask{NoCache: i%7 == 0, Refresh: i%11 == 0}, func(r cache.Result) { got <- r })
				if r.State == cache.Waiting {
					if (g+i)%5 == 0 {
						ticket.Drop()
						continue
					}
					r = <-got
				}
				switch {
				case r.State != cache.Lead:
				case (g+i)%3 == 0:
					ticket.Drop()
				case (g+i)%4 == 0:
					ticket.Fail([]byte("x"), time.Duration(i%2)*time.Microsecond)
				default:
					ticket.Put(cache.Value{Data: []byte(key)}, cache.Keep{TTL: time.Duration(i%3) * time.Microsecond, Stale: time.Microsecond})
				}
				if r.State == cache.Hit || r.State == cache.Shared || r.State == cache.Stale {
					if string(r.Data) != key {
						t.Errorf("%q for %q", r.Data, key)
					}
				}
			}
		})
	}
	all.Wait()
	if st := s.Stats(); st.Waiting != 0 {
		t.Errorf("%+v", st)
	}
}
