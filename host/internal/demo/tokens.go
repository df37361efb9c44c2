package demo

import (
	"iter"
	"unicode"
	"unicode/utf8"
)

// maxTokenLength is where a long word is cut into several tokens, in characters.
const maxTokenLength = 6

// tokens cuts a text into pieces as a tokenizer of a language model does: a word with the space before it, long words
// in several pieces, a mark or a CJK character alone. Put together again they are the text.
func tokens(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for len(text) > 0 {
			n := tokenLength(text)
			if !yield(text[:n]) {
				return
			}
			text = text[n:]
		}
	}
}

// tokenLength is the length in bytes of the first token of a text that is not empty.
func tokenLength(text string) int {
	n := 0
	if text[0] == ' ' && len(text) > 1 {
		n = 1
	}
	for letters := 0; n < len(text) && letters < maxTokenLength; letters++ {
		r, size := utf8.DecodeRuneInString(text[n:])
		word := (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)) && !unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana)
		if !word {
			if letters == 0 {
				return n + size
			}
			return n
		}
		n += size
	}
	return n
}

func countTokens(text string) int {
	n := 0
	for range tokens(text) {
		n++
	}
	return n
}
