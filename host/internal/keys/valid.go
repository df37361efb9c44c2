package keys

import (
	"context"
	"errors"
	"time"
)

// Why a key is good no longer: the causes of what GateOptions.Admitted is given. Their texts are for clients.
var (
	ErrRevoked = errors.New("the API key has been revoked")
	ErrExpired = errors.New("the API key has expired")
)

// recheck is how long a key's expiry may be slept through at most: timers do not see a clock that is set, or a machine that sleeps.
const recheck = time.Minute

// force is a Set in force, and what ends when one of its keys does. Only keys that are good have one.
type force struct {
	*Set
	valid map[*key]*validity
}

type validity struct {
	context.Context
	end context.CancelCauseFunc
}

// follow makes what is in force after old, nil for nothing. A key that is in both, and was good all the time, goes on. It must be
// called under mu.
func (s *Set) follow(old *force, now time.Time) *force {
	f := &force{s, map[*key]*validity{}}
	for id, k := range s.byID {
		if k.state(now) != good {
			continue
		}
		if old != nil {
			if was := old.byID[id]; was != nil && was.salt == k.salt && was.sum == k.sum && old.valid[was] != nil && old.valid[was].Err() == nil {
				f.valid[k] = old.valid[was]
				continue
			}
		}
		v := &validity{}
		v.Context, v.end = context.WithCancelCause(context.Background())
		f.valid[k] = v
	}
	return f
}

// lapse ends what is over: of old what is not in f any more, and of f what has expired. It returns when the next key does, zero for
// never. A key that is not there any more counts as revoked.
func (f *force) lapse(old *force, now time.Time) (next time.Time) {
	kept := make(map[*validity]bool, len(f.valid))
	for k, v := range f.valid {
		kept[v] = true
		switch {
		case k.state(now) != good:
			v.end(ErrExpired)
		case !k.expires.IsZero() && (next.IsZero() || k.expires.Before(next)):
			next = k.expires
		}
	}
	if old == nil {
		return next
	}
	for k, v := range old.valid {
		if kept[v] {
			continue
		}
		why := ErrRevoked
		if k.state(now) == expired {
			why = ErrExpired
		}
		v.end(why) // the first call counts
	}
	return next
}
