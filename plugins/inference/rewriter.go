package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// rewriter reads a JSON object and passes it on byte for byte, numbers and order included, but for the values of a few of its own members.
// It holds no more than a piece of it. What is not one JSON object is an error with status 422; a fault deep inside one is left to whoever reads it next.
type rewriter struct {
	src     io.Reader
	replace map[string]string // the new value of a member, where it is there
	need    string            // a key of replace that is added at the end when it is not there

	buf     []byte // scratch for reading
	out     []byte // edited
	given   int    // of out, to the reader
	err     error  // of src, or ours: after out
	state   state
	depth   int    // of arrays and objects within the value
	text    bool   // within a string of the value
	escaped bool   // after a backslash
	key     []byte // the key being read, with its quotes
	drop    bool   // the value being read has been replaced
	first   bool   // no member was seen yet
	has     bool   // need was seen
}

// state is where in the outer object the reading is.
type state int

const (
	before   state = iota // before '{'
	members               // before a key, or '}' when there is no member yet
	inKey                 // within a key
	colon                 // before ':'
	value                 // before a value
	inScalar              // within a number, true, false or null
	inNested              // within a string, an array or an object
	comma                 // before ',' or '}'
	after                 // after '}'
)

// maxKey is the longest key that is looked at, in bytes. "stream_options" written in escapes alone is shorter.
const maxKey = 128

// Read gives the next bytes of the edited object.
func (r *rewriter) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.given == len(r.out) {
		if r.err != nil {
			return 0, r.err
		}
		if r.buf == nil {
			r.buf = make([]byte, 16<<10)
		}
		n, err := r.src.Read(r.buf)
		r.out, r.given = r.out[:0], 0
		if fault := r.edit(r.buf[:n]); fault != nil {
			err = fault
		} else if err == io.EOF && r.state != after {
			err = r.incomplete()
		}
		r.err = err
	}
	n := copy(p, r.out[r.given:])
	r.given += n
	return n, nil
}

// whole is what Read gives of an object that is all there.
func (r *rewriter) whole(object []byte) ([]byte, error) {
	r.out = make([]byte, 0, len(object)+len(r.need)+16)
	if err := r.edit(object); err != nil {
		return nil, err
	}
	if r.state != after {
		return nil, r.incomplete()
	}
	return r.out, nil
}

func (r *rewriter) incomplete() error {
	if r.state == before {
		return plugin.Errorf(422, "The request's body is empty; a JSON object is expected.")
	}
	return plugin.Errorf(422, "The request's body is not valid JSON: it ends within its object.")
}

var (
	errObject = errors.New("a JSON object is expected")
	errJSON   = errors.New("it is not valid JSON")
	errMore   = errors.New("something follows its object")
)

// edit takes the next bytes.
func (r *rewriter) edit(b []byte) error {
	for i := 0; i < len(b); {
		if r.state == inNested {
			i += r.nested(b[i:])
			continue
		}
		if err := r.step(b[i]); err != nil {
			return &plugin.Error{Status: 422, Detail: "The request's body is not what is expected: " + err.Error() + "."}
		}
		i++
	}
	return nil
}

// step takes one byte outside of strings, arrays and objects of a value.
func (r *rewriter) step(c byte) error {
	if r.state != inKey && (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
		if r.state == inScalar {
			r.state = comma
		}
		r.out = append(r.out, c)
		return nil
	}
	switch r.state {
	case before:
		if c != '{' {
			return errObject
		}
		r.state, r.first = members, true
	case members:
		switch {
		case c == '"':
			r.state, r.first, r.key = inKey, false, append(r.key[:0], c)
		case c == '}' && r.first:
			return r.end()
		default:
			return errJSON
		}
	case inKey:
		if len(r.key) <= maxKey {
			r.key = append(r.key, c)
		}
		switch {
		case r.escaped:
			r.escaped = false
		case c == '\\':
			r.escaped = true
		case c == '"':
			r.state = colon
		}
	case colon:
		if c != ':' {
			return errJSON
		}
		r.state = value
	case value:
		return r.begin(c)
	case inScalar:
		if c != ',' && c != '}' {
			if !r.drop {
				r.out = append(r.out, c)
			}
			return nil
		}
		return r.next(c)
	case comma:
		return r.next(c)
	case after:
		return errMore
	}
	r.out = append(r.out, c)
	return nil
}

// begin takes the first byte of a value.
func (r *rewriter) begin(c byte) error {
	switch c {
	case ',', '}', ']', ':':
		return errJSON
	}
	key := r.name()
	replacement, drop := r.replace[string(key)]
	if r.drop = drop; drop {
		r.out = append(r.out, replacement...)
		r.has = r.has || string(key) == r.need
	}
	r.state = inScalar
	switch c {
	case '"', '{', '[':
		r.state, r.depth, r.text = inNested, 0, false
		if c == '"' {
			r.text = true
		} else {
			r.depth = 1
		}
	}
	if !drop {
		r.out = append(r.out, c)
	}
	return nil
}

// name is the key that was read; empty when it is too long to be one that matters.
func (r *rewriter) name() []byte {
	if len(r.key) > maxKey {
		return nil
	}
	if bytes.IndexByte(r.key, '\\') < 0 {
		return r.key[1 : len(r.key)-1]
	}
	var name string
	if json.Unmarshal(r.key, &name) != nil {
		return nil
	}
	return []byte(name)
}

// next takes what follows a value.
func (r *rewriter) next(c byte) error {
	switch c {
	case ',':
		r.state = members
		r.out = append(r.out, c)
		return nil
	case '}':
		return r.end()
	}
	return errJSON
}

// end takes the last '}', and puts the member that is needed before it.
func (r *rewriter) end() error {
	if r.need != "" && !r.has {
		if !r.first {
			r.out = append(r.out, ',')
		}
		r.out = append(r.out, `"`+r.need+`":`+r.replace[r.need]...)
	}
	r.out = append(r.out, '}')
	r.state = after
	return nil
}

// nested takes bytes of a string, an array or an object, up to its end or that of b, and returns how many.
func (r *rewriter) nested(b []byte) int {
	n := 0
	for n < len(b) && r.state == inNested {
		c := b[n]
		n++
		switch {
		case r.escaped:
			r.escaped = false
		case r.text && c == '\\':
			r.escaped = true
		case c == '"':
			r.text = !r.text
		case r.text:
			continue
		case c == '{', c == '[':
			r.depth++
		case c == '}', c == ']':
			r.depth--
		}
		if !r.text && !r.escaped && r.depth == 0 {
			r.state = comma
		}
	}
	if !r.drop {
		r.out = append(r.out, b[:n]...)
	}
	return n
}
