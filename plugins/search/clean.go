package main

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// How much of a page is looked at, in bytes: mostly its first part has enough. What is kept is far less, and a plugin's
// CPU time is bounded.
const (
	firstLook = 24 << 10
	maxPage   = 128 << 10
)

// clean makes plain lines of a page, be it text, Markdown or HTML: no markup, no menus, no banners, no empty lines. What
// a sentence says stays to the letter, its prices and figures above all. It stops soon after it has more than enough characters.
func clean(text string, enough int) string {
	if len(text) > firstLook {
		if k := collect(text[:firstLook], true, enough); k.count > enough {
			return strings.TrimSpace(k.text.String())
		}
	}
	k := collect(text[:min(len(text), maxPage)], len(text) > maxPage, enough)
	return strings.TrimSpace(k.text.String())
}

// collect keeps the lines of text that say something; partial is set when the page goes on after it.
func collect(text string, partial bool, enough int) *keeper {
	k := &keeper{seen: map[string]bool{}}
	fenced := false
	for line := range strings.SplitSeq(plain(text, partial), "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "```"), strings.HasPrefix(trimmed, "~~~"):
			fenced = !fenced
		case fenced:
			k.keep(squeeze(line))
		default:
			k.consider(trimmed)
		}
		if k.count > enough {
			break
		}
	}
	k.endMenu()
	return k
}

// plain takes the markup out of a text, and leaves its words alone. The marks of links are in it.
func plain(text string, partial bool) string {
	return stripLinks(stripHTML(legible(text, partial), partial))
}

// legible repairs the bytes of a text: valid UTF-8, line ends as \n, and nothing that no reader sees (control characters,
// zero-width and direction marks, the tag characters that can hide a second text in the first). partial is set when more would follow text.
func legible(text string, partial bool) string {
	if partial { // the cut may have left half a tag, half a link or half a character
		if end := strings.LastIndexAny(text, ">\n") + 1; end > len(text)/2 {
			text = text[:end]
		}
		for n := 0; n < utf8.UTFMax-1 && len(text) > 0; n++ {
			if r, size := utf8.DecodeLastRuneInString(text); r != utf8.RuneError || size > 1 {
				break
			}
			text = text[:len(text)-1]
		}
	}
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, string(utf8.RuneError))
	}
	return onlyVisible(strings.ReplaceAll(text, "\r\n", "\n"))
}

// onlyVisible is text with every character as visible has it. Most text is that already.
func onlyVisible(text string) string {
	var b strings.Builder
	from := 0 // what lies before is in b
	for i := printable(text); i < len(text); i += printable(text[i:]) {
		r, size := utf8.DecodeRuneInString(text[i:])
		if v := visible(r); v != r {
			b.WriteString(text[from:i])
			if v >= 0 {
				b.WriteRune(v)
			}
			from = i + size
		}
		i += size
	}
	if from == 0 {
		return text
	}
	b.WriteString(text[from:])
	return b.String()
}

// printable is how many bytes at the start of text are printable ASCII. It looks at eight at a time: a plugin pays for each turn of
// a loop, and every text passes here.
func printable(text string) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	n := 0
	for rest := text; len(rest) >= 8; rest = rest[8:] {
		v := uint64(rest[0]) | uint64(rest[1])<<8 | uint64(rest[2])<<16 | uint64(rest[3])<<24 |
			uint64(rest[4])<<32 | uint64(rest[5])<<40 | uint64(rest[6])<<48 | uint64(rest[7])<<56
		if (v|(v-ones*' ')|(v+ones))&high != 0 { // a byte of 0x80 or more, one below ' ', or 0x7f
			break
		}
		n += 8
	}
	for n < len(text) && text[n] >= ' ' && text[n] < 0x7f {
		n++
	}
	return n
}

// visible is r, or what stands for it, or -1.
func visible(r rune) rune {
	switch {
	case r == '\n', r == '\t':
		return r
	case r == '\r', r == '\v', r == '\f', r == '\u0085', r == '\u2028', r == '\u2029':
		return '\n'
	case unicode.IsControl(r), // linkBegin and linkEnd among them
		r == '\u00ad', r == '\u200b', r == '\u200e', r == '\u200f', r == '\u2060', r == '\ufeff',
		r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069',
		r >= 0xe0000 && r <= 0xe007f:
		return -1
	}
	return r
}

// squeeze makes one space of every run of white space, and takes out the marks of links.
func squeeze(text string) string {
	if isSqueezed(text) {
		return text
	}
	var b strings.Builder
	b.Grow(len(text))
	space := false
	for _, r := range text {
		switch {
		case r == linkBegin, r == linkEnd:
		case unicode.IsSpace(r):
			space = true
		default:
			if space && b.Len() > 0 {
				b.WriteByte(' ')
			}
			space = false
			b.WriteRune(r)
		}
	}
	return b.String()
}

// isSqueezed reports whether squeeze would change nothing.
func isSqueezed(text string) bool {
	before := byte(' ')
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c <= ' ' && (c < ' ' || before == ' ') {
			return false
		}
		if c >= utf8.RuneSelf && utf8.RuneStart(c) {
			if r, _ := utf8.DecodeRuneInString(text[i:]); unicode.IsSpace(r) {
				return false
			}
		}
		before = c
	}
	return text == "" || before != ' '
}

// length is the number of text's characters.
func length(text string) int {
	ascii := printable(text)
	return ascii + utf8.RuneCountInString(text[ascii:])
}

// longer reports whether text has more than limit characters.
func longer(text string, limit int) bool {
	if len(text) <= limit {
		return false
	}
	for range text {
		if limit--; limit < 0 {
			return true
		}
	}
	return false
}

// readable reports whether text is mostly words and figures. What a page's binary data or an unknown encoding leaves is not.
func readable(text string) bool {
	words, marks, broken := 0, 0, 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c-'a' < 26 || c-'A' < 26 || c-'0' < 10 { // most of them; the tables below take their time
			words++
			continue
		}
		if c < utf8.RuneSelf {
			if c > ' ' {
				marks++
			}
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError:
			broken++
		case unicode.IsLetter(r), unicode.IsNumber(r), unicode.IsMark(r):
			words++
		case !unicode.IsSpace(r):
			marks++
		}
		i += size - 1
	}
	return words > 0 && words >= marks && broken*20 <= words
}
