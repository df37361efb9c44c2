package wasm

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

const maxEvent = 1 << 20 // bytes of one event

var errEventTooLarge = &abi.Error{Code: abi.TooLarge, Text: "an event of the stream is over 1 MiB"}

// copyEvents reads an event stream (WHATWG HTML, 9.2.5) and sends each event by itself: one write, one flush. Data is
// escaped to ASCII, since there are clients that decode each network chunk alone.
func copyEvents(source io.Reader, out *pipeOut) error {
	r := eventReader{r: bufio.NewReaderSize(source, 8<<10)}
	var buffer []byte
	for {
		e, err := r.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if text := upstreamError(e.data); text != nil {
			if *out.sent && out.call.req.ErrorEvents {
				return errors.Join(out.write(appendEvent(buffer[:0], e)), errToldAlready)
			}
			if *out.sent {
				return errToldAlready // without its words, which may quote the prompt: this error is logged
			}
			return &abi.Error{Code: abi.Reset, Text: string(text)}
		}
		buffer = appendEvent(buffer[:0], e)
		if err := out.write(buffer); err != nil {
			return err
		}
		if err := out.saw(e.data); err != nil {
			return err
		}
		if string(e.data) == "[DONE]" {
			return nil
		}
	}
}

// streamEvent is one event: what stood before its data line by line (comments, event, id, retry), and its data.
type streamEvent struct {
	other   []byte
	data    []byte
	hasData bool
}

type eventReader struct {
	r      *bufio.Reader
	line   []byte
	skipLF bool
	begun  bool
	event  streamEvent
}

// next gives the next event. It is valid until the call after it. A stream that ends within an event gives what there is of it.
func (r *eventReader) next() (*streamEvent, error) {
	e := &r.event
	e.other, e.data, e.hasData = e.other[:0], e.data[:0], false
	for {
		line, err := r.readLine()
		if err != nil && !(err == io.EOF && len(line) > 0) {
			if err == io.EOF && (e.hasData || len(e.other) > 0) {
				return e, nil
			}
			return nil, err
		}
		if len(line) == 0 {
			if e.hasData || len(e.other) > 0 {
				return e, nil
			}
			continue
		}
		if len(e.other)+len(e.data)+len(line) > maxEvent {
			return nil, errEventTooLarge
		}
		if value, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			if e.hasData {
				e.data = append(e.data, '\n')
			}
			e.hasData = true
			e.data = append(e.data, bytes.TrimPrefix(value, []byte(" "))...)
			continue
		}
		if string(line) == "data" {
			if e.hasData {
				e.data = append(e.data, '\n')
			}
			e.hasData = true
			continue
		}
		e.other = append(append(e.other, line...), '\n')
		if line[0] == ':' && !e.hasData && r.r.Buffered() == 0 {
			return e, nil // a heartbeat must not wait for the event after it
		}
	}
}

// readLine reads a line that ends in CR, LF or both, without its end.
func (r *eventReader) readLine() ([]byte, error) {
	r.line = r.line[:0]
	for {
		b, err := r.r.ReadByte()
		if err != nil {
			return r.whole(), err
		}
		if r.skipLF {
			r.skipLF = false
			if b == '\n' {
				continue
			}
		}
		if b == '\n' || b == '\r' {
			r.skipLF = b == '\r'
			return r.whole(), nil
		}
		if len(r.line) == maxEvent {
			return nil, errEventTooLarge
		}
		r.line = append(r.line, b)
	}
}

// whole is the line that was read. A byte order mark before the first one is no part of it.
func (r *eventReader) whole() []byte {
	if !r.begun {
		r.begun = true
		r.line = bytes.TrimPrefix(r.line, []byte("\uFEFF"))
	}
	return r.line
}

// appendEvent writes an event as the clients want it.
func appendEvent(b []byte, e *streamEvent) []byte {
	b = append(b, e.other...)
	if e.hasData {
		for line := range bytes.SplitSeq(e.data, []byte("\n")) {
			b = append(b, "data: "...)
			b = appendASCII(b, line)
			b = append(b, '\n')
		}
	}
	return append(b, '\n')
}

// appendASCII escapes what is beyond ASCII as JSON does, which is the same text within a JSON string.
func appendASCII(b, text []byte) []byte {
	for len(text) > 0 {
		if text[0] < utf8.RuneSelf {
			b = append(b, text[0])
			text = text[1:]
			continue
		}
		r, n := utf8.DecodeRune(text)
		text = text[n:]
		if r1, r2 := utf16.EncodeRune(r); r1 != utf8.RuneError {
			b = fmt.Appendf(b, `\u%04x\u%04x`, r1, r2)
		} else {
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return b
}

// upstreamError is data when it is a JSON object with a member error, else nil.
func upstreamError(data []byte) []byte {
	if !bytes.Contains(data, []byte(`"error"`)) {
		return nil
	}
	var o struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(data, &o) != nil || len(o.Error) == 0 || string(o.Error) == "null" {
		return nil
	}
	return data
}

// errToldAlready says that the upstream itself told of the failure, as an event.
var errToldAlready = errors.New("the upstream reported an error within the stream")

// errorEvent ends a stream for a client that understands failures as events.
func (o *pipeOut) errorEvent(err error) error {
	if errors.Is(err, errToldAlready) {
		return nil
	}
	var told struct {
		Error struct {
			Message string `json:"message"`
			Code    int    `json:"code"`
		} `json:"error"`
	}
	told.Error.Message, told.Error.Code = "The upstream broke off the stream.", 502
	b, _ := json.Marshal(told)
	return o.write(append(append([]byte("data: "), b...), "\n\n"...))
}
