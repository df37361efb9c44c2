package telemetry

import "context"

// Answer is how a request has been answered so far.
type Answer struct {
	Method   string // "other" for one that nobody knows
	Route    string // its pattern, see SetRoute; "unmatched" when there is none
	Status   int    // 0: nothing is written yet
	Probe    bool
	Upgraded bool // it goes on as a websocket
}

// Answered tells how the request of ctx has been answered so far, from the request's own goroutine. ok is false outside a tracked
// request.
func Answered(ctx context.Context) (a Answer, ok bool) {
	rec, ok := ctx.Value(contextKey{}).(*record)
	if !ok {
		return Answer{}, false
	}
	return Answer{Method: rec.method, Route: rec.route, Status: rec.status, Probe: rec.probe, Upgraded: rec.ended}, true
}
