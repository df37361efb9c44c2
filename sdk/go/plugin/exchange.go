package plugin

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// exchange is one request with its response. Its scope is the request's context.
type exchange struct {
	scope
	handler  Handler
	body     *body // nil when the request came whole and without one
	wait     parking
	credit   int         // bytes of the response that may be sent; guarded by rt.mu
	fields   []abi.Field // of the request, and of others after it
	req      Request
	response Response
}

// begin takes in a new request and has its handler run. Called with mu held.
func (rt *runtime) begin(e *abi.Event, block, first []byte) {
	x := &exchange{scope: scope{rt: rt, request: e.ID}, credit: abi.ResponseCredit}
	fields, err := abi.AppendFields(rt.blank(), block)
	x.fields = fields
	if err == nil {
		err = rt.admit(x)
	}
	if err == nil && (rt.plugin == nil || int(e.Code) >= len(rt.plugin.routes)) {
		rt.release(x)
		err = errors.New("no such route")
	}
	if err != nil {
		rt.host.Log(e.ID, abi.LevelError, "request dropped: "+err.Error())
		rt.record(abi.OpCancel, e.ID, 0)
		rt.submit()
		return
	}
	x.handler = rt.plugin.routes[e.Code]
	x.req.fill(x, fields)
	x.response.x, x.response.header = x, x.response.first[:0]
	if len(first) > 0 || e.Flags&abi.EventEnd == 0 {
		x.body = &body{scope: &x.scope, window: abi.RequestCredit, opened: true}
		x.body.deliver(&abi.Event{Flags: e.Flags}, first)
		x.req.Body = x.body
	} else {
		x.req.Body = noBody{}
	}
	if rt.serial {
		rt.queue = append(rt.queue, x)
	} else {
		rt.spawn(x.run)
	}
}

// run is a goroutine of its own for the handler. A panic, and a call of runtime.Goexit, is a fault of this request alone.
func (x *exchange) run() {
	returned := false
	defer func() {
		if !returned {
			x.crashed(recover())
		}
	}()
	err := x.handler(&x.response, &x.req)
	returned = true
	x.returned(err)
	x.rt.mu.Unlock()
}

// returned acts on what the handler returned. It comes back with mu held.
func (x *exchange) returned(err error) {
	if err != nil && x.Err() == nil { // when it was cancelled, nobody reads the answer
		x.logCause(err)
		err = x.response.fail(err)
	}
	x.rt.mu.Lock()
	x.finish(err)
}

// crashed answers for a handler that did not return. It runs while the handler's stack is still there to be shown.
func (x *exchange) crashed(v any) {
	what := "handler called runtime.Goexit"
	if v != nil {
		what = fmt.Sprintf("handler panicked: %v", v)
	}
	x.rt.host.Log(x.request, abi.LevelError, what+"\n"+string(debug.Stack()))
	var err error
	if x.Err() == nil {
		err = x.response.fail(&Error{Status: 500, Detail: internalError})
	}
	x.rt.mu.Lock()
	x.finish(err)
	x.rt.mu.Unlock()
}

// finish ends the response, unless err says why there can be none, and with it the request. Called with mu held.
func (x *exchange) finish(err error) {
	rt := x.rt
	if x.err == nil {
		if err == nil {
			err = x.response.close()
		}
		if err != nil && !errors.Is(err, ErrCancelled) {
			rt.host.Log(x.request, abi.LevelWarn, "answer not sent: "+err.Error())
			x.abort()
		}
	}
	rt.release(x)
	x.end(context.Canceled)
	rt.recycle(x.response.buf)
	rt.wipe(x.fields)
	x.response.buf, x.fields = nil, nil
}

// end wakes whoever still waits within the request, and ends its scope. Called with mu held.
func (x *exchange) end(err error) {
	x.scope.end(err)
	x.rt.wake(&x.wait)
	if x.body != nil {
		x.rt.wake(&x.body.wait)
	}
}

// cancelled acts on the event CANCEL: the request has ended, whatever the handler still does. Called with mu held.
func (x *exchange) cancelled(reason uint32) {
	x.rt.release(x)
	if reason == abi.OutOfTime {
		x.end(context.DeadlineExceeded)
	} else {
		x.end(context.Canceled)
	}
}

// abort gives the request up: the host closes its connection, or says 502 when nothing was sent. Called with mu held.
func (x *exchange) abort() {
	if x.err == nil {
		x.rt.record(abi.OpCancel, x.request, 0)
		x.rt.submit()
	}
}

// logCause logs what the client must not see of err. The detail is the client's: it may quote what a person wrote.
func (x *exchange) logCause(err error) {
	e := AsError(err)
	level := abi.LevelWarn
	if e.Status >= 500 {
		level = abi.LevelError
	} else if e.Err == nil {
		return // the client was told everything
	}
	text := fmt.Sprintf("answered %d", e.Status)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	x.rt.host.Log(x.request, level, text)
}
