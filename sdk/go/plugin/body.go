package plugin

import (
	"errors"
	"io"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// body is a body on its way into the guest: a request's, or that of a fetch's answer. What was delivered waits here until it is read;
// the host sends no more than the window, and reading gives back what was read.
type body struct {
	scope *scope
	id    uint64 // of the operation; 0: the request's body
	wait  parking

	// Guarded by the runtime's mu.
	cur    []byte   // delivered and not read
	more   [][]byte // after cur
	err    error    // why it broke off, or may not be read any more
	window int      // credit that is out when nothing waits to be read
	owed   int      // bytes read for which no credit was given yet
	end    bool     // all was delivered
	opened bool     // credit was given
}

// deliver adds what an event brings.
func (b *body) deliver(e *abi.Event, data []byte) {
	if e.Flags&abi.EventError != 0 {
		if b.err == nil {
			b.err = b.failure(e, string(data))
		}
	} else if len(data) > 0 {
		data = append([]byte(nil), data...)
		if b.cur == nil {
			b.cur = data
		} else {
			b.more = append(b.more, data)
		}
	}
	if e.Flags&(abi.EventEnd|abi.EventError) != 0 {
		b.end = true
	}
	b.scope.rt.wake(&b.wait)
}

// failure is the error of a body that broke off.
func (b *body) failure(e *abi.Event, text string) error {
	code := abi.Code(e.Code)
	if b.id != 0 {
		return &FetchError{Code: code, Text: text, RetryAfter: time.Duration(e.Arg) * time.Millisecond}
	}
	cause := &abi.Error{Code: code, Text: text}
	switch code {
	case abi.TooLarge:
		return &Error{Status: 413, Detail: "The request's body is too large.", Err: cause}
	case abi.Timeout:
		return &Error{Status: 408, Detail: "The request's body did not arrive in time.", Err: cause}
	}
	return &Error{Status: 400, Detail: "The request's body broke off.", Err: cause}
}

// Read gives what has arrived, and waits only when nothing has.
func (b *body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	rt := b.scope.rt
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if err := b.fill(); err != nil {
		return 0, err
	}
	n := copy(p, b.cur)
	b.consume(n)
	return n, nil
}

// WriteTo hands on what arrives as it is, so that io.Copy needs no buffer of its own.
func (b *body) WriteTo(w io.Writer) (int64, error) {
	rt := b.scope.rt
	for total := int64(0); ; {
		rt.mu.Lock()
		err := b.fill()
		if err != nil {
			rt.mu.Unlock()
			if err == io.EOF {
				err = nil
			}
			return total, err
		}
		part := b.cur
		b.consume(len(part))
		last := b.cur == nil && b.err == nil && b.end
		rt.mu.Unlock()
		n, err := w.Write(part)
		total += int64(n)
		if err != nil || last {
			return total, err
		}
	}
}

// fill waits until cur holds something. Called with mu held.
func (b *body) fill() error {
	for b.cur == nil {
		switch {
		case b.err != nil:
			return b.err
		case b.end:
			return io.EOF
		case b.scope.err != nil:
			return scopeError(b.scope.err)
		case !b.opened:
			b.opened = true
			b.grant(b.window)
			continue
		}
		b.scope.rt.park(&b.wait)
	}
	return nil
}

// consume drops n bytes of cur and gives credit for them, in halves of the window so that small reads cost no operation each.
func (b *body) consume(n int) {
	if b.cur = b.cur[n:]; len(b.cur) == 0 {
		b.cur = nil
		if len(b.more) > 0 {
			b.cur, b.more = b.more[0], b.more[1:]
		}
	}
	if b.owed += n; b.owed >= b.window/2 && !b.end {
		b.grant(b.owed)
		b.owed = 0
	}
}

func (b *body) grant(n int) {
	b.scope.rt.record(abi.OpRead, b.scope.request, b.id).Arg = uint32(n)
	b.scope.rt.submit()
}

// errTooLong says that a body is longer than its reader wants.
var errTooLong = errors.New("body over the limit")

// all reads the rest, at most limit bytes. A body that came in one piece is not copied. size is what its length was announced as, or 0.
func (b *body) all(limit, size int64) ([]byte, error) {
	rt := b.scope.rt
	rt.mu.Lock()
	defer rt.mu.Unlock()
	var whole []byte
	for {
		err := b.fill()
		if err == io.EOF {
			return whole, nil
		}
		if err != nil {
			return nil, err
		}
		if int64(len(whole))+int64(len(b.cur)) > limit {
			return nil, errTooLong
		}
		if whole == nil && b.end && len(b.more) == 0 {
			whole = b.cur
		} else {
			if whole == nil {
				whole = make([]byte, 0, max(min(size, limit, 1<<20), int64(len(b.cur))))
			}
			whole = append(whole, b.cur...)
		}
		b.consume(len(b.cur))
	}
}
