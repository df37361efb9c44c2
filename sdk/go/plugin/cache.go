package plugin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// Cache says how the plugin's values are kept in the host's memory, beyond a request, a worker and a version of the plugin: what a value
// depends on belongs into its key. The host bounds what a plugin may keep, and forgets what it likes; nothing that must not be lost belongs there.
// A key is any text but "". The operator sees what lies under keys that begin with "status:", if it is text of up to 1 KiB.
type Cache struct {
	TTL   time.Duration // so long a value is fresh
	Stale time.Duration // so long after that Once may still give it out, while one caller computes it anew
	// Failed is how long others are given an error of Once instead of trying themselves. 0 is a second; when it is negative they try.
	Failed time.Duration
	// Lead is how long compute may take before the next one who waits tries too, at most ten minutes; 0 is a minute.
	Lead time.Duration
	// NoCache has Once take no value that is kept. It still waits for one that is being computed.
	NoCache bool
}

// Keep is how long one value is kept. It begins as the Cache says.
type Keep struct {
	TTL, Stale time.Duration
	Header     Header // what is kept with the value: headers of an answer that is made of it. An "age" is that of the value when it was kept, in seconds
}

// Cached is a value with where it is from.
type Cached struct {
	Value  []byte // the caller's own
	Age    time.Duration
	State  CacheState
	Header Header // what Keep had
}

// CacheState is where a value is from.
type CacheState uint8

// The states of a Cached.
const (
	CacheMiss   CacheState = abi.CacheMiss   // it was computed for this call
	CacheHit    CacheState = abi.CacheHit    // it was kept
	CacheStale  CacheState = abi.CacheStale  // it was kept, and is past its time
	CacheShared CacheState = abi.CacheShared // another call computed it meanwhile
)

// String is the state as X-Cache has it.
func (s CacheState) String() string {
	switch s {
	case CacheHit:
		return "hit"
	case CacheStale:
		return "stale"
	case CacheShared:
		return "shared"
	}
	return "miss"
}

const (
	failedDefault = time.Second
	valueWindow   = abi.MinData // a value up to this comes in one event
)

// Get is the value of key if it is fresh. Without a grant it is ErrDenied.
func (c *Cache) Get(ctx context.Context, key string) (value []byte, ok bool, err error) {
	op, err := ask(ctx, abi.OpCacheGet, key, 0, 0, nil)
	if err != nil {
		return nil, false, err
	}
	defer op.release()
	if op.reply.Status != abi.CacheHit {
		return nil, false, nil
	}
	value, err = op.all(abi.MaxCacheValue, 0)
	return value, err == nil, err
}

// Put keeps a value of up to 8 MiB. It is ErrTooLarge when the plugin may not keep so much, and without a grant ErrDenied.
func (c *Cache) Put(ctx context.Context, key string, value []byte) error {
	return change(ctx, abi.OpCachePut, key, value, c.keep())
}

// Delete forgets a value. Without a grant it is ErrDenied.
func (c *Cache) Delete(ctx context.Context, key string) error {
	return change(ctx, abi.OpCacheDelete, key, nil, Keep{})
}

// Once is the value of key. When there is none, compute makes it and everybody else who asks meanwhile, in any worker, waits for it; when the one who
// computes is cancelled, the next in line does. An error of compute goes to all who wait, as the *Error that AsError makes of it, and is kept
// for a moment in the place of a value.
//
// A stale value comes at once. One caller is then chosen to have compute run again in the background, after its own request perhaps: so compute
// must use the context that it is given, and of the request only what was copied. It may change keep for the value that it returns.
//
// A cache that is not granted, or out of order, fails nothing: then compute runs for each call. A value over 8 MiB is neither kept nor shared.
func (c *Cache) Once(ctx context.Context, key string, compute func(ctx context.Context, keep *Keep) ([]byte, error)) (*Cached, error) {
	return c.once(ctx, key, nil, compute)
}

func (c *Cache) keep() Keep { return Keep{TTL: c.TTL, Stale: c.Stale} }

// once is Once, or nil when the host has given the value as the answer, which it does where w is not nil.
func (c *Cache) once(ctx context.Context, key string, w *Response, compute func(ctx context.Context, keep *Keep) ([]byte, error)) (*Cached, error) {
	flags := uint16(0)
	if c.NoCache {
		flags = abi.OpNoCache
	}
	op, err := ask(ctx, abi.OpCacheOnce, key, flags, c.Lead, w)
	if err != nil {
		if ctx.Err() != nil || errors.Is(err, ErrCancelled) {
			return nil, err
		}
		keep := c.keep()
		value, err := compute(ctx, &keep)
		return made(value, keep, err)
	}
	if op == nil {
		return nil, nil
	}
	defer op.release()
	state := op.reply.Status
	if state == abi.CacheLead {
		value, keep, err := c.lead(ctx, op, compute)
		if err != nil && ctx.Err() == nil {
			// In a worker that ends with its request a stale value is computed anew in the foreground.
			if old := stale(ctx, key); old != nil {
				return old, nil
			}
		}
		return made(value, keep, err)
	}
	value, err := op.all(abi.MaxCacheValue, 0)
	if err != nil {
		return nil, err
	}
	switch state {
	case abi.CacheFailed:
		return nil, readFailure(value)
	case abi.CacheStale:
		if op.flags&abi.EventRefresh != 0 {
			c.refresh(op.scope.rt, key, compute)
		}
	}
	return op.cached(value), nil
}

// cached is the value with what the event said of it.
func (op *operation) cached(value []byte) *Cached {
	return &Cached{value, time.Duration(op.arg) * time.Millisecond, CacheState(op.reply.Status), op.reply.Header}
}

// made is what a call has computed itself.
func made(value []byte, keep Keep, err error) (*Cached, error) {
	if err != nil {
		return nil, err
	}
	return &Cached{Value: value, Header: keep.Header}, nil
}

// stale is a value of key that is past its time, or nil.
func stale(ctx context.Context, key string) *Cached {
	op, err := ask(ctx, abi.OpCacheGet, key, 0, 0, nil)
	if err != nil {
		return nil
	}
	defer op.release()
	if op.reply.Status != abi.CacheStale {
		return nil
	}
	value, err := op.all(abi.MaxCacheValue, 0)
	if err != nil {
		return nil
	}
	return op.cached(value)
}

// lead computes the value for all who wait.
func (c *Cache) lead(ctx context.Context, op *operation, compute func(context.Context, *Keep) ([]byte, error)) ([]byte, Keep, error) {
	keep := c.keep()
	value, err := compute(ctx, &keep)
	switch {
	case err == nil:
		op.settle(value, keep, 0)
	case ctx.Err() == nil && c.Failed >= 0:
		failed := c.Failed
		if failed == 0 {
			failed = failedDefault
		}
		op.settle(writeFailure(err), Keep{TTL: failed}, abi.OpFailed)
	}
	return value, keep, err // what was not settled is released: the next in line tries
}

// refresh computes the value anew, in the background.
func (c *Cache) refresh(rt *runtime, key string, compute func(context.Context, *Keep) ([]byte, error)) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	rt.spawn(func() {
		ctx := &rt.back
		defer func() {
			if v := recover(); v != nil {
				rt.host.Log(0, abi.LevelError, fmt.Sprintf("refresh of a cached value panicked: %v\n%s", v, debug.Stack()))
			}
		}()
		op, err := ask(ctx, abi.OpCacheOnce, key, abi.OpRefresh, c.Lead, nil)
		if err != nil {
			return // the value stays as it is
		}
		defer op.release()
		if op.reply.Status != abi.CacheLead {
			return
		}
		if _, _, err := c.lead(ctx, op, compute); err != nil && ctx.Err() == nil {
			e := AsError(err)
			text := fmt.Sprintf("refresh of a cached value failed with %d", e.Status)
			if e.Err != nil {
				text += ": " + e.Err.Error()
			}
			rt.host.Log(0, abi.LevelWarn, text)
		}
	})
}

// ask submits an operation on a key and waits for its result. The caller releases it. With w the host may answer the request instead: then it is nil.
func ask(ctx context.Context, code abi.OpCode, key string, flags uint16, lead time.Duration, w *Response) (*operation, error) {
	s := scopeOf(ctx)
	if s == nil {
		return nil, &FetchError{Code: abi.Invalid, Text: "cache: the context descends neither from Request.Context nor from Plugin.Context"}
	}
	if ctx != context.Context(s) && ctx.Err() != nil {
		return nil, scopeError(ctx.Err())
	}
	op := s.rt.blankOp()
	op.body = body{scope: s, window: valueWindow, opened: true}
	if answered, err := op.askFor(code, key, flags, lead, w); err != nil || answered {
		return nil, err
	}
	if ctx != context.Context(s) {
		op.follow(ctx)
	}
	s.rt.mu.Lock()
	if _, err := op.await(); err != nil {
		return nil, err
	}
	return op, nil
}

// blankOp is an operation to fill in.
func (rt *runtime) blankOp() *operation {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	op := rt.unused
	rt.unused = nil
	if op == nil {
		op = &operation{}
	}
	return op
}

func (op *operation) askFor(code abi.OpCode, key string, flags uint16, lead time.Duration, w *Response) (answered bool, err error) {
	rt := op.scope.rt
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if op.scope.err != nil {
		return false, scopeError(op.scope.err)
	}
	if !rt.attach(op) {
		return false, &FetchError{Code: abi.Limit, Text: "cache: too many operations"}
	}
	record := rt.record(code, op.scope.request, op.id)
	record.Name, record.Flags, record.Arg = shortKey(key), flags, valueWindow
	record.Arg64 = uint64(milliseconds(lead))
	if w != nil && rt.encode(w.header) {
		record.Fields, record.Body, record.Flags = rt.block, w.buf, flags|abi.OpAnswer
	}
	switch code := rt.submit(); code {
	case abi.OK:
		return false, nil
	case abi.Answered:
		op.detach()
		*op = operation{} // nobody else knows of it
		rt.unused = op
		w.stage = ended
		return true, nil
	default:
		err := op.scope.refused("cache", code)
		op.fail(err)
		return false, err
	}
}

// settle is what came of a computation. Nothing is lost when the host takes it no more.
func (op *operation) settle(value []byte, keep Keep, flags uint16) {
	rt := op.scope.rt
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if rt.operation(op.id) != op {
		return
	}
	record := rt.record(abi.OpCachePut, op.scope.request, op.id)
	record.Body, record.Flags = value, flags
	record.Arg, record.Arg64 = milliseconds(keep.TTL), uint64(milliseconds(keep.Stale))
	if len(keep.Header) > 0 && rt.encode(keep.Header) {
		record.Fields = rt.block
	}
	if rt.submit() == abi.OK {
		op.detach()
	}
}

// release ends the operation if it still goes on.
func (op *operation) release() {
	op.scope.rt.mu.Lock()
	over := op.stop == nil && op.end // what most of them are: all of it came in one event
	op.scope.rt.mu.Unlock()
	if !over {
		op.Close()
	}
}

// change is an operation that ends at once.
func change(ctx context.Context, code abi.OpCode, key string, value []byte, keep Keep) error {
	s := scopeOf(ctx)
	switch {
	case s == nil:
		return &FetchError{Code: abi.Invalid, Text: "cache: the context descends neither from Request.Context nor from Plugin.Context"}
	case len(value) > abi.MaxCacheValue:
		return &FetchError{Code: abi.TooLarge, Text: "cache: a value is at most 8 MiB"}
	case ctx.Err() != nil:
		return scopeError(ctx.Err())
	}
	rt := s.rt
	rt.mu.Lock()
	defer rt.mu.Unlock()
	record := rt.record(code, s.request, 0)
	record.Name, record.Body = shortKey(key), value
	record.Arg, record.Arg64 = milliseconds(keep.TTL), uint64(milliseconds(keep.Stale))
	if code := rt.submit(); code != abi.OK {
		return s.refused("cache", code)
	}
	return nil
}

// shortKey is a key as the host takes it.
func shortKey(key string) string {
	if len(key) <= abi.MaxCacheKey {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// milliseconds is d for the host, rounded up.
func milliseconds(d time.Duration) uint32 {
	return uint32(min(max((d+time.Millisecond-1)/time.Millisecond, 0), 1<<32-1))
}

// sharedError is an *Error on its way to those who wait, perhaps in other workers.
type sharedError struct {
	Status     int           `json:"status"`
	Detail     string        `json:"detail"`
	RetryAfter time.Duration `json:"retry_after,omitempty"`
}

// errShared is the cause of an error that another call has had, which logged it.
var errShared = errors.New("another call for the same value failed")

func writeFailure(err error) []byte {
	e := AsError(err)
	b, _ := json.Marshal(sharedError{e.Status, e.Detail, e.RetryAfter}) // it has no value that JSON has not
	return b
}

func readFailure(b []byte) error {
	var e sharedError
	if err := json.Unmarshal(b, &e); err != nil {
		return &Error{Status: 500, Detail: internalError, Err: errShared}
	}
	return &Error{Status: e.Status, Detail: e.Detail, RetryAfter: e.RetryAfter, Err: errShared}
}
