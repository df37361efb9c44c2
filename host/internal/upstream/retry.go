package upstream

import (
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// jitter is how much of a delay is left to chance, more or less.
const jitter = 0.25

// retries sends calls again that may be. A nil one does not.
type retries struct {
	set      config.Retry
	executor failsafe.Executor[*outcome]
	budget   budget
}

// outcome is how one attempt of a call ended.
type outcome struct {
	resp  *http.Response
	err   error
	again bool          // another attempt follows
	after time.Duration // the Retry-After, 0 is none
}

func newRetries(c config.Retry) *retries {
	if c.Max <= 0 {
		return nil
	}
	policy := retrypolicy.NewBuilder[*outcome]().
		HandleIf(func(o *outcome, _ error) bool { return o != nil && o.again }).
		WithMaxRetries(c.Max).
		WithBackoff(c.Delay, c.MaxDelay).
		WithJitterFactor(jitter).
		WithDelayFunc(func(exec failsafe.ExecutionAttempt[*outcome]) time.Duration {
			if o := exec.LastResult(); o != nil && o.after > 0 {
				return notBefore(o.after)
			}
			return -1 // the back-off
		}).
		ReturnLastFailure().
		Build()
	return &retries{set: c, executor: failsafe.With(policy), budget: budget{share: c.Budget, tokens: burst(c.Budget)}}
}

// notBefore is a delay that jitter leaves no shorter than after.
func notBefore(after time.Duration) time.Duration {
	return time.Duration(float64(after)/(1-jitter)) + 1
}

// allows says whether a request may be sent again after it reached an upstream.
func (r *retries) allows(req *http.Request, idempotent bool) bool {
	if r == nil || hasBody(req.Body) && req.GetBody == nil {
		return false
	}
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, "":
		return true
	}
	return idempotent
}

// do makes attempts until one is good, or not worth another. name is for errors.
func (r *retries) do(ctx context.Context, name string, attempt func(n int) outcome, worth func(*outcome) bool) (*http.Response, error) {
	var last outcome
	n := 0
	_, _ = r.executor.WithContext(ctx).Get(func() (*outcome, error) {
		n++
		last = attempt(n)
		last.again = n <= r.set.Max && worth(&last) && r.wait(ctx, &last, n) && r.budget.withdraw()
		if last.again && last.resp != nil {
			_ = last.resp.Body.Close() // not while the place in the pool would wait with us
		}
		return &last, nil
	})
	if last.again { // and none followed: the context ended between two attempts
		return nil, contextError(ctx, name)
	}
	return last.resp, last.err
}

// wait looks for a Retry-After after n attempts, and says whether there is time for it, or for the back-off without one. Both are
// taken at their longest: an answer that is there is worth more than a deadline that passes in a sleep.
func (r *retries) wait(ctx context.Context, o *outcome, n int) bool {
	delay := time.Duration(min(float64(r.set.MaxDelay), float64(r.set.Delay)*math.Exp2(float64(n-1))))
	if o.resp != nil {
		o.after = retryAfter(o.resp.Header.Get("Retry-After"), time.Now())
	}
	if o.after > 0 {
		delay = notBefore(o.after)
	}
	longest := time.Duration(float64(delay) * (1 + jitter))
	if o.after > 0 && longest > r.set.MaxWait {
		return false
	}
	deadline, ok := ctx.Deadline()
	return !ok || longest < time.Until(deadline)
}

// retryAfter reads RFC 9110, 10.2.3: seconds, or a date. It is 0 for anything else.
func retryAfter(value string, now time.Time) time.Duration {
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// worthAnother says whether an attempt ended in what may not happen again.
func (u *Upstream) worthAnother(o *outcome) bool {
	switch {
	case o.err == nil:
		return slices.Contains(u.retries.set.Statuses, o.resp.StatusCode)
	case errors.Is(o.err, ErrResponseTimeout): // the same endpoint would take its time again
		return len(u.members) > 1
	}
	return dialFailed(o.err) || errors.Is(o.err, ErrReset)
}

// budget bounds retries to a share of the calls: each call brings a part of a token, each retry takes a
// whole one. A bound on retries at the same time, as failsafe-go has it, is none when they fail at once.
type budget struct {
	share float64

	mu        sync.Mutex // guards what follows
	tokens    float64
	exhausted uint64 // retries that there was no token for
}

// burst is how many retries there may be that no calls have paid for yet.
func burst(share float64) float64 { return min(10, 100*share) }

func (b *budget) deposit() {
	b.mu.Lock()
	b.tokens = min(b.tokens+b.share, burst(b.share))
	b.mu.Unlock()
}

func (b *budget) refused() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.exhausted
}

func (b *budget) withdraw() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tokens < 1 {
		b.exhausted++
		return false
	}
	b.tokens--
	return true
}
