package plugintest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
	"github.com/patchbay-run/patchbay/sdk/go/internal/bridge"
)

const maxEvent = 1 << 20

// piping is one pipe at work.
type piping struct {
	o     *operation
	x     *exchange
	from  io.Reader
	sse   bool
	watch bool
	match []byte
	idle  time.Duration
	stop  func() // ends the reading
	any   bool   // an event was seen
}

// pipeError ends a pipe with a failure.
type pipeError struct {
	code abi.Code
	text string
}

func (e *pipeError) Error() string { return e.text }

// pipe is the operation PIPE.
func (h *Host) pipe(op *bridge.Op) abi.Code {
	x, from := h.exchange(op.Request), h.ops[op.Arg64]
	switch {
	case x == nil || from == nil || from.request != op.Request || from.res == nil:
		return abi.NotFound
	case x.stage == waiting || x.stage == ended || from.opened || from.piped:
		return abi.State
	}
	o, code := h.add(op)
	if code != abi.OK {
		return code
	}
	from.piped = true
	o.cancel = func() { h.endOp(from.id) }
	p := &piping{
		o: o, x: x, from: from.res.Body, sse: op.Flags&abi.OpSSE != 0, watch: op.Flags&abi.OpWatch != 0,
		match: []byte(op.Name), idle: time.Duration(op.Arg) * time.Millisecond, stop: from.cancel,
	}
	h.cond.Broadcast()
	h.work.Add(1)
	go func() {
		defer h.work.Done()
		defer from.res.Body.Close()
		err := p.run()
		h.mu.Lock()
		defer h.mu.Unlock()
		p.end(err)
	}()
	return abi.OK
}

// run moves the body until it ends.
func (p *piping) run() error {
	r := &idleReader{r: p.from, limit: p.idle, stop: p.stop}
	if p.sse {
		return p.events(r)
	}
	buf := make([]byte, maxPiece)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if err := p.put(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return r.failure()
		}
	}
}

// idleReader stops a read that takes too long.
type idleReader struct {
	r     io.Reader
	limit time.Duration
	stop  func()
	timed bool
}

func (r *idleReader) Read(p []byte) (int, error) {
	if r.limit <= 0 {
		return r.r.Read(p)
	}
	timer := time.AfterFunc(r.limit, r.stop)
	n, err := r.r.Read(p)
	if !timer.Stop() && err != nil {
		r.timed = true
	}
	return n, err
}

func (r *idleReader) failure() error {
	if r.timed {
		return &pipeError{abi.Timeout, "the upstream sent nothing for too long"}
	}
	return &pipeError{abi.Reset, "the upstream broke off its answer"}
}

// put sends bytes to the client, as fast as it reads.
func (p *piping) put(b []byte) error {
	h := p.o.host
	h.mu.Lock()
	defer h.mu.Unlock()
	for p.x.outSize > abi.ResponseCredit && h.ops[p.o.id] == p.o {
		h.cond.Wait()
	}
	if h.ops[p.o.id] != p.o {
		return &pipeError{abi.Cancelled, "cancelled"}
	}
	p.x.stage = sent
	p.x.put(b)
	return nil
}

// events reads an event stream and sends each event by itself.
func (p *piping) events(from *idleReader) error {
	r := bufio.NewReaderSize(from, 64<<10)
	var rest, data []byte // the event's lines but data, and its data
	var has bool
	for {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			return nil // an event without its blank line is none
		}
		if err != nil {
			return from.failure()
		}
		line = bytes.TrimRight(line, "\r\n")
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(line) == 0:
			if has {
				if done, err := p.event(rest, data); done || err != nil {
					return err
				}
			}
			rest, data, has = nil, nil, false
		case line[0] == ':':
			if err := p.put(append(bytes.Clone(line), "\n\n"...)); err != nil {
				return err
			}
		case string(name) == "data":
			if has {
				data = append(data, '\n')
			}
			data, has = append(data, value...), true
			if len(data) > maxEvent {
				return &pipeError{abi.TooLarge, "an event over 1 MiB"}
			}
		case string(name) == "event" || string(name) == "id" || string(name) == "retry":
			rest = append(append(rest, line...), '\n')
		}
	}
}

// event sends one event; done says that it was the last.
func (p *piping) event(rest, data []byte) (done bool, err error) {
	if !p.any {
		p.any = true
		var object struct{ Error json.RawMessage }
		if p.x.clean() && json.Unmarshal(data, &object) == nil && object.Error != nil {
			return true, &pipeError{abi.Reset, string(data)}
		}
	}
	if p.watch && bytes.Contains(data, p.match) {
		p.show(data)
	}
	out := bytes.Clone(rest)
	for _, line := range bytes.Split(data, []byte("\n")) {
		out = append(out, "data: "...)
		out = append(escape(out, line), '\n')
	}
	return string(data) == "[DONE]", p.put(append(out, '\n'))
}

// clean reports whether nothing was sent yet.
func (x *exchange) clean() bool {
	x.host.mu.Lock()
	defer x.host.mu.Unlock()
	return x.stage < sent
}

// show delivers an event to the guest under credit.
func (p *piping) show(data []byte) {
	h := p.o.host
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(data) > 0 {
		for p.o.credit == 0 && h.ops[p.o.id] == p.o {
			h.cond.Wait()
		}
		if h.ops[p.o.id] != p.o {
			return
		}
		n := min(len(data), p.o.credit, abi.MinData)
		p.o.credit -= n
		p.o.tell(event{Event: abi.Event{Kind: abi.Chunk}, rest: bytes.Clone(data[:n])})
		data = data[n:]
	}
}

// end tells the guest how it went. Called with mu held.
func (p *piping) end(err error) {
	h, x := p.o.host, p.x
	if h.ops[p.o.id] != p.o {
		return // cancelled
	}
	fail, failed := err.(*pipeError)
	if !failed {
		p.o.tell(event{Event: abi.Event{Kind: abi.Done, Flags: abi.EventEnd}})
		x.stage = ended
		h.release(x)
		return
	}
	p.o.tell(failure(abi.Done, fail.code, fail.text))
	if x.stage < sent {
		return
	}
	if p.sse && x.events {
		text, _ := json.Marshal(fail.text)
		x.put([]byte(`data: {"error":{"message":` + string(text) + "}}\n\n"))
	} else {
		x.aborted = ErrAborted
	}
	x.stage = ended
	h.release(x)
}

// escape appends line with what is beyond ASCII as JSON escapes.
func escape(b, line []byte) []byte {
	for len(line) > 0 {
		r, n := utf8.DecodeRune(line)
		line = line[n:]
		switch {
		case r < utf8.RuneSelf:
			b = append(b, byte(r))
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, hi, lo)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return b
}
