package capability

import (
	"fmt"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/cache"
	"github.com/patchbay-run/patchbay/host/internal/trace"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// keeper is a plugin's part of the cache.
type keeper struct {
	plugin Plugin
	space  *cache.Space // nil: it has no grant
}

func newCache(h *Host, p Plugin, t *Table) {
	k := &keeper{plugin: p}
	if c := h.Parts().Cache; c != nil && p.Grant.Cache > 0 {
		k.space = c.Space(p.Name, int64(p.Grant.Cache))
	}
	t.Quick[abi.OpCacheGet] = wasm.Quick{Begin: k.get}
	t.Quick[abi.OpCachePut] = wasm.Quick{Do: k.put, Headers: true}
	t.Quick[abi.OpCacheOnce] = wasm.Quick{Begin: k.once, Headers: true}
	t.Quick[abi.OpCacheDelete] = wasm.Quick{Do: k.remove}
}

// check is why an operation is not done.
func (k *keeper) check(in *wasm.Operation) error {
	switch {
	case k.space == nil:
		return k.plugin.refuse(in, fmt.Sprintf("plugin %q may keep nothing: add to its grant: cache: 16MiB", k.plugin.Name))
	case in.Name == "" || len(in.Name) > abi.MaxCacheKey:
		return &abi.Error{Code: abi.Invalid, Text: fmt.Sprintf("cache: a key has 1 to %d bytes, not %d", abi.MaxCacheKey, len(in.Name))}
	}
	return nil
}

func (k *keeper) get(in *wasm.Operation, _ func(*wasm.Reply, error)) (*wasm.Reply, wasm.Session, error) {
	span := trace.Cache(in.Context, "get")
	if err := k.check(in); err != nil {
		return nil, nil, kept(span, err)
	}
	return told(span, reply(k.space.Get(in.Name))), nil, nil
}

func (k *keeper) put(in *wasm.Operation) (err error) {
	if span := trace.Cache(in.Context, "put"); span != nil {
		defer func() { _ = kept(span, err) }()
	}
	if err := k.check(in); err != nil {
		return err
	}
	if in.Flags&abi.OpFailed != 0 {
		return &abi.Error{Code: abi.Invalid, Text: "cache: only who computes a value can say that it failed"}
	}
	if !k.space.Put(in.Name, value(in), keep(in)) {
		return &abi.Error{Code: abi.TooLarge, Text: "cache: the value is larger than the plugin's part of the cache"}
	}
	return nil
}

func (k *keeper) remove(in *wasm.Operation) (err error) {
	if span := trace.Cache(in.Context, "delete"); span != nil {
		defer func() { _ = kept(span, err) }()
	}
	if err := k.check(in); err != nil {
		return err
	}
	k.space.Delete(in.Name)
	return nil
}

func (k *keeper) once(in *wasm.Operation, later func(*wasm.Reply, error)) (*wasm.Reply, wasm.Session, error) {
	span := trace.Cache(in.Context, "once")
	if err := k.check(in); err != nil {
		return nil, nil, kept(span, err)
	}
	ask := cache.Ask{
		NoCache: in.Flags&abi.OpNoCache != 0,
		Refresh: in.Flags&abi.OpRefresh != 0,
		Here:    in.Alone,
		Lead:    milliseconds(in.Arg64),
	}
	r, ticket := k.space.Once(in.Name, ask, func(r cache.Result) { later(told(span, reply(r)), nil) })
	switch {
	case ticket == nil && in.Flags&abi.OpAnswer != 0:
		return told(span, answering(in, reply(r))), nil, nil
	case ticket == nil:
		return told(span, reply(r)), nil, nil
	case r.State == cache.Waiting:
		return nil, lease{ticket, span}, nil
	}
	return told(span, reply(r)), lease{ticket, span}, nil
}

// lease is a caller's turn to compute, or its wait for one.
type lease struct {
	ticket *cache.Ticket
	span   *trace.Span // of the wait; ended already for who computes
}

// Tell is CACHE_PUT with the operation's id: what came of the computation.
func (l lease) Tell(in *wasm.Operation) (over bool, err error) {
	if span := trace.Cache(in.Context, "put"); span != nil {
		defer func() { _ = kept(span, err) }()
	}
	heard := false
	switch {
	case in.Code != abi.OpCachePut:
		return false, &abi.Error{Code: abi.Invalid, Text: "cache: an operation that leads ends with a value or a failure"}
	case in.Flags&abi.OpFailed != 0:
		heard = l.ticket.Fail(in.Body, time.Duration(in.Arg)*time.Millisecond)
	default:
		heard = l.ticket.Put(value(in), keep(in))
	}
	if !heard {
		return false, &abi.Error{Code: abi.State, Text: "cache: it is not this operation's turn to compute"}
	}
	return true, nil
}

// End lets somebody else have the turn.
func (l lease) End() {
	l.ticket.Drop()
	l.span.End()
}

// keep is how long CACHE_PUT wants its value kept.
func keep(in *wasm.Operation) cache.Keep {
	return cache.Keep{TTL: time.Duration(in.Arg) * time.Millisecond, Stale: milliseconds(in.Arg64)}
}

// milliseconds is a duration from the guest, at most the 49 days that an arg of 32 bits can say.
func milliseconds(n uint64) time.Duration { return time.Duration(min(n, 1<<32-1)) * time.Millisecond }

// told ends the span of an operation with what came of it.
func told(span *trace.Span, r *wasm.Reply) *wasm.Reply {
	if span != nil {
		span.Result(result(r.Status))
		span.End()
	}
	return r
}

// kept ends the span, if there is one, of an operation that has no result but an error, if any.
func kept(span *trace.Span, err error) error {
	if span != nil {
		if err != nil {
			span.Fail(codeWord(err), "")
		}
		span.End()
	}
	return err
}

// result is a status of the cache in a word.
func result(status int) string {
	switch status {
	case abi.CacheHit:
		return "hit"
	case abi.CacheStale:
		return "stale"
	case abi.CacheShared:
		return "shared"
	case abi.CacheLead:
		return "lead"
	case abi.CacheBusy:
		return "busy"
	case abi.CacheFailed:
		return "failed"
	}
	return "miss"
}

// answering gives a value that was asked for as the answer to its request the headers of one, so that it need not pass through the guest. Who is to compute it
// anew has to be told instead.
func answering(in *wasm.Operation, r *wasm.Reply) *wasm.Reply {
	if r.Status != abi.CacheHit && r.Status != abi.CacheStale || r.Flags&abi.EventRefresh != 0 {
		return r
	}
	headers := append(make([]abi.Field, 0, len(in.Fields)+len(r.Fields)+2), in.Fields...)
	r.Answer = abi.AppendCached(headers, r.Fields, time.Duration(r.Arg)*time.Millisecond, result(r.Status))
	return r
}

// value is what CACHE_PUT wants kept.
func value(in *wasm.Operation) cache.Value {
	v := cache.Value{Data: in.Body}
	if len(in.Fields) > 0 {
		v.Head = abi.AppendBlock(nil, in.Fields)
	}
	return v
}

func reply(r cache.Result) *wasm.Reply {
	fields, _ := abi.ParseBlock(r.Head) // value has made it
	out := &wasm.Reply{Data: r.Data, Fields: fields, Arg: uint32(min(r.Age.Milliseconds(), 1<<32-1))}
	switch r.State {
	case cache.Hit:
		out.Status = abi.CacheHit
	case cache.Stale:
		out.Status = abi.CacheStale
		if r.Refresh {
			out.Flags = abi.EventRefresh
		}
	case cache.Shared:
		out.Status = abi.CacheShared
	case cache.Lead:
		out.Status, out.Open = abi.CacheLead, true
	case cache.Busy:
		out.Status = abi.CacheBusy
	case cache.Failed:
		out.Status = abi.CacheFailed
	default:
		out.Status = abi.CacheMiss
	}
	return out
}
