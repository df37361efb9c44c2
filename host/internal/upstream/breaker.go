package upstream

import (
	"fmt"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/events"
)

// breaker stops calls to an upstream that fails as a whole. A nil one lets everything through.
type breaker struct {
	set     config.Breaker
	circuit circuitbreaker.CircuitBreaker[any]
}

func newBreaker(upstream string, c config.Breaker, event teller) *breaker {
	if c.FailureRate <= 0 {
		return nil
	}
	circuit := circuitbreaker.NewBuilder[any]().
		WithFailureRateThreshold(c.FailureRate, uint(max(1, c.MinCalls)), c.Window).
		WithDelay(c.Open).
		WithSuccessThresholdRatio(1, uint(max(1, c.Trials))).
		OnOpen(func(circuitbreaker.StateChangedEvent) {
			event(events.BreakerOpened, upstream, fmt.Sprintf("too many calls failed: nothing is asked for %v", c.Open))
		}).
		OnHalfOpen(func(circuitbreaker.StateChangedEvent) {
			event(events.BreakerHalfOpen, upstream, "calls try whether it is better")
		}).
		OnClose(func(circuitbreaker.StateChangedEvent) {
			event(events.BreakerClosed, upstream, "it answers again")
		}).
		Build()
	return &breaker{set: c, circuit: circuit}
}

// enter asks for a call. When it returns true the call must end in leave; else retry says when the
// breaker may let one through.
func (b *breaker) enter() (trial, ok bool, retry time.Duration) {
	if b == nil {
		return false, true, 0
	}
	if !b.circuit.TryAcquirePermit() {
		return false, false, b.circuit.RemainingDelay()
	}
	return b.circuit.IsHalfOpen(), true, 0
}

// leave takes what a call says. A trial must say something, or its place would be lost: one that
// nobody waited for counts as failed. Once the breaker is not closed only trials count: a call that
// began before it opened knows of a time that is past.
func (b *breaker) leave(trial bool, v verdict) {
	switch {
	case b == nil, !trial && !b.circuit.IsClosed():
	case v == good:
		b.circuit.RecordSuccess()
	case v == bad, trial:
		b.circuit.RecordFailure()
	}
}

// state is "closed", "open" or "half-open"; "" without a breaker.
func (b *breaker) state() string {
	if b == nil {
		return ""
	}
	if b.circuit.IsOpen() && b.circuit.RemainingDelay() == 0 {
		return circuitbreaker.HalfOpenState.String() // it says so itself only when the next call comes
	}
	return b.circuit.State().String()
}
