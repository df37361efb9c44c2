package plugintest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// Answer is what a client got.
type Answer struct {
	Status int
	Header plugin.Header
	Body   []byte
	Err    error // ErrAborted when the connection was closed within the answer
}

// JSON decodes the body into v.
func (a *Answer) JSON(v any) error { return json.Unmarshal(a.Body, v) }

// Do makes a request and reads its whole answer. body is a string, bytes, an io.Reader (sent as it is read), or nil; header is name, value, name, value….
// Unknown paths and methods get the host's 404 and 405. It fails the test when the plugin could not start.
func (h *Host) Do(method, path string, body any, header ...string) *Answer {
	h.t.Helper()
	s := h.Stream(method, path, body, header...)
	a := &Answer{Status: s.Status, Header: s.Header}
	for {
		chunk, err := s.Next()
		if err == io.EOF {
			return a
		}
		if err != nil {
			a.Err = err
			return a
		}
		a.Body = append(a.Body, chunk...)
	}
}

// Stream is an answer that is read as it comes.
type Stream struct {
	Status int
	Header plugin.Header

	x *exchange
}

// Stream makes a request as Do does, and returns when the head of the answer is there.
func (h *Host) Stream(method, path string, body any, header ...string) *Stream {
	h.t.Helper()
	s := h.Start(method, path, body, header...)
	s.Head()
	return s
}

// Start makes a request and does not wait for its answer.
func (h *Host) Start(method, path string, body any, header ...string) *Stream {
	h.t.Helper()
	if err := h.SetupError(); err != nil {
		h.t.Fatalf("plugintest: the plugin cannot start: %v", err)
	}
	x := &exchange{host: h, credit: abi.ResponseCredit, inCredit: abi.RequestCredit}
	s := &Stream{x: x}
	rawPath, query, _ := strings.Cut(path, "?")
	index, params, status := h.match(method, rawPath)
	if status != 0 {
		h.mu.Lock()
		x.fail(status, map[int]string{404: "Not Found", 405: "Method Not Allowed"}[status])
		h.mu.Unlock()
		return s
	}
	fields := []abi.Field{
		{Name: ":method", Value: method}, {Name: ":path", Value: rawPath}, {Name: ":query", Value: query},
		{Name: ":host", Value: "plugintest"}, {Name: ":client", Value: "192.0.2.1"},
	}
	fields = append(fields, params...)
	for i := 0; i+1 < len(header); i += 2 {
		name := strings.ToLower(header[i])
		fields = append(fields, abi.Field{Name: name, Value: header[i+1]})
		x.events = x.events || name == "x-stream-events" && header[i+1] == "1"
	}
	first := x.take(h, body)
	h.mu.Lock()
	defer h.mu.Unlock()
	fields = append(fields, abi.Field{Name: ":id", Value: fmt.Sprintf("test-%d", h.generation+1)})
	h.open(x, index, fields, first)
	return s
}

// take reads a body's first bytes, which go with the request, and leaves the rest to be fed.
func (x *exchange) take(h *Host, body any) []byte {
	var whole []byte
	switch b := body.(type) {
	case nil:
	case string:
		whole = []byte(b)
	case []byte:
		whole = bytes.Clone(b)
	case io.Reader:
		x.in = b
		return nil
	default:
		h.t.Fatalf("plugintest: a body is a string, []byte, io.Reader or nil, not %T", body)
	}
	first := whole[:min(len(whole), maxPiece)]
	x.inCredit -= len(first)
	if len(first) < len(whole) {
		x.in = bytes.NewReader(whole[len(first):])
	}
	return first
}

// Head waits for the head of the answer and sets Status and Header. Status is 0 when the connection was aborted before.
func (s *Stream) Head() {
	h := s.x.host
	h.mu.Lock()
	defer h.mu.Unlock()
	for s.x.stage < sent {
		h.cond.Wait()
	}
	s.Status, s.Header = s.x.status, s.x.header
}

// Next is the next piece of the body, as it was sent: with SSE, one event. It waits for one. After the last it is io.EOF, or ErrAborted.
// The plugin gets credit for what is read here, so that a test which does not read is a client which does not.
func (s *Stream) Next() ([]byte, error) {
	x, h := s.x, s.x.host
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(x.out) == 0 {
		if x.aborted != nil {
			return nil, x.aborted
		}
		if x.stage == ended {
			return nil, io.EOF
		}
		h.cond.Wait()
	}
	chunk := x.out[0]
	x.out = x.out[1:]
	x.outSize -= len(chunk)
	if x.owed += len(chunk); x.owed >= abi.ResponseCredit/4 && h.exchange(x.id) == x {
		x.credit += x.owed
		h.push(event{Event: abi.Event{Kind: abi.Credit, ID: x.id, Arg: uint32(x.owed)}})
		x.owed = 0
	}
	h.cond.Broadcast()
	return chunk, nil
}

// Cancel is the client going away.
func (s *Stream) Cancel() {
	h := s.x.host
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cancel(s.x, abi.ClientLeft)
}

// route is one of the manifest.
type route struct{ method, path string }

// match finds the route, its parameters, or the status of the host's own answer. HEAD is answered by GET's route.
func (h *Host) match(method, path string) (index int, params []abi.Field, status int) {
	status = 404
	for i, r := range h.routes {
		params, ok := matchPath(r.path, path)
		if !ok {
			continue
		}
		if r.method == method || r.method == "GET" && method == "HEAD" {
			return i, params, 0
		}
		status = 405
	}
	return 0, nil, status
}

func matchPath(pattern, path string) ([]abi.Field, bool) {
	var params []abi.Field
	for pattern != "" {
		var want, have string
		want, pattern, _ = strings.Cut(strings.TrimPrefix(pattern, "/"), "/")
		name, wild := strings.CutPrefix(want, "{")
		name = strings.TrimSuffix(name, "}")
		if name, rest := strings.CutSuffix(name, "..."); wild && rest {
			return append(params, param(name, strings.TrimPrefix(path, "/"))), true
		}
		if path == "" {
			return nil, false
		}
		var more bool
		if have, path, more = strings.Cut(path[1:], "/"); more {
			path = "/" + path
		}
		if wild && have != "" {
			params = append(params, param(name, have))
		} else if want != have {
			return nil, false
		}
	}
	return params, path == ""
}

func param(name, value string) abi.Field {
	if plain, err := url.PathUnescape(value); err == nil {
		value = plain
	}
	return abi.Field{Name: ":param." + name, Value: value}
}
