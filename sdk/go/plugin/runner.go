package plugin

import (
	goruntime "runtime"
	"sync"
)

const (
	maxIdle    = 64 // runners that are kept for requests to come
	spareTurns = 3  // how often the spare runner lets others go first before it parks after all
)

// runners are the goroutines that run handlers in a module, where nothing runs in parallel. One of them works off all the
// requests that have come: a goroutine for each would cost as much as a small handler. When a handler waits, another runner goes
// on with the rest.
type runners struct {
	queue []*exchange // requests that no handler has begun
	first int         // of them
	idle  int         // runners that wait for requests
	more  sync.Cond   // on runtime.mu
	turns uint        // each runner that becomes the spare one takes the next number
	spare uint        // that of the spare one; 0 is none
	still bool        // there must be none: the loop looks at the scheduler itself
}

// next takes a request out of the queue, or gives nil. Called with rt.mu held.
func (rt *runtime) next() *exchange {
	if rt.first == len(rt.queue) {
		return nil
	}
	x := rt.queue[rt.first]
	rt.queue[rt.first] = nil
	if rt.first++; rt.first == len(rt.queue) {
		rt.queue, rt.first = rt.queue[:0], 0
	}
	return x
}

// engage has one more runner look at the queue, if there is anything in it. Called with rt.mu held.
func (rt *runtime) engage() bool { //nolint:unparam // the loop of a module uses the result
	if rt.first == len(rt.queue) {
		return false
	}
	rt.active++
	switch {
	case rt.spare != 0:
		rt.spare = 0
	case rt.idle > 0:
		rt.idle--
		rt.more.Signal()
	default:
		rt.workers++
		go rt.work()
	}
	return true
}

// work is a runner. A handler that does not return ends it: the request is answered for, and the loop engages another when there is more.
// The handler is called from here, and with little around it, so that the stack of one that waits can be as small as stacks are.
func (rt *runtime) work() {
	var x *exchange
	defer func() {
		if x != nil {
			x.crashed(recover())
			rt.gone()
		}
	}()
	rt.mu.Lock()
	for {
		if x = rt.next(); x != nil {
			rt.mu.Unlock()
			x.returned(x.handler(&x.response, &x.req))
			continue
		}
		if rt.active--; !rt.rest() {
			rt.workers--
			rt.mu.Unlock()
			return
		}
	}
}

// rest waits until the runner is engaged; false ends it. The first one that has nothing to do becomes the spare one: it stays runnable and lets
// all others go first, which costs less than to park and to be woken. Called with rt.mu held.
func (rt *runtime) rest() bool {
	if rt.spare == 0 && !rt.still {
		rt.turns++
		turn := rt.turns
		rt.spare = turn
		rt.mu.Unlock()
		for range spareTurns {
			goruntime.Gosched()
			if rt.spare != turn || rt.still { // nothing runs in parallel, so a look needs no lock
				break
			}
		}
		rt.mu.Lock()
		if rt.spare != turn {
			return true
		}
		rt.spare = 0
	}
	if rt.idle == maxIdle {
		return false
	}
	rt.idle++
	rt.more.Wait()
	return true
}
