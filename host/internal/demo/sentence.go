package demo

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// sentence is a piece of text with its words, as the index spells them.
type sentence struct {
	text  string
	words []string
}

// mask says which of the terms stand in the sentence: bit i is terms[i]. There are at most maxTerms terms.
func (s sentence) mask(terms []string) uint64 {
	var bits uint64
	for i, t := range terms {
		if slices.Contains(s.words, t) {
			bits |= 1 << i
		}
	}
	return bits
}

func joinSentences(sentences []sentence) string {
	var b strings.Builder
	for i, s := range sentences {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(s.text)
	}
	return b.String()
}

// splitSentences cuts a paragraph after . ! ? and their full-width forms, where a new sentence begins. Numbers
// (1.25), names (patchbay.invalid) and abbreviations (e.g. this) stay whole.
func splitSentences(para string) []sentence {
	var out []sentence
	start := 0
	cut := func(end int) {
		if s := strings.TrimSpace(para[start:end]); s != "" {
			out = append(out, sentence{s, slices.Collect(words(s))})
		}
		start = end
	}
	for i, r := range para {
		end := i + utf8.RuneLen(r)
		switch r {
		case '。', '！', '？':
			cut(end)
		case '.', '!', '?':
			rest := strings.TrimLeft(para[end:], `"'”’)`)
			next, _ := utf8.DecodeRuneInString(strings.TrimLeft(rest, " "))
			if strings.HasPrefix(rest, " ") && !unicode.IsLower(next) && !abbreviation(para[start:end]) {
				cut(len(para) - len(rest))
			}
		}
	}
	cut(len(para))
	return out
}

// abbreviation says whether a text ends in a word whose full stop ends no sentence.
func abbreviation(text string) bool {
	last := text[strings.LastIndexAny(text, " (")+1:]
	switch strings.ToLower(last) {
	case "e.g.", "i.e.", "vs.", "cf.", "dr.", "mr.", "mrs.", "no.", "st.", "approx.":
		return true
	}
	// An initial, as in "A. G. Bell".
	return len(last) == 2 && last[0] >= 'A' && last[0] <= 'Z'
}
