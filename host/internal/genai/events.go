package genai

import "bytes"

// events takes server-sent events apart, as the WHATWG's HTML has them, and hands the data of each to a scanner as a document of its
// own. It holds nothing but its place within a line.
type events struct {
	matched int  // bytes of the field's name
	line    line // what the line under way is
	cr      bool // the last byte was a CR: an LF after it is the same end of line
}

type line uint8

const (
	begins line = iota
	isData
	isOther
)

func (e *events) write(s *scanner, p []byte) {
	const field = "data:"
	for len(p) > 0 {
		if e.line != begins {
			end := endOfLine(p)
			if e.line == isData {
				s.write(p[:end])
			}
			if p = p[end:]; len(p) == 0 {
				return
			}
			if e.line == isData {
				s.write(p[:1]) // a line's end is white space to JSON
			}
			e.cr = p[0] == '\r'
			e.line, e.matched = begins, 0
			p = p[1:]
			continue
		}
		c := p[0]
		switch {
		case c == '\n' && e.cr && e.matched == 0:
			e.cr = false
			p = p[1:]
			continue
		case c == field[e.matched]:
			if e.matched++; e.matched == len(field) {
				e.line = isData
			}
		case c == '\n' || c == '\r':
			if e.matched == 0 { // an empty line ends the event
				s.restart()
			}
			e.cr, e.matched = c == '\r', 0
			p = p[1:]
			continue
		default:
			e.line = isOther
		}
		e.cr = false
		p = p[1:]
	}
}

// endOfLine is where the first line of p ends, len(p) when it does not.
func endOfLine(p []byte) int {
	if i := bytes.IndexByte(p, '\n'); i >= 0 {
		p = p[:i]
	}
	if i := bytes.IndexByte(p, '\r'); i >= 0 {
		return i
	}
	return len(p)
}
