package demo

import (
	"iter"
	"strings"
	"unicode"
)

// words yields the terms of a text as they are indexed: lower case, runs of letters and digits, a plural's s taken
// off. A Han, Hiragana or Katakana character is a word of its own, as those scripts put no spaces between words.
func words(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		start := -1
		for i, r := range text {
			alone := unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana)
			inWord := !alone && (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r))
			if inWord {
				if start < 0 {
					start = i
				}
				continue
			}
			if start >= 0 && !yield(normalise(text[start:i])) {
				return
			}
			start = -1
			if alone && !yield(string(r)) {
				return
			}
		}
		if start >= 0 {
			yield(normalise(text[start:]))
		}
	}
}

// normalise folds case and a plural's s: "Sockets" and "socket" are one term, "class", "status" and "basis" stay.
func normalise(word string) string {
	word = strings.ToLower(word)
	stem, plural := strings.CutSuffix(word, "s")
	if !plural || len(stem) < 3 || strings.HasSuffix(stem, "s") || strings.HasSuffix(stem, "u") || strings.HasSuffix(stem, "i") {
		return word
	}
	return stem
}

// stopWords say nothing about a text's subject. They stand as words yields them.
func stopWords() map[string]bool {
	set := make(map[string]bool)
	for w := range strings.FieldsSeq(`a about after all also am an and any are as at be because been before but by can could did do doe don
		for from give had has have he hello her hey hi his how i if in into is it its me my no not of on one or our out over please say she should so
		some t tell than thank that the their them then there these they thi this to up us use was we were what when where which while who why
		will with would you your`) {
		set[w] = true
	}
	return set
}

// maxTerms bounds the terms of one question; a bit set of 64 holds them.
const maxTerms = 64

// subject returns the distinct terms of a question that are no stop words, in their order, at most maxTerms.
func subject(question string, stop map[string]bool) []string {
	var terms []string
	seen := make(map[string]bool)
	for w := range words(question) {
		if stop[w] || seen[w] || (len(w) == 1 && !unicode.IsDigit(rune(w[0])) && w != "c" && w != "r") {
			continue
		}
		seen[w] = true
		if terms = append(terms, w); len(terms) == maxTerms {
			break
		}
	}
	return terms
}
