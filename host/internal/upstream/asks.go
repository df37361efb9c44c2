package upstream

import "context"

// asks are what a context asks of the calls that are made in it. They lie under one key: a chain of contexts is long, and what is looked for is
// mostly not there.
type asks struct {
	addressed, idempotent, alone bool
	observe                      func(Attempt) // nil is nobody
}

// asksKey marks a context, see asks.
type asksKey struct{}

func asksOf(ctx context.Context) asks {
	a, _ := ctx.Value(asksKey{}).(*asks)
	if a == nil {
		return asks{}
	}
	return *a
}

func (a asks) in(ctx context.Context) context.Context { return context.WithValue(ctx, asksKey{}, &a) }

// Addressed marks the calls of a context as ones for the endpoint that their URL is on, as long as it
// is available: one endpoint may send its callers to another.
func Addressed(ctx context.Context) context.Context {
	a := asksOf(ctx)
	a.addressed = true
	return a.in(ctx)
}

// Idempotent marks the calls of a context as ones that may be sent twice, whatever their method.
func Idempotent(ctx context.Context) context.Context {
	a := asksOf(ctx)
	a.idempotent = true
	return a.in(ctx)
}

// Alone says that a context was made for one call and ends when that is over. Other contexts may live on: a call in them takes one of its
// own, because net/http leaves something in that of a call that failed.
func Alone(ctx context.Context) context.Context {
	a := asksOf(ctx)
	a.alone = true
	return a.in(ctx)
}

// Attempt is one try of a call on one endpoint.
type Attempt struct {
	Addr   string // of the endpoint, host:port
	Status int    // of the answer; 0 is none
	Err    error  // why there is none
}

// Observe has each attempt of a context's calls to a named upstream told to f, on the goroutine that calls Do, before Do returns.
func Observe(ctx context.Context, f func(Attempt)) context.Context {
	a := asksOf(ctx)
	a.observe = f
	return a.in(ctx)
}
