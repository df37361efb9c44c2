package main

import (
	"html"
	"strings"
)

// stripHTML takes HTML's tags out, with what lies in those that hold no text for a reader, and turns its entities into
// characters. Text without HTML stays as it is: "a < b" and "List<String>" have no tag of HTML. It takes linear time. partial is set when more would follow text.
func stripHTML(text string, partial bool) string {
	if strings.Contains(text, "<") {
		text = stripTags(text, partial)
	}
	if strings.Contains(text, "&") {
		text = unescape(text)
	}
	return text
}

func stripTags(text string, partial bool) string {
	s := scanner{text: text, partial: partial, lower: lowerASCII(text), absent: map[string]bool{}}
	var b strings.Builder
	b.Grow(len(text))
	for {
		at := strings.IndexByte(text[s.pos:], '<')
		if at < 0 {
			b.WriteString(text[s.pos:])
			return b.String()
		}
		b.WriteString(text[s.pos : s.pos+at])
		s.pos += at
		b.WriteString(s.tag())
	}
}

// scanner is at a '<' of text.
type scanner struct {
	text, lower string // lower has the same length
	pos         int
	partial     bool
	absent      map[string]bool // what was looked for and does not come any more; without it, unclosed tags take quadratic time
}

// tag moves past a tag, a comment or an address in angle brackets and gives what stands for it: the '<' itself when it is none of them.
func (s *scanner) tag() string {
	rest := s.lower[s.pos:]
	switch {
	case strings.HasPrefix(rest, "<!--"):
		s.pos += 4
		s.skipPast("-->")
		return ""
	case strings.HasPrefix(rest, "<!doctype"), strings.HasPrefix(rest, "<?xml"):
		if end := tagEnd(rest); end > 0 {
			s.pos += end
			return ""
		}
	case strings.HasPrefix(rest, "<http://"), strings.HasPrefix(rest, "<https://"):
		if end := 1 + strings.IndexAny(rest[1:], "<> \n"); rest[end] == '>' {
			link := s.text[s.pos+1 : s.pos+end]
			s.pos += end + 1
			return link
		}
	default:
		name, closing := tagName(rest)
		if kindOf(name) == notHTML {
			break
		}
		start := 1 + len(name)
		if closing {
			start++
		}
		if end := tagEnd(rest); end > start && attributes(name, rest[start:end-1]) {
			s.pos += end
			return s.standIn(name, closing)
		}
	}
	s.pos++
	return "<"
}

// standIn is what stands for a tag that was moved past. With an element that holds no text, all of it is moved past.
func (s *scanner) standIn(name string, closing bool) string {
	switch kindOf(name) {
	case hidden:
		if !closing && s.skipPast("</"+name) {
			s.skipPast(">")
		}
		return "\n"
	case block:
		return "\n"
	case cell:
		return " "
	case anchor:
		if closing {
			return string(linkEnd)
		}
		return string(linkBegin)
	}
	return ""
}

// skipPast moves past the next mark, if there is one. In a part of a page a mark that is missing comes later, so that moves to the end.
func (s *scanner) skipPast(mark string) bool {
	if s.absent[mark] {
		return false
	}
	at := strings.Index(s.lower[s.pos:], mark)
	if at < 0 && s.partial {
		s.pos = len(s.text)
		return true
	}
	if at < 0 {
		s.absent[mark] = true
		return false
	}
	s.pos += at + len(mark)
	return true
}

// tagName is the name in "<name" or "</name", at the start of rest.
func tagName(rest string) (name string, closing bool) {
	rest = rest[1:]
	if strings.HasPrefix(rest, "/") {
		rest, closing = rest[1:], true
	}
	n := 0
	for n < len(rest) && n < 12 && (rest[n] >= 'a' && rest[n] <= 'z' || n > 0 && rest[n] >= '0' && rest[n] <= '9') {
		n++
	}
	return rest[:n], closing
}

// attributes reports whether text can follow a tag's name: "a <b and c> d" is arithmetic.
func attributes(name, text string) bool {
	if strings.Trim(text, "/ \t\n") == "" {
		return true
	}
	return strings.IndexByte("/ \t\n", text[0]) >= 0 && (len(name) > 1 || strings.Contains(text, "="))
}

// tagEnd is the length of the tag at the start of rest, 0 when it does not end. Within quotes a '>' is text.
func tagEnd(rest string) int {
	const longest = 8 << 10 // pictures are put into attributes
	var quote byte
	for i := 1; i < len(rest) && i < longest; i++ {
		switch c := rest[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '>':
			return i + 1
		case c == '<':
			return 0
		case (c == '"' || c == '\'') && rest[i-1] == '=':
			quote = c
		}
	}
	return 0
}

// kind is what a tag means for the text.
type kind int

const (
	notHTML kind = iota
	inline       // nothing
	block        // a new line
	cell         // a gap
	anchor       // a link
	hidden       // nothing within it is text of the page
)

func kindOf(name string) kind {
	switch name {
	case "script", "style", "noscript", "template", "svg", "head", "iframe", "select", "textarea", "nav", "footer", "button":
		return hidden
	case "address", "article", "aside", "blockquote", "body", "br", "dd", "details", "div", "dl", "dt", "fieldset", "figcaption",
		"figure", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "html", "legend", "li", "main", "ol", "option", "p", "pre",
		"section", "summary", "table", "tbody", "tfoot", "thead", "title", "tr", "ul", "caption", "video", "audio", "picture":
		return block
	case "td", "th":
		return cell
	case "a":
		return anchor
	case "abbr", "b", "bdi", "bdo", "big", "center", "cite", "code", "col", "colgroup", "del", "dfn", "em", "embed", "font", "i", "img",
		"input", "ins", "kbd", "label", "link", "mark", "meta", "object", "path", "q", "rp", "rt", "ruby", "s", "samp", "small", "source",
		"span", "strike", "strong", "sub", "sup", "time", "track", "tt", "u", "var", "wbr":
		return inline
	}
	return notHTML
}

// unescape turns entities into characters. It wants their semicolon, unlike a browser: "?a=1&copy=2" is an address.
func unescape(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	for {
		at := strings.IndexByte(text, '&')
		if at < 0 {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(text[:at])
		text = text[at:]
		end := strings.IndexByte(text[:min(len(text), 34)], ';') // the longest name has 32 characters
		if end < 0 {
			b.WriteByte('&')
			text = text[1:]
			continue
		}
		b.WriteString(onlyVisible(html.UnescapeString(text[:end+1])))
		text = text[end+1:]
	}
}

// lowerASCII is text with A–Z in lower case, byte for byte.
func lowerASCII(text string) string {
	b := []byte(text)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
