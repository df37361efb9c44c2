package wasm

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// Request is one request for a guest.
type Request struct {
	ID      string      // for logs
	Route   int         // index into the manifest's routes
	Fields  []abi.Field // sdk/ABI.md, section 7
	Body    Body        // nil for none
	Timeout time.Duration
	// Valid ends, with a cause, when whoever asked may not any more; nil never does. It may be shared by many requests.
	Valid context.Context
	// Streams says that the answer may be longer than the plugin's answer limit.
	Streams bool
	// ErrorEvents says that the client understands a failure of a running event stream as an event.
	ErrorEvents bool
}

// Body is a request's body. Close makes a Read that is under way return; the engine calls it when it wants no more.
type Body interface {
	io.ReadCloser
	// Duplex is called before the answer begins when the body may be read on after that.
	Duplex()
}

// LimitError is what a Body gives when it is longer than it may be.
type LimitError struct{ Limit int64 }

// Error names the limit.
func (e *LimitError) Error() string {
	return fmt.Sprintf("the request's body is over the limit of %d bytes", e.Limit)
}

// Sink is where an answer goes. Its methods are called by the goroutine that called Serve, and by no other.
// An error of any of them means that the client is gone.
type Sink interface {
	// Head comes first, once. length is the body's length in bytes, or -1 when it is not known yet.
	Head(status int, fields []abi.Field, length int64) error
	// Write must not keep p.
	Write(p []byte) error
	Flush() error
}

// call is one request in a worker, from its arrival until its answer is complete or given up.
type call struct {
	id     uint64
	worker *worker
	req    *Request
	ctx    context.Context
	due    time.Time // of the head; zero is no limit

	arrival event // the request, until a worker has it

	// Guarded by worker.mu.
	delivered bool          // the guest has taken the request
	ended     bool          // no event of it may be taken any more
	ops       []*operation  // unfinished ones
	credit    int           // of the request's body, granted and unused
	grant     chan struct{} // capacity 1: credit was added

	mu     sync.Mutex // guards what follows
	status int        // 0: no head yet
	fields []abi.Field
	lazy   bool
	sent   bool // the head is the client's; set by the goroutine of Serve
	out    []byte
	shared []byte // what comes behind out, as the last of the answer; nobody may change it
	spare  []byte // the buffer that was out before, to be used again
	window int    // bytes that the guest may still write
	total  int64  // bytes written so far
	flush  bool
	end    bool
	pipe   *pipe
	fault  error
	notify chan struct{} // capacity 1: something above changed
}

func (c *call) wake() {
	select {
	case c.notify <- struct{}{}:
	default:
	}
}

// begun says whether the answer has a head, or is about to end with the reason why not.
func (c *call) begun() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status != 0 || c.fault != nil
}

// within is how long an operation may take until its reply, when it was given so long, 0 for no bound: no longer than there is time for
// the head, as long as that is not sent.
func (c *call) within(given time.Duration) time.Duration {
	if c.due.IsZero() || c.begun() {
		return given
	}
	left := max(time.Until(c.due), time.Millisecond)
	if given == 0 {
		return left
	}
	return min(given, left)
}

// fail ends the call from the host's side: what was not sent yet becomes an error of Serve.
func (c *call) fail(fault error) {
	c.mu.Lock()
	if c.fault == nil {
		c.fault = fault
	}
	c.mu.Unlock()
	c.wake()
}

// setHead is HEAD and, with END, the whole answer.
func (c *call) setHead(status uint32, block, body []byte, flags uint16) abi.Code {
	if status < 200 || status > 599 {
		return abi.Invalid
	}
	fields, err := abi.ParseBlock(block)
	if err != nil || !validHeaders(fields) {
		return abi.Invalid
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.end || c.pipe != nil, c.status != 0 && !(c.lazy && !c.sent && len(c.out) == 0):
		return abi.State
	case len(body) > c.window:
		return abi.NoCredit
	}
	if limit := c.worker.pool.options.Headers; limit > 0 && len(block) > limit {
		c.fault = &HeadersError{Limit: limit}
		c.wake()
		return abi.TooLarge
	}
	c.status, c.fields = int(status), fields
	c.lazy = flags&abi.OpLazy != 0
	return c.append(body, flags)
}

// answerable says whether an operation with a body of so many bytes may still answer the request.
func (c *call) answerable(first int) abi.Code {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.status != 0 || c.end:
		return abi.State
	case first > c.window:
		return abi.NoCredit
	}
	return abi.OK
}

// answerWith gives the whole answer: 200 with those headers, and the two as its body. It says false, and has done nothing, when the guest could not
// have given it at once.
func (c *call) answerWith(fields []abi.Field, first, rest []byte) bool {
	options := &c.worker.pool.options
	length := len(first) + len(rest)
	switch {
	case options.Headers > 0 && abi.BlockSize(fields) > options.Headers, !validHeaders(fields), int64(length) > options.Answer && !c.req.Streams:
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status != 0 || c.end || c.fault != nil || length > c.window {
		return false
	}
	c.status, c.fields, c.shared = 200, fields, rest
	c.total += int64(len(rest))
	return c.append(first, abi.OpEnd) == abi.OK
}

// write is WRITE.
func (c *call) write(body []byte, flags uint16) abi.Code {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.end || c.pipe != nil || c.status == 0:
		return abi.State
	case len(body) > c.window:
		return abi.NoCredit
	}
	return c.append(body, flags)
}

// append takes more of the answer; c.mu is held.
func (c *call) append(body []byte, flags uint16) abi.Code {
	limit := c.worker.pool.options.Answer
	if c.total += int64(len(body)); c.total > limit && !c.req.Streams {
		c.fault = &AnswerError{Limit: limit}
		c.wake()
		return abi.TooLarge
	}
	if c.out == nil {
		c.out, c.spare = c.spare, nil
	}
	c.out = append(c.out, body...)
	c.window -= len(body)
	c.flush = c.flush || flags&abi.OpFlush != 0
	c.end = flags&abi.OpEnd != 0
	if c.end || !c.lazy || len(c.out) > 0 {
		c.wake()
	}
	return abi.OK
}

// validHeaders says whether names and values may stand in an HTTP message. What looks like two lines is refused here,
// so that no guest can write a header of its own into somebody's answer.
func validHeaders(fields []abi.Field) bool {
	for _, f := range fields {
		if f.Name == "" || f.Name[0] == ':' {
			return false
		}
		for i := range len(f.Name) {
			if !tokenByte(f.Name[i]) {
				return false
			}
		}
		for i := range len(f.Value) {
			if b := f.Value[i]; b < ' ' && b != '\t' || b == 0x7f {
				return false
			}
		}
	}
	return true
}

// tokenByte is tchar of RFC 9110, 5.6.2, without capitals: names of headers are in lower case.
func tokenByte(b byte) bool {
	switch {
	case b >= 'a' && b <= 'z', b >= '0' && b <= '9':
		return true
	}
	switch b {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
		return true
	}
	return false
}
