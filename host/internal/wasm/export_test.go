package wasm

import (
	"context"
	"errors"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// Batch is the engine's event path without Serve: n requests are put into the mailbox of the pool's first worker, polls on
// this goroutine work them off, and their answers are taken. The pool serves nothing else meanwhile.
func (p *Pool) Batch(req *Request, body []byte, n int) error {
	w := p.workers[0]
	calls := make([]*call, n)
	for i := range calls {
		c := &call{req: req, ctx: context.Background(), window: abi.ResponseCredit, notify: make(chan struct{}, 1)}
		c.arrival = event{kind: abi.Request, flags: abi.EventEnd, code: uint32(req.Route), fields: req.Fields, body: body, call: c}
		if !w.admit(c) {
			return errors.New("the worker took no more")
		}
		calls[i] = c
	}
	w.kick()
	for _, c := range calls {
		<-c.notify
		c.mu.Lock()
		status, end := c.status, c.end
		c.mu.Unlock()
		if status != 200 || !end {
			return errors.New("a request was not answered")
		}
		c.finish(nil)
	}
	return nil
}

// Later has the pool believe that so much more time has passed since it last trapped.
func (p *Pool) Later(d time.Duration) {
	g := p.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.traps {
		g.traps[i] = g.traps[i].Add(-d)
	}
	if !g.until.IsZero() {
		g.until = g.until.Add(-d)
	}
	g.open = g.open.Add(-d)
}

// Worker starts one more worker, as the pool would, and leaves it outside of the pool. The caller calls end.
func (p *Pool) Worker(ctx context.Context) (end func(), err error) {
	w, err := p.startWorker(ctx, false)
	if err != nil {
		return nil, err
	}
	return w.close, nil
}
