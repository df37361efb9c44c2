package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/url"
	"strconv"
	"strings"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// MaxJSON is the largest body, in bytes, that Request.JSON reads.
const MaxJSON = 8 << 20

// Request is what a client asks. It is valid until its handler returns; Header is another request's after that, so clone what is to be kept.
type Request struct {
	Method   string // as the client wrote it
	Path     string // as it was escaped
	RawQuery string // without '?'
	Host     string // of the Host header
	Client   string // the client's address
	ID       string // for logs; the host's own lines carry it too
	Header   Header // without those that the host keeps from plugins

	// Body is the request's body, never nil. Read waits for bytes to arrive, without holding up other requests. It fails with an *Error
	// (400, 408, 413) when the body breaks off, and with a FetchError of ErrCancelled when the request is cancelled.
	Body io.Reader

	x   *exchange
	own []abi.Field // the host's fields, ":param.NAME" among them
}

const paramPrefix = ":param."

// fill reads the host's fields and leaves them where they are, before the headers.
func (r *Request) fill(x *exchange, fields []abi.Field) {
	r.x = x
	own := 0
	for i := range fields {
		f := &fields[i]
		if len(f.Name) == 0 || f.Name[0] != ':' {
			continue
		}
		if i > own { // no host of ours mixes them
			moved := *f
			copy(fields[own+1:i+1], fields[own:i])
			f = &fields[own]
			*f = moved
		}
		own++
		switch f.Name {
		case ":method":
			r.Method = f.Value
		case ":path":
			r.Path = f.Value
		case ":query":
			r.RawQuery = f.Value
		case ":host":
			r.Host = f.Value
		case ":client":
			r.Client = f.Value
		case ":id":
			r.ID = f.Value
		}
	}
	r.own = fields[:own]
	if own < len(fields) {
		r.Header = Header(fields[own:len(fields):len(fields)]) // capped, so that Add never writes over what follows
	}
}

// Context ends when the request does: with context.Canceled when the client left, the host stops it or the handler has returned,
// with context.DeadlineExceeded when its time is up. What a handler starts must end with it.
func (r *Request) Context() context.Context {
	if r.x == nil {
		return context.Background()
	}
	return &r.x.scope
}

// PathValue is the unescaped value of {name} in the route, or "".
func (r *Request) PathValue(name string) string {
	for i := range r.own {
		if param, ok := strings.CutPrefix(r.own[i].Name, paramPrefix); ok && param == name {
			return r.own[i].Value
		}
	}
	return ""
}

// PathValues is every name in the route with its unescaped value.
func (r *Request) PathValues() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, f := range r.own {
			if name, ok := strings.CutPrefix(f.Name, paramPrefix); ok && !yield(name, f.Value) {
				return
			}
		}
	}
}

// Query is the parsed query; malformed pairs are left out.
func (r *Request) Query() url.Values {
	values, _ := url.ParseQuery(r.RawQuery)
	return values
}

// Bytes reads the whole body. It gives an *Error with status 413 when that is over limit bytes.
func (r *Request) Bytes(limit int64) ([]byte, error) {
	var b []byte
	var err error
	if body, ok := r.Body.(*body); ok {
		size := int64(0)
		if announced := r.Header.Get("content-length"); announced != "" { // to parse nothing costs an error
			size, _ = strconv.ParseInt(announced, 10, 64)
		}
		b, err = body.all(limit, size)
	} else if r.Body != nil {
		b, err = readAll(r.Body, limit)
	}
	if errors.Is(err, errTooLong) {
		return nil, Errorf(413, "The request's body is too large: at most %d bytes are read.", limit)
	}
	return b, err
}

// JSON reads the whole body as one JSON value into v, as encoding/json does. It gives an *Error: 422 that says where and what is wrong,
// or 413 when the body is over MaxJSON.
func (r *Request) JSON(v any) error {
	b, err := r.Bytes(MaxJSON)
	if err != nil {
		return err
	}
	if len(b) == 0 {
		return Errorf(422, "The request's body is empty; JSON is expected.")
	}
	if err := unmarshal(b, v); err != nil {
		return &Error{Status: 422, Detail: fmt.Sprintf("The request's body is not what is expected: %v.", err)}
	}
	return nil
}

// Log is a logger whose lines carry the request's id.
func (r *Request) Log() *slog.Logger {
	if r.x == nil {
		return slog.Default()
	}
	return slog.New(&logHandler{host: r.x.rt.host, request: r.x.request})
}

// readAll reads at most limit bytes of r.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		return nil, errTooLong
	}
	return b, err
}

// noBody is the body of a request without one.
type noBody struct{}

func (noBody) Read([]byte) (int, error) { return 0, io.EOF }
