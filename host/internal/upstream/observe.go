package upstream

import (
	"context"
	"net/http"
)

// observerKey marks a context, see Observe.
type observerKey struct{}

// Attempt is one try of a call on one endpoint.
type Attempt struct {
	Addr   string // of the endpoint, host:port
	Status int    // of the answer; 0 is none
	Err    error  // why there is none
}

// Observe has each attempt of a context's calls to a named upstream told to f, on the goroutine that calls Do, before Do returns.
func Observe(ctx context.Context, f func(Attempt)) context.Context {
	return context.WithValue(ctx, observerKey{}, f)
}

func observe(ctx context.Context, addr string, resp *http.Response, err error) {
	f, ok := ctx.Value(observerKey{}).(func(Attempt))
	if !ok {
		return
	}
	a := Attempt{Addr: addr, Err: err}
	if resp != nil {
		a.Status = resp.StatusCode
	}
	f(a)
}
