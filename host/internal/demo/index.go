package demo

import (
	"cmp"
	"math"
	"slices"
)

// BM25 as in S. Robertson and H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", Foundations and
// Trends in Information Retrieval 3(4), 2009. Section 3.5 there reports good values for k1 between 1.2 and 2 and
// for b between 0.5 and 0.8. The title counts as in section 3.6 (BM25F): its occurrences are weighted and added
// before saturation, not scored apart.
const (
	k1          = 1.2
	b           = 0.75
	titleWeight = 4
)

// posting is how often a term stands in one article, occurrences in the title weighted.
type posting struct {
	article int
	weight  float64
}

// index finds articles by their words. It is read-only once it is built.
type index struct {
	articles []article
	postings map[string][]posting // in the order of the articles
	norm     []float64            // by article: k1·(1−b+b·length/mean length)
	stop     map[string]bool
}

func newIndex(articles []article) *index {
	ix := &index{articles: articles, postings: make(map[string][]posting), norm: make([]float64, len(articles)), stop: stopWords()}
	total := 0.0
	for i, a := range articles {
		weights := make(map[string]float64)
		length := 0.0
		for _, para := range a.paragraphs {
			for _, s := range para {
				for _, w := range s.words {
					weights[w]++
					length++
				}
			}
		}
		for w := range words(a.title) {
			weights[w] += titleWeight
			length++
		}
		for w, n := range weights {
			ix.postings[w] = append(ix.postings[w], posting{i, n})
		}
		ix.norm[i] = length
		total += length
	}
	mean := total / float64(max(len(articles), 1))
	for i, length := range ix.norm {
		ix.norm[i] = k1 * (1 - b + b*length/mean)
	}
	return ix
}

// size is how many weights the index holds.
func (ix *index) size() int {
	n := 0
	for _, list := range ix.postings {
		n += len(list)
	}
	return n
}

// idf is high for a rare term. The 1 inside the logarithm keeps it positive for terms in most articles.
func (ix *index) idf(term string) float64 {
	n, df := float64(len(ix.articles)), float64(len(ix.postings[term]))
	return math.Log(1 + (n-df+0.5)/(df+0.5))
}

// hit is an article that has a term of the query.
type hit struct {
	*article
	score float64 // the share of the best score that any text could have for the query, above 0 and below 1
}

// search ranks the articles that keep accepts and that have at least one of the terms; the best first, equal ones by url.
func (ix *index) search(terms []string, keep func(*article) bool) []hit {
	scores := make([]float64, len(ix.articles))
	best := 0.0
	for _, t := range terms {
		idf := ix.idf(t)
		best += idf * (k1 + 1)
		for _, p := range ix.postings[t] {
			scores[p.article] += idf * (k1 + 1) * p.weight / (p.weight + ix.norm[p.article])
		}
	}
	var hits []hit
	for i, score := range scores {
		if a := &ix.articles[i]; score > 0 && keep(a) {
			hits = append(hits, hit{a, score / best})
		}
	}
	slices.SortFunc(hits, func(x, y hit) int {
		return cmp.Or(cmp.Compare(y.score, x.score), cmp.Compare(x.url, y.url))
	})
	return hits
}

// passage returns consecutive sentences of one paragraph of the article, together at most limit bytes (or one
// sentence, however long), that say most about the terms. There are at most maxTerms terms.
func (ix *index) passage(a *article, terms []string, limit int) string {
	idf := make([]float64, len(terms))
	for i, t := range terms {
		idf[i] = ix.idf(t)
	}
	bestScore, best := -1.0, ""
	for _, para := range a.paragraphs {
		has := make([]uint64, len(para)) // by sentence, a bit for each term in it
		for i, s := range para {
			has[i] = s.mask(terms)
		}
		for from := range para {
			size, score, to := 0, 0.0, from
			var found uint64
			for ; to < len(para) && (to == from || size+len(para[to].text) <= limit); to++ {
				size += len(para[to].text) + 1
				score += worth(has[to], found, idf)
				found |= has[to]
			}
			if score > bestScore {
				bestScore, best = score, joinSentences(para[from:to])
			}
		}
	}
	return best
}

// worth is what a sentence adds to a passage: a term that is new to it counts in full, one that was there a tenth.
func worth(has, found uint64, idf []float64) float64 {
	sum := 0.0
	for i, weight := range idf {
		switch bit := uint64(1) << i; {
		case has&bit == 0:
		case found&bit == 0:
			sum += weight
		default:
			sum += 0.1 * weight
		}
	}
	return sum
}
