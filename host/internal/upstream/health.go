package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/events"
)

// judge says what the end of a call means for the endpoint it was sent to. What the caller, the pool
// or the policy ended means nothing: a plugin with a short deadline must not cost others an endpoint.
func (u *Upstream) judge(resp *http.Response, err error) verdict {
	switch {
	case err == nil && slices.Contains(u.health.Statuses, resp.StatusCode):
		return bad
	case err == nil:
		return good
	case dialFailed(err), errors.Is(err, ErrResponseTimeout), errors.Is(err, ErrReset), errors.Is(err, ErrProtocol):
		return bad
	}
	return neutral
}

// dialFailed says that no connection was made, so that nothing was sent.
func dialFailed(err error) bool {
	return errors.Is(err, ErrConnect) || errors.Is(err, ErrConnectTimeout)
}

// note takes what a call says of m, and leaves m out for a time when it has failed too often, or
// again just after it came back.
func (u *Upstream) note(m *member, v verdict, took time.Duration, now time.Time) {
	streak := m.record.note(v, took, now)
	if v == good && m.ejected.Load() && m.available(now) && m.ejected.Swap(false) {
		u.event(events.EndpointReturned, u.name+" "+m.name, "a call went well again")
	}
	if v != bad || u.health.Failures == 0 {
		return
	}
	if _, returning := m.returning(now, u.health.SlowStart); streak >= u.health.Failures || returning {
		u.eject(m, now)
	}
}

// eject leaves m out, twice as long as the last time when that was not long ago. The last endpoint
// that is available stays.
func (u *Upstream) eject(m *member, now time.Time) {
	if length, ok := u.leaveOut(m, now); ok {
		u.event(events.EndpointEjected, u.name+" "+m.name, fmt.Sprintf("calls to it failed: it is left out for %v", length))
	}
}

func (u *Upstream) leaveOut(m *member, now time.Time) (length time.Duration, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !m.available(now) || !u.othersLocked(m, now) {
		return 0, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	since := int64(now.Sub(m.born)) - m.until.Load()
	if m.ejection == 0 || since > int64(2*m.ejection+u.health.SlowStart) {
		m.ejection = u.health.Ejection
	} else {
		m.ejection = min(2*m.ejection, u.health.MaxEjection)
	}
	m.ejections++
	m.streak = 0
	m.until.Store(int64(now.Sub(m.born) + m.ejection))
	m.ejected.Store(true)
	return m.ejection, true
}

// othersLocked says whether an endpoint beside m is available.
func (u *Upstream) othersLocked(m *member, now time.Time) bool {
	return slices.ContainsFunc(u.members, func(o *member) bool { return o != m && o.available(now) })
}

// checked takes the outcome of an active check. An endpoint that fails is down until a check goes well,
// the last one too: when none is left, all are tried.
func (u *Upstream) checked(m *member, err error, now time.Time) {
	switch changed := m.check(err, u.health.Failures, now); {
	case !changed:
	case err == nil:
		u.event(events.EndpointReturned, u.name+" "+m.name, "a check went well again")
	default:
		u.event(events.EndpointEjected, u.name+" "+m.name, fmt.Sprintf("%d checks failed, the last one: %v", u.health.Failures, err))
	}
}

// check notes the outcome of an active check, and says whether it changed what the endpoint is taken for. So many failures in a row mean
// that it is down; 0 never do.
func (r *record) check(err error, failures int, now time.Time) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.checks, r.problem = 0, ""
		if !r.down.Swap(false) {
			return false
		}
		r.until.Store(max(1, r.until.Load(), int64(now.Sub(r.born))))
		return true
	}
	r.checks++
	r.problem = err.Error()
	return failures > 0 && r.checks >= failures && !r.down.Swap(true)
}
