package plugintest

import (
	"bytes"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
	"github.com/patchbay-run/patchbay/sdk/go/internal/bridge"
)

// cache is what the plugin keeps. It forgets nothing before its time. All of it is guarded by Host.mu.
type cache struct {
	passed  time.Duration // by Pass
	kept    map[string]*kept
	flights map[string]*flight
}

// kept is a value, or a failure in the place of one.
type kept struct {
	data       []byte
	fields     []byte
	made       time.Time
	ttl, stale time.Duration
	failed     bool
	offered    bool // somebody was asked to refresh it
}

// flight is a computation: who does it, and who waits for it.
type flight struct {
	leader  *operation
	waiting []*operation
}

// Pass makes everything that is kept older.
func (h *Host) Pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cache != nil {
		h.cache.passed += d
	}
}

func (c *cache) now() time.Time { return time.Now().Add(c.passed) }

// find is what is kept under key, with its state: CacheHit, CacheStale, CacheFailed or CacheMiss.
func (c *cache) find(key string) (*kept, uint32) {
	k := c.kept[key]
	switch age := c.age(k); {
	case k == nil || age >= k.ttl+k.stale:
		return nil, abi.CacheMiss
	case k.failed:
		return k, abi.CacheFailed
	case age < k.ttl:
		return k, abi.CacheHit
	}
	return k, abi.CacheStale
}

func (c *cache) age(k *kept) time.Duration {
	if k == nil {
		return 0
	}
	return c.now().Sub(k.made)
}

// cacheOp is an operation of the cache. Called with mu held.
func (h *Host) cacheOp(op *bridge.Op) abi.Code {
	switch {
	case op.Code == abi.OpCachePut && op.ID != 0:
		return h.settle(op)
	case op.ID == 0 && h.cache == nil:
		return abi.Denied
	case (op.Name == "" || len(op.Name) > abi.MaxCacheKey) && op.ID == 0:
		return abi.Invalid
	case op.Code == abi.OpCachePut:
		h.cache.put(op.Name, op)
		return abi.OK
	case op.Code == abi.OpCacheDelete:
		delete(h.cache.kept, op.Name)
		return abi.OK
	}
	o, code := h.add(op)
	if code != abi.OK {
		return code
	}
	o.credit = int(op.Arg)
	switch {
	case h.cache == nil:
		o.tell(failure(abi.Done, abi.Denied, "the plugin may keep nothing: add to its grant: cache: 16MiB (in a test: the option plugintest.Cached)"))
	case op.Name == "" || len(op.Name) > abi.MaxCacheKey:
		o.tell(failure(abi.Done, abi.Invalid, "cache: a key has 1 to 1024 bytes"))
	case op.Code == abi.OpCacheGet:
		k, state := h.cache.find(op.Name)
		if state == abi.CacheFailed {
			k, state = nil, abi.CacheMiss
		}
		h.found(o, k, state, 0)
	default:
		return h.once(o, op)
	}
	return abi.OK
}

// once is CACHE_ONCE.
func (h *Host) once(o *operation, op *bridge.Op) abi.Code {
	c := h.cache
	k, state := c.find(op.Name)
	f := c.flights[op.Name]
	noCache, refresh := op.Flags&abi.OpNoCache != 0, op.Flags&abi.OpRefresh != 0
	switch {
	case state == abi.CacheHit && !noCache, state == abi.CacheStale && !noCache && !refresh:
		var flags uint16
		if state == abi.CacheStale && f == nil && !k.offered {
			k.offered, flags = true, abi.EventRefresh
		}
		if flags == 0 && op.Flags&abi.OpAnswer != 0 && h.answerWith(op, k, state) {
			return abi.Answered
		}
		h.found(o, k, state, flags)
	case state == abi.CacheFailed:
		h.found(o, k, state, 0)
	case f != nil && refresh:
		h.found(o, nil, abi.CacheBusy, 0)
	case f != nil:
		f.waiting = append(f.waiting, o)
		o.cancel = func() { h.leave(op.Name, f, o) }
	default:
		f = &flight{}
		c.flights[op.Name] = f
		h.leads(op.Name, f, o)
	}
	return abi.OK
}

// answerWith gives a value as the answer to the request, which ends with it.
func (h *Host) answerWith(op *bridge.Op, k *kept, state uint32) bool {
	headers, err := abi.ParseBlock(op.Fields)
	if err != nil {
		return false
	}
	kept, _ := abi.ParseBlock(k.fields)
	word := map[uint32]string{abi.CacheHit: "hit", abi.CacheStale: "stale"}[state]
	return h.head(&bridge.Op{
		Code: abi.OpHead, Flags: abi.OpEnd, Request: op.Request, Arg: 200,
		Fields: abi.AppendBlock(nil, abi.AppendCached(headers, kept, h.cache.age(k), word)),
		Body:   append(bytes.Clone(op.Body), k.data...),
	}) == abi.OK
}

// leads lets o compute.
func (h *Host) leads(key string, f *flight, o *operation) {
	f.leader, o.key = o, key
	o.cancel = func() { h.leave(key, f, o) }
	o.tell(event{Event: abi.Event{Kind: abi.Done, Code: abi.CacheLead}})
}

// leave takes o out of a flight; if it led, the next one does.
func (h *Host) leave(key string, f *flight, o *operation) {
	for i, w := range f.waiting {
		if w == o {
			f.waiting = append(f.waiting[:i], f.waiting[i+1:]...)
			break
		}
	}
	switch {
	case f.leader != o:
	case len(f.waiting) == 0:
		delete(h.cache.flights, key)
	default:
		next := f.waiting[0]
		f.waiting = f.waiting[1:]
		h.leads(key, f, next)
	}
}

// settle is CACHE_PUT by who leads.
func (h *Host) settle(op *bridge.Op) abi.Code {
	o := h.ops[op.ID]
	if o == nil || o.key == "" {
		return abi.NotFound
	}
	c, key := h.cache, o.key
	f := c.flights[key]
	delete(c.flights, key)
	state := uint32(abi.CacheShared)
	before, was := c.find(key)
	switch {
	case op.Flags&abi.OpFailed == 0:
		c.put(key, op)
	case was == abi.CacheStale:
		state, before.offered = abi.CacheFailed, false
	default:
		state = abi.CacheFailed
		c.put(key, op)
		c.kept[key].failed = true
	}
	k := &kept{data: bytes.Clone(op.Body), fields: bytes.Clone(op.Fields), made: c.now()}
	for _, w := range f.waiting {
		w.cancel = func() {}
		h.found(w, k, state, 0)
	}
	o.cancel = func() {}
	h.endOp(o.id)
	return abi.OK
}

func (c *cache) put(key string, op *bridge.Op) {
	c.kept[key] = &kept{
		data: bytes.Clone(op.Body), fields: bytes.Clone(op.Fields), made: c.now(),
		ttl: time.Duration(op.Arg) * time.Millisecond, stale: time.Duration(op.Arg64) * time.Millisecond,
	}
}

// found answers with a value, in pieces when it is large.
func (h *Host) found(o *operation, k *kept, state uint32, flags uint16) {
	e := event{Event: abi.Event{Kind: abi.Done, Code: state, Flags: flags}}
	if k == nil {
		e.Flags |= abi.EventEnd
		o.tell(e)
		return
	}
	e.Arg, e.fields = uint32(h.cache.age(k).Milliseconds()), k.fields
	if len(k.data) <= min(o.credit, abi.MinData) {
		e.rest, e.Flags = k.data, e.Flags|abi.EventEnd
		o.tell(e)
		return
	}
	o.tell(e)
	h.work.Add(1)
	go func() {
		defer h.work.Done()
		h.mu.Lock()
		defer h.mu.Unlock()
		for rest := k.data; len(rest) > 0 && h.ops[o.id] == o; {
			if o.credit == 0 {
				h.cond.Wait()
				continue
			}
			n := min(len(rest), o.credit, maxPiece)
			piece := event{Event: abi.Event{Kind: abi.Chunk}, rest: rest[:n]}
			rest = rest[n:]
			o.credit -= n
			if len(rest) == 0 {
				piece.Flags = abi.EventEnd
			}
			o.tell(piece)
		}
	}()
}
