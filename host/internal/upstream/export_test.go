package upstream

import "context"

// CheckAddress lets the table test try addresses that no test may dial.
var CheckAddress = checkAddress

// SumMetric reads pages that no server of a test would send.
var SumMetric = sumMetric

// Check looks at the first endpoint once, as a Set does again and again.
func (u *Upstream) Check(ctx context.Context) error {
	return u.newProber(u.pool.set).check(ctx, u.members[0], u.health.Path)
}

// RetryAfter reads headers at a given time.
var RetryAfter = retryAfter
