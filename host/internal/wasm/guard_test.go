package wasm

import (
	"errors"
	"testing"
	"time"
)

// TestGuard plays what happens to a plugin, in seconds since the start, and says how the next request is let in.
func TestGuard(t *testing.T) {
	type step struct {
		at   int
		do   string // trap: a shared worker traps; ok, trapped, gone: the next request is let in and ends so
		want string // how it is let in; for trap: how the next one would be
	}
	rules := Faults{Traps: 3, Quiet: time.Minute, Row: 3, Rest: time.Second, RestMax: 3 * time.Second}
	for name, c := range map[string]struct {
		alone bool
		steps []step
	}{
		"a trap now and then changes nothing": {steps: []step{
			{0, "trap", "shared"}, {40, "trap", "shared"}, {80, "trap", "shared"}, {120, "trap", "shared"}, {121, "ok", "shared"},
		}},
		"three within a minute isolate, and a quiet minute ends that": {steps: []step{
			{0, "trap", "shared"}, {10, "trap", "shared"}, {20, "trap", "fresh"}, {79, "ok", "fresh"}, {80, "ok", "shared"},
			{81, "trap", "shared"}, {82, "trap", "shared"}, {83, "trap", "fresh"},
		}},
		"traps of lonely requests prolong it": {steps: []step{
			{0, "trap", "shared"}, {0, "trap", "shared"}, {0, "trap", "fresh"}, {50, "trapped", "fresh"}, {100, "ok", "fresh"}, {110, "ok", "shared"},
		}},
		"a poison request among others opens nothing": {alone: true, steps: []step{
			{0, "trapped", "fresh"}, {1, "trapped", "fresh"}, {2, "ok", "fresh"}, {3, "trapped", "fresh"}, {4, "trapped", "fresh"}, {5, "ok", "fresh"},
		}},
		"nothing but traps opens, probes, waits twice as long, and closes with an answer": {alone: true, steps: []step{
			{0, "trapped", "fresh"}, {0, "gone", "fresh"}, {0, "trapped", "fresh"}, {0, "trapped", "fresh"}, {0, "ok", "refused"},
			{1, "trapped", "probe"}, {2, "ok", "refused"}, {3, "trapped", "probe"}, {5, "ok", "refused"}, {6, "ok", "probe"}, {6, "ok", "fresh"},
		}},
		"a probe whose client leaves lets the next one try": {alone: true, steps: []step{
			{0, "trapped", "fresh"}, {0, "trapped", "fresh"}, {0, "trapped", "fresh"}, {1, "gone", "probe"}, {1, "ok", "probe"}, {1, "ok", "fresh"},
		}},
		"shared, isolated, open, isolated, shared": {steps: []step{
			{0, "trap", "shared"}, {0, "trap", "shared"}, {0, "trap", "fresh"},
			{0, "trapped", "fresh"}, {0, "trapped", "fresh"}, {0, "trapped", "fresh"}, {0, "ok", "refused"}, {1, "ok", "probe"}, {30, "ok", "fresh"}, {60, "ok", "shared"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			g, start := newGuard(c.alone, rules), time.Now()
			for i, s := range c.steps {
				now := start.Add(time.Duration(s.at) * time.Second)
				if s.do == "trap" {
					g.trap(now)
				}
				p, err := g.admit(now)
				got := "shared"
				var open *OpenError
				switch {
				case errors.As(err, &open):
					got = "refused"
					if open.RetryAfter <= 0 || open.RetryAfter > rules.RestMax {
						t.Errorf("step %d: come back in %v", i, open.RetryAfter)
					}
				case p.probe != 0:
					got = "probe"
				case p.fresh:
					got = "fresh"
				}
				if got != s.want {
					t.Fatalf("step %d, %+v: it is let in as %s", i, s, got)
				}
				if err == nil {
					g.done(p, map[string]outcome{"ok": answered, "trapped": trapped}[s.do], now)
				}
			}
		})
	}
}

// TestGuardProbesOneAtATime: while one request finds out, the others are refused.
func TestGuardProbesOneAtATime(t *testing.T) {
	g, now := newGuard(true, Faults{Row: 1}), time.Now()
	p, _ := g.admit(now)
	if opened, _ := g.done(p, trapped, now); !opened {
		t.Fatal("one trap of one does not open it")
	}
	now = now.Add(2 * time.Second)
	probe, err := g.admit(now)
	if err != nil || probe.probe == 0 {
		t.Fatalf("%+v, %v", probe, err)
	}
	if _, err := g.admit(now); err == nil {
		t.Error("a second one is let in")
	}
	if _, closed := g.done(probe, answered, now); !closed {
		t.Error("its answer does not close it")
	}
}

// A lonely request that outlives the quiet time and traps then: what state says and what admit does differ.
func TestGuardTakesALatePass(t *testing.T) {
	g, start := newGuard(false, Faults{Traps: 1, Quiet: time.Minute, Row: 1, Rest: time.Second}), time.Now()
	g.trap(start)
	late, _ := g.admit(start)
	after := start.Add(61 * time.Second)
	if p, _ := g.admit(after); p.fresh {
		t.Fatal("still alone")
	}
	opened, _ := g.done(late, trapped, after)
	p, err := g.admit(after)
	if opened && err == nil && !p.fresh {
		t.Error("the breaker says it opened, and lets requests in to shared workers")
	}
}

func TestHeadersOverTheLimitAreAnAnswer(t *testing.T) {
	if outcomeOf(&HeadersError{1}) != answered {
		t.Error("a guest that answered with headers over the limit did not live, it says")
	}
}
