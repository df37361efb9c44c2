package demo

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

const (
	maxQuotes       = 5   // sentences in an answer
	minQuotes       = 3   // sentences in an answer, when the sources have them
	quotesPerSource = 2   // of these, from one source, as long as others have something to say
	maxQuote        = 400 // bytes; longer sentences are passed over, as pages without full stops give them
	minQuote        = 25  // bytes; shorter ones are headings and menus
	maxSentences    = 4000
	ownSources      = 3 // articles that answer a question without sources
)

// cutMark ends a source that its sender cut off; the sentence before it is a fragment.
const cutMark = "[content truncated]"

// notice opens every answer, so that nobody takes the demo for a language model.
const notice = "This is Patchbay's demo model; it quotes sentences from its sources and writes none of its own."

// respond answers a conversation from its sources, or from the corpus when it gives none.
func (s *Server) respond(messages []message) string {
	question, sources := readPrompt(messages)
	terms := subject(question, s.index.stop)
	if len(sources) > 0 {
		return compose(terms, sources)
	}
	hits := s.index.search(terms, func(*article) bool { return true })
	if len(hits) == 0 {
		return s.nothingFound()
	}
	// What comes far behind the best only shares a word with the question.
	far := slices.IndexFunc(hits, func(h hit) bool { return h.score < hits[0].score/2 })
	if far < 0 {
		far = len(hits)
	}
	return compose(terms, sourcesOf(hits[:min(far, ownSources)]))
}

func (s *Server) nothingFound() string {
	var titles []string
	for i := 0; i < len(s.index.articles); i += max(len(s.index.articles)/4, 1) {
		titles = append(titles, s.index.articles[i].title)
	}
	return fmt.Sprintf("%s It found nothing about this in its %d articles. Try one of these: %s.",
		notice, len(s.index.articles), strings.Join(titles, "; "))
}

func sourcesOf(hits []hit) []source {
	sources := make([]source, len(hits))
	for i, h := range hits {
		sources[i] = source{number: i + 1, title: h.title, url: h.url, text: h.text}
	}
	return sources
}

// quote is a sentence that an answer may use.
type quote struct {
	sentence
	order  int // among all quotes
	source int // index of its source
	lead   bool
	has    uint64 // a bit for each term in it
	title  uint64 // a bit for each term in its source's title
}

// compose picks the sentences that say most about the terms, each term counted once, puts them in the order of their
// sources, cites each, and lists the sources that it cited. sources must not be empty.
func compose(terms []string, sources []source) string {
	quotes := quotesOf(terms, sources)
	picked := pick(quotes, terms, len(sources))
	var b strings.Builder
	b.WriteString(notice)
	b.WriteString("\n\n")
	cited := make([]bool, len(sources))
	for i, q := range picked {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s [%d]", q.text, sources[q.source].number)
		cited[q.source] = true
	}
	if len(picked) == 0 {
		fmt.Fprintf(&b, "None of the sources holds a sentence that can be quoted. [%d]", sources[0].number)
		cited[0] = true
	}
	b.WriteString("\n\nSources:")
	for i, src := range sources {
		if !cited[i] {
			continue
		}
		fmt.Fprintf(&b, "\n[%d] %s", src.number, src.title)
		if src.url != "" {
			b.WriteString(" - " + src.url)
		}
	}
	return b.String()
}

// quotesOf lists the sentences of all sources that can be quoted, in order.
func quotesOf(terms []string, sources []source) []quote {
	var quotes []quote
	for i, src := range sources {
		title := sentence{words: slices.Collect(words(src.title))}.mask(terms)
		lead := true
		for para := range strings.SplitSeq(plainText(src.text), "\n") {
			for _, s := range splitSentences(para) {
				if len(quotes) == maxSentences {
					return quotes
				}
				if len(s.text) < minQuote || len(s.text) > maxQuote || strings.HasSuffix(s.text, cutMark) {
					continue
				}
				quotes = append(quotes, quote{s, len(quotes), i, lead, s.mask(terms), title})
				lead = false
			}
		}
	}
	return quotes
}

// pick chooses up to maxQuotes: the best first, each next one for what it adds. Without any match it takes the first
// sentences of the first sources.
func pick(quotes []quote, terms []string, sources int) []quote {
	idf := make([]float64, len(terms))
	for i := range terms {
		df := 0
		for _, q := range quotes {
			if q.has&(1<<i) != 0 {
				df++
			}
		}
		idf[i] = math.Log(1 + (float64(len(quotes)-df)+0.5)/(float64(df)+0.5))
	}
	var picked []quote
	var found uint64
	used := make([]int, sources)
	taken := make(map[string]bool)
	for len(picked) < maxQuotes {
		best, bestScore := -1, 0.0
		for i, q := range quotes {
			if q.has == 0 || used[q.source] == quotesPerSource || taken[q.text] {
				continue
			}
			score := worth(q.has, found, idf) + 0.3*worth(q.title, 0, idf)
			if q.lead {
				score *= 1.2 // a first sentence usually says what the thing is
			}
			if score > bestScore {
				best, bestScore = i, score
			}
		}
		if best < 0 {
			break
		}
		picked = append(picked, quotes[best])
		found |= quotes[best].has
		used[quotes[best].source]++
		taken[quotes[best].text] = true
	}
	if len(picked) == 0 {
		for _, q := range quotes {
			if q.lead && len(picked) < ownSources {
				picked = append(picked, q)
			}
		}
	}
	// A short answer goes on with what follows its sentences.
	for i := 0; i < len(picked) && len(picked) < minQuotes; i++ {
		next := picked[i].order + 1
		if next < len(quotes) && quotes[next].source == picked[i].source && !taken[quotes[next].text] {
			picked = append(picked, quotes[next])
			taken[quotes[next].text] = true
		}
	}
	// In the order of the sources, and of the sentences in each.
	slices.SortFunc(picked, func(x, y quote) int { return cmp.Compare(x.order, y.order) })
	return picked
}
