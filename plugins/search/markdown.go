package main

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Marks around the text of a link, so that a line of nothing but links can be told from a sentence that has one. No other
// text holds them: visible drops control characters.
const (
	linkBegin = '\x01'
	linkEnd   = '\x02'
)

// stripLinks leaves the text of Markdown's links, and nothing of its images and footnote marks. It takes linear time.
func stripLinks(text string) string {
	if !strings.Contains(text, "](") {
		return text
	}
	var b strings.Builder
	b.Grow(len(text))
	from := 0        // what lies before is in b, or left out
	var links []link // that have begun
	end := func(place int) {
		for n := len(links); n > 0 && links[n-1].shut < place; n = len(links) {
			last := links[n-1]
			links = links[:n-1]
			if last.shut >= from { // else its ']' was within another's address
				b.WriteString(text[from:last.shut])
				b.WriteByte(linkEnd)
				from = last.end
			}
		}
	}
	for _, p := range brackets(text) {
		end(p.open)
		if p.open < from || p.shut == 0 {
			continue
		}
		length := target(text[p.shut+1:])
		if length == 0 {
			continue
		}
		after := p.shut + 1 + length
		image := p.open > from && text[p.open-1] == '!'
		switch {
		case image:
			b.WriteString(text[from : p.open-1])
			from = after
		case isCitation(text[p.open+1:p.shut], text[p.shut+1:after]):
			b.WriteString(text[from:p.open])
			from = after
		default:
			b.WriteString(text[from:p.open])
			b.WriteByte(linkBegin)
			from = p.open + 1
			links = append(links, link{p.shut, after})
		}
	}
	end(len(text))
	b.WriteString(text[from:])
	return b.String()
}

// link is where the text of a link ends, and where the text after its address begins.
type link struct{ shut, end int }

// pair is where a bracket opens and where it shuts; 0 is nowhere.
type pair struct{ open, shut int }

// brackets pairs every '[' with its ']', in the order in which they open. Escaped ones count as text.
func brackets(text string) []pair {
	var pairs []pair
	var open []int // into pairs
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '[':
			open = append(open, len(pairs))
			pairs = append(pairs, pair{open: i})
		case ']':
			if n := len(open); n > 0 {
				pairs[open[n-1]].shut = i
				open = open[:n-1]
			}
		}
	}
	return pairs
}

// target is the length of "(address)" or "(address "title")" at the start of text, 0 when there is none: "f[0](x)" is code.
func target(text string) int {
	const longest, deepest = 4 << 10, 3
	if !strings.HasPrefix(text, "(") {
		return 0
	}
	depth, quoted := 0, false
	for i := 0; i < len(text) && i < longest; i++ {
		c := text[i]
		switch {
		case c == '\n':
			return 0
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '(':
			if depth++; depth > deepest {
				return 0
			}
		case c == ')':
			if depth--; depth == 0 {
				if isAddress(strings.TrimSpace(text[1:i])) {
					return i + 1
				}
				return 0
			}
		}
	}
	return 0
}

// isAddress reports whether a link can lead to text.
func isAddress(text string) bool {
	text = strings.TrimPrefix(text, "<")
	if text == "" {
		return true
	}
	if strings.ContainsRune("/#?.", rune(text[0])) {
		return true
	}
	address, _, _ := strings.Cut(text, " ")
	scheme, _, ok := strings.Cut(address, ":")
	return strings.Contains(address, "/") || strings.HasPrefix(address, "www.") ||
		ok && (scheme == "mailto" || scheme == "tel" || scheme == "javascript" || scheme == "data")
}

// isCitation reports whether a link is a footnote's number, such as [\[1\]](#cite_note-1).
func isCitation(text, target string) bool {
	text = strings.Trim(text, `\[]`)
	return len(text) <= 4 && strings.Contains(target, "#cite") || text == "edit" || text == "¶" || text == "#"
}

// stripLine takes Markdown's marks off one line.
func stripLine(line string) string {
	if rest := strings.TrimLeft(line, "#"); len(line)-len(rest) <= 6 && (rest == "" || rest[0] == ' ') {
		line = strings.TrimSpace(strings.TrimRight(rest, "#"))
	}
	if strings.HasPrefix(line, "* ") || strings.HasPrefix(line, "• ") {
		_, line, _ = strings.Cut(line, " ")
		line = "- " + line
	}
	if strings.HasPrefix(line, "|") && strings.HasSuffix(line, "|") { // a row of a table
		line = strings.Trim(line, "| ")
	}
	for _, mark := range []string{"***", "**", "*", "_"} {
		if strings.Contains(line, mark) {
			line = stripEmphasis(line, mark)
		}
	}
	return stripEscapes(line)
}

// stripEmphasis takes out pairs of mark that stand around words. "2 * 3 * 4", "snake_case", "__init__" and "5*" have none.
func stripEmphasis(line, mark string) string {
	type span struct{ open, shut int }
	var spans []span
	open := -1
	for i := 0; i+len(mark) <= len(line); i++ {
		if line[i] == '\\' {
			i++
			continue
		}
		if line[i] != mark[0] || line[i:i+len(mark)] != mark {
			continue
		}
		before, _ := utf8.DecodeLastRuneInString(line[:i])
		next, _ := utf8.DecodeRuneInString(line[i+len(mark):])
		if before == rune(mark[0]) || next == rune(mark[0]) { // part of a longer mark
			continue
		}
		begins := edge(before, i == 0) && !edge(next, i+len(mark) == len(line))
		ends := open >= 0 && i > open+len(mark) && !unicode.IsSpace(before) && edge(next, i+len(mark) == len(line))
		switch {
		case ends:
			spans = append(spans, span{open, i})
			open = -1
		case begins && open < 0:
			open = i
		}
		i += len(mark) - 1
	}
	if len(spans) == 0 {
		return line
	}
	var b strings.Builder
	b.Grow(len(line))
	from := 0
	for _, s := range spans {
		b.WriteString(line[from:s.open])
		b.WriteString(line[s.open+len(mark) : s.shut])
		from = s.shut + len(mark)
	}
	b.WriteString(line[from:])
	return b.String()
}

// edge reports whether a word can begin after r, or end before it. Currency signs belong to the word.
func edge(r rune, none bool) bool {
	return none || !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.Is(unicode.Sc, r)
}

// stripEscapes takes away the backslash before characters that Markdown gives a meaning.
func stripEscapes(line string) string {
	if !strings.Contains(line, `\`) {
		return line
	}
	var b strings.Builder
	for i := 0; i < len(line); i++ {
		if line[i] == '\\' && i+1 < len(line) {
			digit := i > 0 && line[i-1] >= '0' && line[i-1] <= '9'
			if strings.IndexByte("_*#$|~[]>&`", line[i+1]) >= 0 || digit && line[i+1] == '.' {
				continue
			}
		}
		b.WriteByte(line[i])
	}
	return b.String()
}
