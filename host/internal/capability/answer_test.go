package capability_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// TestAnswerFromTheCache: whether the host gives the answer or the guest, the client reads the same. The steps of a case are asked in turn.
func TestAnswerFromTheCache(t *testing.T) {
	large := strings.Repeat("v", 1<<20)
	type step struct{ query, free, status, body, state, age, direct string }
	for name, steps := range map[string][]step{
		"hit": {
			{query: "key=k&q=one", free: "value", body: "one: value", state: "miss", age: "0"},
			{query: "key=k&q=two", body: "two: value", state: "hit", age: "0", direct: "1"},
			{query: "key=k", body: ": value", state: "hit", age: "0", direct: "2"},
		},
		"older than the answer": {
			{query: "key=k&q=one&age=77", free: "value", body: "one: value", state: "miss", age: "77"},
			{query: "key=k&q=two", body: "two: value", state: "hit", age: "77", direct: "1"},
		},
		"an empty value": {
			{query: "key=k&q=one", free: " ", body: "one:  ", state: "miss", age: "0"},
			{query: "key=k&q=two", body: "two:  ", state: "hit", age: "0", direct: "1"},
		},
		"another key": {
			{query: "key=k&q=one", free: "value", body: "one: value", state: "miss", age: "0"},
			{query: "key=l&q=two", free: "other", body: "two: other", state: "miss", age: "0", direct: "0"},
		},
		"stale": {
			{query: "key=k&q=one&ttl=1ns&stale=1h", free: "value", body: "one: value", state: "miss", age: "0"},
			// The first is told, for it is to compute the value anew; while it does, the host answers.
			{query: "key=k&q=two&ttl=1ns&stale=1h", body: "two: value", state: "stale", age: "0"},
			{query: "key=k&q=three&ttl=1ns&stale=1h", body: "three: value", state: "stale", age: "0"},
		},
		"another status": {
			{query: "key=k&q=one&status=203", free: "value", status: "203", body: "one: value", state: "miss", age: "0"},
			{query: "key=k&q=two&status=203", status: "203", body: "two: value", state: "hit", age: "0", direct: "0"},
			{query: "key=k&q=two&status=200", body: "two: value", state: "hit", age: "0", direct: "1"},
		},
		"a client that wants it new": {
			{query: "key=k&q=one", free: "value", body: "one: value", state: "miss", age: "0"},
			{query: "key=k&q=two&fresh=1", free: "newer", body: "two: newer", state: "miss", age: "0", direct: "0"},
			{query: "key=k&q=two", body: "two: newer", state: "hit", age: "0", direct: "1"},
		},
		"more than there is credit for": {
			{query: "key=k&q=one", free: large, body: "one: " + large, state: "miss", age: "0"},
			{query: "key=k&q=two", body: "two: " + large, state: "hit", age: "0", direct: "0"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := startKeeper(t, 1, 20, 8<<20)
			for i, s := range steps {
				if i == 1 && name == "stale" {
					time.Sleep(20 * time.Millisecond) // a millisecond is the least that a value is fresh
				}
				if s.free != "" {
					go func() { k.free <- s.free }()
				}
				got := k.do(t.Context(), "/answer", s.query)
				status := 200
				if s.status != "" {
					status = 203
				}
				if got.err != nil || got.status != status || got.body.String() != s.body || got.state() != s.state || !aged(got.fields, s.age) ||
					abi.Get(got.fields, "x-kept") != "with it" || abi.Get(got.fields, "content-type") != "text/plain" {
					t.Errorf("%s: %d %v %.99q %v", s.query, got.status, got.fields, got.body.String(), got.err)
				}
				if direct := k.do(t.Context(), "/direct", ""); s.direct != "" && direct.body.String() != s.direct {
					t.Errorf("%s: the host has answered %s times, want %s", s.query, direct.body.String(), s.direct)
				}
			}
			if name == "stale" {
				k.eventually("who was told computes it anew", func() bool { return k.fetches.Load() == 2 })
				// After five seconds somebody is told again.
				k.eventually("the host answers", func() bool {
					k.do(t.Context(), "/answer", steps[2].query)
					return k.do(t.Context(), "/direct", "").body.String() != "0"
				})
			}
		})
	}
}

// aged says whether fields have that age in seconds, or somewhat more: the machine may have hesitated.
func aged(fields []abi.Field, least string) bool {
	got, err := strconv.Atoi(abi.Get(fields, "age"))
	want, _ := strconv.Atoi(least)
	return err == nil && got >= want && got < want+60
}

// TestAnswerAfterTheHead: what has begun is gone on with, by the guest.
func TestAnswerAfterTheHead(t *testing.T) {
	k := startKeeper(t, 1, 20, 1<<20)
	go func() { k.free <- "value" }()
	for _, query := range []string{"key=k&q=one", "key=k&q=two&flush=1"} {
		if s := k.do(t.Context(), "/answer", query); s.err != nil || s.status != 200 || !strings.HasSuffix(s.body.String(), ": value") {
			t.Errorf("%s: %d %q %v", query, s.status, s.body.String(), s.err)
		}
	}
	if s := k.do(t.Context(), "/direct", ""); s.body.String() != "0" {
		t.Errorf("the host has answered %s times", s.body.String())
	}
}

// TestAnswerInAnInstanceOfItsOwn: with isolation fresh nothing of it differs.
func TestAnswerInAnInstanceOfItsOwn(t *testing.T) {
	k := startKeeper(t, 1, 20, 1<<20, func(o *wasm.Options) { o.Fresh = true })
	go func() { k.free <- "value" }()
	var states []string
	for _, query := range []string{"key=k&q=one", "key=k&q=two", "key=k&q=six"} {
		s := k.do(t.Context(), "/answer", query)
		if states = append(states, s.state()); s.err != nil || s.body.String() != query[8:]+": value" {
			t.Errorf("%s: %d %q %v", query, s.status, s.body.String(), s.err)
		}
	}
	if !slices.Equal(states, []string{"miss", "hit", "hit"}) {
		t.Errorf("%q", states)
	}
}

// TestAnswerIsBounded: what is over the plugin's limits of an answer is the guest's failure, as if it had sent it itself.
func TestAnswerIsBounded(t *testing.T) {
	for name, change := range map[string]func(*wasm.Options){
		"answer":  func(o *wasm.Options) { o.Answer = 1000 },
		"headers": func(o *wasm.Options) { o.Headers = 80 },
	} {
		t.Run(name, func(t *testing.T) {
			k := startKeeper(t, 1, 20, 1<<20, change)
			go func() { k.free <- strings.Repeat("v", 1000) }()
			for _, query := range []string{"key=k&q=one", "key=k&q=two"} {
				if s := k.do(t.Context(), "/answer", query); s.err == nil || !strings.Contains(s.err.Error(), "limits."+name) {
					t.Errorf("%s: %d %.40q %v", query, s.status, s.body.String(), s.err)
				}
			}
		})
	}
}
