package genai

import (
	"bytes"
	"slices"
	"strconv"
)

// place is a container of the document that somebody asked for.
type place uint8

const (
	nowhere place = iota
	document
	choices
	delta // or message
	usage
	calls // of tools
)

// leaf is a value that somebody asked for.
type leaf uint8

const (
	nothing leaf = iota
	theModel
	theReason
	theInput
	theOutput
	theText
	theError
)

// below says what stands under a key.
func below(at place, key []byte) (place, leaf) {
	switch at {
	case document:
		switch string(key) {
		case "model":
			return nowhere, theModel
		case "choices":
			return choices, nothing
		case "usage":
			return usage, nothing
		case "error":
			return nowhere, theError
		}
	case choices:
		switch string(key) {
		case "delta", "message":
			return delta, nothing
		case "text":
			return nowhere, theText
		case "finish_reason":
			return nowhere, theReason
		}
	case delta:
		switch string(key) {
		case "content", "reasoning_content", "reasoning", "refusal":
			return nowhere, theText
		case "tool_calls":
			return calls, nothing
		}
	case usage:
		switch string(key) {
		case "prompt_tokens", "input_tokens":
			return nowhere, theInput
		case "completion_tokens", "output_tokens":
			return nowhere, theOutput
		}
	}
	return nowhere, nothing
}

type mode uint8

const (
	between mode = iota
	inString
	inLiteral
	over // the document is complete, or it is none
)

// open is a container that is not closed yet.
type open struct {
	at     place
	object bool
}

// scanner goes through one JSON document after the other, in pieces of any size. Its memory is fixed. What nobody asked for is
// passed over: its depth is counted and no more.
type scanner struct {
	first   bool // the model is all that is asked for: what follows is not looked at
	mode    mode
	escaped bool // the next byte of a string follows a backslash
	key     bool // the next string of this object is a key
	kept    bool // the string or literal under way goes into text
	some    bool // it has a byte
	next    place
	leaf    leaf
	depth   int // of path
	skip    int // containers that are open below what was asked for
	path    [8]open
	length  int // of text; over maxText: it was longer
	text    [maxText]byte
	facts   facts
}

// restart makes ready for another document, and keeps the facts.
func (s *scanner) restart() {
	s.mode, s.depth, s.skip = between, 0, 0
	s.next, s.leaf = document, nothing
}

func (s *scanner) write(p []byte) {
	for len(p) > 0 && s.mode != over {
		switch s.mode {
		case inString:
			p = s.string(p)
		case inLiteral:
			p = s.literal(p)
		default:
			p = s.between(p)
		}
	}
}

// between reads up to the next string or literal.
func (s *scanner) between(p []byte) []byte {
	for i, c := range p {
		switch c {
		case ' ', '\t', '\r', '\n', ':':
		case ',':
			s.leaf, s.next, s.key = nothing, nowhere, false
			if s.skip == 0 && s.depth > 0 {
				top := s.path[s.depth-1]
				s.key = top.object
				if !top.object {
					s.next = top.at
				}
			}
		case '{', '[':
			s.open(c == '{')
		case '}', ']':
			s.close()
		default:
			s.mode, s.escaped, s.some, s.length = inString, false, false, 0
			s.kept = s.skip == 0 && (s.key || s.leaf == theModel || s.leaf == theReason)
			if c == '"' {
				return p[i+1:]
			}
			s.mode = inLiteral
			s.kept = s.skip == 0 && (s.leaf == theInput || s.leaf == theOutput || s.leaf == theError)
			return p[i:]
		}
		if s.mode == over {
			return nil
		}
	}
	return nil
}

func (s *scanner) open(object bool) {
	at := s.next
	switch {
	case s.depth == 0 && s.skip == 0: // the document itself, of the zero value too
		if !object {
			s.mode = over
			return
		}
		at = document
	case s.skip > 0 || at == nowhere || s.depth == len(s.path):
		if s.leaf == theError && s.skip == 0 {
			s.facts.failed = true
		}
		s.skip++
		return
	}
	if at == calls && object {
		s.facts.text = true
	}
	s.path[s.depth] = open{at, object}
	s.depth++
	s.key, s.leaf, s.next = object, nothing, nowhere
	if !object {
		s.next = at
	}
}

func (s *scanner) close() {
	s.key, s.leaf, s.next = false, nothing, nowhere
	switch {
	case s.skip > 0:
		s.skip--
		return
	case s.depth > 0:
		s.depth--
	}
	if s.depth == 0 {
		s.mode = over
	}
}

// string reads the rest of a string, or as much of it as there is. A long run without a backslash is leapt over; its quote is looked
// for once, however many backslashes stand before it, so that a long text costs what it is long.
func (s *scanner) string(p []byte) []byte {
	const long = 32
	i, run, quote := 0, 0, -1
	if s.escaped {
		s.escaped = false
		i = 1
	}
	for i < len(p) {
		switch p[i] {
		case '"':
			s.keep(p[:i])
			s.mode = between
			s.ended()
			return p[i+1:]
		case '\\':
			i += 2
			run = 0
			continue
		}
		i++
		if run++; run < long {
			continue
		}
		run = 0
		if quote < i {
			quote = len(p)
			if at := bytes.IndexByte(p[i:], '"'); at >= 0 {
				quote = i + at
			}
		}
		if at := bytes.IndexByte(p[i:quote], '\\'); at >= 0 {
			i += at
		} else {
			i = quote
		}
	}
	s.escaped = i > len(p)
	s.keep(p)
	return nil
}

// literal reads the rest of a number, true, false or null.
func (s *scanner) literal(p []byte) []byte {
	end := 0
	for end < len(p) && !ends(p[end]) {
		end++
	}
	s.keep(p[:end])
	if end == len(p) {
		return nil
	}
	if s.depth == 0 {
		s.mode = over // a document that is no object
		return nil
	}
	s.mode = between
	text := s.text[:min(s.length, maxText)]
	switch s.leaf {
	case theInput:
		number(&s.facts.input, text)
	case theOutput:
		number(&s.facts.output, text)
	case theError:
		s.facts.failed = s.facts.failed || s.kept && string(text) != "null" && string(text) != "false"
	}
	s.leaf = nothing
	return p[end:]
}

// ends says whether a byte stands behind a literal.
func ends(c byte) bool {
	switch c {
	case ' ', '\t', '\r', '\n', ',', ']', '}', ':', '{', '[', '"':
		return true
	}
	return false
}

// number sets a count of tokens to one that makes sense.
func number(count *int64, text []byte) {
	if n, err := strconv.ParseInt(string(text), 10, 48); err == nil && n >= 0 {
		*count = n
	}
}

// keep remembers a piece of the string or literal that is under way, if somebody wants it.
func (s *scanner) keep(p []byte) {
	s.some = s.some || len(p) > 0
	if s.kept && s.length <= maxText {
		copy(s.text[min(s.length, maxText):], p)
		s.length += min(len(p), maxText+1-s.length)
	}
}

// ended is the end of a string.
func (s *scanner) ended() {
	if s.skip > 0 {
		return
	}
	if s.depth == 0 {
		s.mode = over
		return
	}
	text := s.text[:min(s.length, maxText)]
	if s.length > maxText {
		text = nil
	}
	if s.key {
		s.key = false
		s.next, s.leaf = below(s.path[s.depth-1].at, text)
		return
	}
	switch s.leaf {
	case theModel:
		if string(text) == s.facts.model { // as in each event but the first
			break
		}
		if n := name(text); n != "" {
			s.facts.model = n
			if s.first {
				s.mode = over
			}
		}
	case theReason:
		if n := name(text); n != "" && len(s.facts.reasons) < maxReasons && !slices.Contains(s.facts.reasons, n) {
			s.facts.reasons = append(s.facts.reasons, n)
		}
	case theText:
		s.facts.text = s.facts.text || s.some
	case theError:
		s.facts.failed = true
	}
	s.leaf = nothing
}
