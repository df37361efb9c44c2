package upstream

import (
	"errors"
	"net/http"
	"slices"
	"time"
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
	u.mu.Lock()
	defer u.mu.Unlock()
	if !m.available(now) || !u.othersLocked(m, now) {
		return
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
}

// othersLocked says whether an endpoint beside m is available.
func (u *Upstream) othersLocked(m *member, now time.Time) bool {
	return slices.ContainsFunc(u.members, func(o *member) bool { return o != m && o.available(now) })
}

// checked takes the outcome of an active check. An endpoint that fails is down until a check goes well,
// the last one too: when none is left, all are tried.
func (u *Upstream) checked(m *member, err error, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.checks, m.problem = 0, ""
		if m.down.Swap(false) {
			m.until.Store(max(1, m.until.Load(), int64(now.Sub(m.born))))
		}
		return
	}
	m.checks++
	m.problem = err.Error()
	if u.health.Failures > 0 && m.checks >= u.health.Failures {
		m.down.Store(true)
	}
}
