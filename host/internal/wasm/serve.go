package wasm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/events"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// maxHandovers is how often a request that no guest has seen may be given to another worker.
const maxHandovers = 3

// Serve has a guest answer a request and writes the answer to sink. It returns when the answer is complete or given
// up; nothing of the request is left in the host then. ctx ends when the client is gone. With ErrDraining nothing was
// read and nothing written: another pool may serve the request.
func (p *Pool) Serve(ctx context.Context, req *Request, sink Sink) error {
	p.active.Add(1) // before the look: whoever drains waits for those that it did not keep out
	defer p.leave()
	if p.draining.Load() {
		return ErrDraining
	}
	p.requests.Add(1)

	now := time.Now()
	with, err := p.guard.admit(now)
	if err != nil {
		return err
	}
	if with.again {
		const text = "no worker trapped for a while: requests share workers again"
		p.options.Log.Info(text)
		p.options.Event(events.PluginRecovered, text)
	}
	first, err := readFirst(req.Body)
	if req.Body != nil {
		now = time.Now() // that wait was the client's
	}
	if err == nil {
		err = p.serve(ctx, req, first, sink, with, now)
	}
	p.limits.ended(err)
	p.judge(with, err)
	return err
}

func (p *Pool) serve(ctx context.Context, req *Request, first firstBytes, sink Sink, with pass, start time.Time) error {
	left := req.Timeout
	for try := 0; ; try++ {
		c := newCall(ctx, req, first, start, left)
		var err error
		if with.fresh {
			err = p.serveFresh(c, sink)
		} else {
			err = p.serveShared(c, sink)
		}
		if !errors.Is(err, errUndelivered) {
			return err
		}
		if try == maxHandovers {
			if !first.whole {
				req.Body.Close()
			}
			return errors.Join(ErrNoWorker, errUndelivered)
		}
		left = max(req.Timeout-time.Since(start), time.Millisecond)
	}
}

func (p *Pool) serveShared(c *call, sink Sink) error {
	if err := p.acquire(c.ctx, c); err != nil {
		return err
	}
	defer p.recycle(c.worker)
	return c.serve(sink)
}

func (p *Pool) leave() {
	if p.active.Add(-1) > 0 || !p.draining.Load() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notifyLocked()
}

// firstBytes is the beginning of a request's body; whole says that it is all of it.
type firstBytes struct {
	data  []byte
	whole bool
}

// readFirst waits for the body, or as much of it as the guest has credit for, so that a client that sends
// slowly holds nothing but its own connection.
func readFirst(body Body) (firstBytes, error) {
	if body == nil {
		return firstBytes{whole: true}, nil
	}
	data := make([]byte, 0, 512)
	for len(data) < abi.RequestCredit {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := body.Read(data[len(data):min(cap(data), abi.RequestCredit)])
		data = data[:len(data)+n]
		if err == io.EOF {
			return firstBytes{data, true}, nil
		}
		if err != nil {
			return firstBytes{}, err
		}
	}
	return firstBytes{data, false}, nil
}

// newCall makes a call of a request that came at start and has so much time left.
func newCall(ctx context.Context, req *Request, first firstBytes, start time.Time, left time.Duration) *call {
	c := &call{req: req, ctx: ctx, window: abi.ResponseCredit, notify: make(chan struct{}, 1)}
	if !first.whole {
		c.grant = make(chan struct{}, 1)
	}
	if req.Timeout > 0 {
		c.due = start.Add(req.Timeout)
	} else {
		left = 0
	}
	c.arrival = event{
		kind: abi.Request, code: uint32(req.Route), arg: uint32(left.Milliseconds()),
		fields: req.Fields, body: first.data, call: c,
	}
	if first.whole {
		c.arrival.flags = abi.EventEnd
	}
	return c
}

// serve has the worker that took the call in answer it.
func (c *call) serve(sink Sink) error {
	c.worker.kick()

	var upload chan struct{}
	body := c.req.Body
	if c.grant != nil { // there is more of it
		body.Duplex()
		upload = make(chan struct{})
		go func() {
			defer close(upload)
			c.upload(body)
		}()
	}
	err := c.answer(c.ctx, sink)
	c.finish(err)
	if upload != nil {
		if !errors.Is(err, errUndelivered) { // then another worker reads it; nothing was read here, since no guest gave credit
			body.Close()
		}
		<-upload
	}
	return err
}

// waitFor waits for a worker to be started, as long as the request has time.
func (c *call) waitFor(ctx context.Context, changed <-chan struct{}) error {
	var due <-chan time.Time
	if !c.due.IsZero() {
		timer := time.NewTimer(time.Until(c.due))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-changed:
		return nil
	case <-due:
		return ErrNoWorker
	case <-ctx.Done():
		return ErrGone
	}
}

// finish takes the call out of its worker: operations end, and a guest that is not done with it is told so.
func (c *call) finish(err error) {
	w := c.worker
	w.mu.Lock()
	c.ended = true
	i := uint32(c.id)
	w.slots[i].call = nil
	w.free = append(w.free, i)
	w.calls--
	if w.drained != nil && w.calls == 0 {
		close(w.drained)
	}
	for i := len(c.ops) - 1; i >= 0; i-- { // from the end, because forgetting one moves the last into its place
		if op := c.ops[i]; !op.last {
			w.forget(op)
		}
	}
	c.mu.Lock()
	told := c.end && c.fault == nil
	c.mu.Unlock()
	signal(c.grant) // an upload that waits for credit ends
	tell := c.delivered && (err != nil || !told) && w.pushLocked(event{kind: abi.Cancel, id: c.id, code: reason(err)})
	w.mu.Unlock()
	if tell {
		w.kick()
	}
}

func reason(err error) uint32 {
	switch {
	case errors.Is(err, ErrGone):
		return abi.ClientLeft
	case errors.Is(err, ErrTimeout):
		return abi.OutOfTime
	}
	return abi.Stopped
}

// upload passes the rest of a request's body under credit.
func (c *call) upload(body Body) {
	w := c.worker
	buffer := w.pool.module.engine.buffer()
	defer w.pool.module.engine.reuse(buffer)
	for {
		w.mu.Lock()
		credit, ended := c.credit, c.ended
		w.mu.Unlock()
		if ended {
			return
		}
		if credit == 0 {
			select {
			case <-c.grant:
			case <-c.ctx.Done():
				return
			}
			continue
		}
		n, err := body.Read(buffer[:min(credit, len(buffer))])
		e := event{kind: abi.Body, id: c.id, call: c, body: append([]byte(nil), buffer[:n]...)}
		switch {
		case err == io.EOF:
			e.flags = abi.EventEnd
		case err != nil:
			var big *LimitError
			e.flags, e.code, e.body = abi.EventEnd|abi.EventError, uint32(abi.Reset), []byte(err.Error())
			if errors.As(err, &big) {
				e.code = uint32(abi.TooLarge)
			}
		}
		w.mu.Lock()
		ok := w.makeRoom(n, func() bool { return c.ended }, c.grant, c.ctx.Done())
		if ok {
			c.credit -= n
			ok = w.pushLocked(e)
		}
		w.mu.Unlock()
		if ok {
			w.kick()
		}
		if err != nil || !ok {
			return
		}
	}
}

// answer writes what the guest answers until it is complete.
func (c *call) answer(ctx context.Context, sink Sink) error {
	var timer *time.Timer
	var due <-chan time.Time
	var withdrawn <-chan struct{}
	if c.req.Valid != nil {
		withdrawn = c.req.Valid.Done()
	}
	engine := c.worker.pool.module.engine
	defer func() {
		if timer != nil {
			engine.dropTimer(timer)
		}
	}()
	sent := false
	for {
		done, err := c.advance(ctx, sink, &sent)
		if done || err != nil {
			if err != nil && sent {
				err = errors.Join(err, ErrAborted)
			}
			return err
		}
		if sent && due != nil {
			timer.Stop()
			due = nil
		}
		if !sent && due == nil && !c.due.IsZero() {
			timer = engine.timer(time.Until(c.due))
			due = timer.C
		}
		select {
		case <-c.notify:
		case <-withdrawn:
			if sent {
				return errors.Join(c.withdrawn(), ErrAborted)
			}
			return c.withdrawn()
		case <-due:
			return ErrTimeout
		case <-ctx.Done():
			return ErrGone
		}
	}
}

// withdrawn is the error when whoever asked may not any more.
func (c *call) withdrawn() error {
	return fmt.Errorf("%w: %w", ErrWithdrawn, context.Cause(c.req.Valid))
}

// advance writes what there is to write now. It says whether the answer is complete.
func (c *call) advance(ctx context.Context, sink Sink, sent *bool) (done bool, err error) {
	c.mu.Lock()
	out, shared, flush, end := c.out, c.shared, c.flush, c.end
	status, fields := c.status, c.fields
	hold := c.lazy && len(out) == 0 && !end
	pipe, fault := c.pipe, c.fault
	c.out, c.flush = nil, false
	if status != 0 && !hold && pipe == nil {
		c.sent = true
	}
	c.mu.Unlock()

	if fault != nil && !(fault == errGuestAborted && flush && pipe == nil) { // what the guest had flushed still goes out
		return false, c.because(fault)
	}
	if status == 0 {
		return false, nil
	}
	if pipe != nil {
		return c.runPipe(ctx, sink, pipe, sent, out)
	}
	if hold {
		return false, nil
	}
	if !*sent {
		length := int64(-1)
		if end {
			length = int64(len(out) + len(shared))
		}
		if err := sink.Head(status, fields, length); err != nil {
			return false, ErrGone
		}
		*sent = true
	}
	if len(out) > 0 {
		if err := sink.Write(out); err != nil {
			return false, ErrGone
		}
	}
	if end {
		if len(shared) > 0 && sink.Write(shared) != nil {
			return false, ErrGone
		}
		return true, nil
	}
	if flush || len(out) == 0 {
		if err := sink.Flush(); err != nil {
			return false, ErrGone
		}
	}
	if fault != nil {
		return false, fault
	}
	c.refill(out)
	return false, nil
}

// because turns the end of a worker into the call's own error.
func (c *call) because(fault error) error {
	var answer *AnswerError
	var headers *HeadersError
	switch {
	case errors.Is(fault, errStopped), errors.Is(fault, errGuestAborted), errors.As(fault, &answer), errors.As(fault, &headers):
		return fault
	}
	c.worker.mu.Lock()
	delivered := c.delivered
	c.worker.mu.Unlock()
	if !delivered {
		return errUndelivered
	}
	return &TrapError{fault}
}

// refill lets the guest write as much again as the client has taken.
func (c *call) refill(out []byte) {
	if len(out) == 0 {
		return
	}
	c.mu.Lock()
	c.window += len(out)
	if c.spare == nil {
		c.spare = out[:0]
	}
	c.mu.Unlock()
	if c.worker.push(event{kind: abi.Credit, id: c.id, arg: uint32(len(out)), call: c}) {
		c.worker.kick()
	}
}
