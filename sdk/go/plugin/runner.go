package plugin

import "sync"

// maxIdle is how many runners are kept for requests to come.
const maxIdle = 64

// runners are the goroutines that run handlers in a module, where nothing runs in parallel. One of them works off all the
// requests that have come: a goroutine for each would cost as much as a small handler. When a handler waits, another runner goes
// on with the rest.
type runners struct {
	queue []*exchange // requests that no handler has begun
	first int         // of them
	idle  int         // runners that wait for requests
	more  sync.Cond   // on runtime.mu
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
	if rt.idle > 0 {
		rt.idle--
		rt.more.Signal()
		return true
	}
	rt.workers++
	go rt.work()
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
			rt.mu.Lock()
			continue
		}
		if rt.idle == maxIdle {
			rt.workers--
			rt.active--
			rt.mu.Unlock()
			return
		}
		rt.idle++
		rt.active--
		rt.more.Wait()
	}
}
