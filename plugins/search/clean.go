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
	text = strings.ToValidUTF8(text, string(utf8.RuneError))
	text = strings.ReplaceAll(text, "\r\n", "\n")
	return strings.Map(visible, text)
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

// readable reports whether text is mostly words and figures. What a page's binary data or an unknown encoding leaves is not.
func readable(text string) bool {
	words, marks, broken := 0, 0, 0
	for _, r := range text {
		switch {
		case r == utf8.RuneError:
			broken++
		case unicode.IsLetter(r), unicode.IsNumber(r), unicode.IsMark(r):
			words++
		case !unicode.IsSpace(r):
			marks++
		}
	}
	return words > 0 && words >= marks && broken*20 <= words
}
