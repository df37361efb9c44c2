package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// quickPages reads a provider's usual answer in an eighth of the time that encoding/json takes, which calls a function for each byte, twice.
// It gives up (ok is false) at whatever is unusual, errors among it: then slowPages has the word. What it does read is what that would.
func (r reader) quickPages(reply []byte) (pages []page, ok bool) {
	if !utf8.Valid(reply) {
		return nil, false
	}
	q := quick{text: string(reply)}
	found := false
	q.object(func(key string) {
		switch {
		case key != r.array:
			q.skip()
		case found: // twice
			q.failed = true
		default:
			found = true
			q.array(func() { pages = append(pages, q.page(r.keys)) })
		}
	})
	q.space()
	return pages, found && !q.failed && q.pos == len(q.text)
}

// salvage reads the whole pages of an answer that breaks off somewhere.
func (r reader) salvage(reply []byte) (pages []page) {
	q := quick{text: strings.ToValidUTF8(string(reply), "\ufffd")}
	var member func(key string)
	member = func(key string) {
		switch next := q.next(); {
		case key == r.array && next == '[':
			q.array(func() {
				if p := q.page(r.keys); !q.failed {
					pages = append(pages, p)
				}
			})
		case next == '{':
			q.object(member)
		default:
			q.skip()
		}
	}
	q.object(member)
	return pages
}

// quick is at a place of a JSON text. Once it has failed, what it gives means nothing.
type quick struct {
	text   string
	pos    int
	depth  int
	failed bool
}

func (q *quick) page(keys pageKeys) page {
	var p page
	q.object(func(key string) {
		switch key {
		case "": // keys may have it
			q.failed = true
		case keys.title:
			q.stringInto(&p.title)
		case keys.url:
			q.stringInto(&p.url)
		case keys.content:
			q.stringInto(&p.content)
		case keys.raw:
			q.stringInto(&p.raw)
		case keys.published:
			q.stringInto(&p.published)
		case keys.score:
			number := q.skip()
			score, err := strconv.ParseFloat(number, 64)
			if err != nil {
				q.failed = true
			}
			p.score = score
		default:
			q.skip()
		}
	})
	return p
}

// stringInto reads a string, or null, which is none.
func (q *quick) stringInto(s *string) {
	if q.next() == 'n' {
		q.skip()
		*s = ""
		return
	}
	*s = q.string()
}

// next is the next byte that is no white space, 0 at the end. It stays there.
func (q *quick) next() byte {
	q.space()
	if q.failed || q.pos == len(q.text) {
		return 0
	}
	return q.text[q.pos]
}

func (q *quick) space() {
	for q.pos < len(q.text) && strings.IndexByte(" \t\r\n", q.text[q.pos]) >= 0 {
		q.pos++
	}
}

// take moves past c.
func (q *quick) take(c byte) {
	if q.next() != c {
		q.failed = true
		return
	}
	q.pos++
}

// object reads an object; member reads the value of each key.
func (q *quick) object(member func(key string)) {
	q.list('{', '}', func() {
		q.space()
		key := q.string()
		q.take(':')
		if !q.failed {
			member(key)
		}
	})
}

// array reads an array; element reads each.
func (q *quick) array(element func()) { q.list('[', ']', element) }

func (q *quick) list(open, shut byte, item func()) {
	const deepest = 100
	if q.depth++; q.depth > deepest {
		q.failed = true
	}
	q.take(open)
	for first := true; !q.failed; first = false {
		if first && q.next() == shut {
			break
		}
		item()
		if q.next() != ',' {
			break
		}
		q.pos++
	}
	q.take(shut)
	q.depth--
}

// skip moves past any value and gives its text, if that is a number or a word.
func (q *quick) skip() string {
	switch q.next() {
	case '{':
		q.object(func(string) { q.skip() })
		return ""
	case '[':
		q.array(func() { q.skip() })
		return ""
	case '"':
		q.string()
		return ""
	}
	begin := q.pos
	for q.pos < len(q.text) && strings.IndexByte(",]} \t\r\n", q.text[q.pos]) < 0 {
		q.pos++
	}
	value := q.text[begin:q.pos]
	if !json.Valid([]byte(value)) {
		q.failed = true
	}
	return value
}

// string reads a string. One without escapes is a part of the text, not copied.
func (q *quick) string() string {
	q.take('"')
	if q.failed {
		return ""
	}
	var whole []byte
	for end := -1; ; {
		rest := q.text[q.pos:]
		if end < q.pos { // a quote that was escaped is behind
			at := strings.IndexByte(rest, '"')
			if at < 0 {
				q.failed = true
				return ""
			}
			end = q.pos + at
		}
		part := q.text[q.pos:end]
		escape := strings.IndexByte(part, '\\')
		if escape >= 0 {
			part = part[:escape]
		}
		if hasControl(part) {
			q.failed = true
			return ""
		}
		q.pos += len(part)
		if escape < 0 {
			q.pos++
			if whole == nil {
				return part
			}
			return string(append(whole, part...))
		}
		if whole == nil {
			whole = make([]byte, 0, end-q.pos+len(part))
		}
		whole = q.escape(append(whole, part...))
		if q.failed {
			return ""
		}
	}
}

// escape moves past an escape and appends what it means to b.
func (q *quick) escape(b []byte) []byte {
	rest := q.text[q.pos:]
	if len(rest) < 2 {
		q.failed = true
		return b
	}
	if at := strings.IndexByte(`"\/bfnrt`, rest[1]); at >= 0 {
		q.pos += 2
		return append(b, "\"\\/\b\f\n\r\t"[at])
	}
	r := unit(rest)
	if utf16.IsSurrogate(r) && len(rest) > 6 {
		r = utf16.DecodeRune(r, unit(rest[6:]))
		q.pos += 6
	}
	q.pos += 6
	if r < 0 || r == utf8.RuneError || utf16.IsSurrogate(r) {
		q.failed = true
		return b
	}
	return utf8.AppendRune(b, r)
}

// unit is the number in \uXXXX at the start of text, -1 when there is none.
func unit(text string) rune {
	if len(text) < 6 || text[:2] != `\u` {
		return -1
	}
	n, err := strconv.ParseUint(text[2:6], 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}

func hasControl(text string) bool {
	for i := printable(text); i < len(text); i += 1 + printable(text[i+1:]) {
		if text[i] < ' ' {
			return true
		}
	}
	return false
}
