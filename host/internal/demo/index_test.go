package demo

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func corpusOf(t *testing.T, texts map[string]string) *index {
	t.Helper()
	var articles []article
	for title, text := range texts {
		a, err := buildArticle(title, corpusBase+title, time.Now().Format(time.DateOnly), text)
		if err != nil {
			t.Fatal(err)
		}
		articles = append(articles, a)
	}
	return newIndex(articles)
}

func ranking(ix *index, terms ...string) []string {
	var titles []string
	for _, h := range ix.search(terms, func(*article) bool { return true }) {
		titles = append(titles, h.title)
	}
	return titles
}

func TestRanking(t *testing.T) {
	filler := strings.Repeat("filler ", 20)
	cases := []struct {
		name  string
		texts map[string]string
		terms []string
		want  []string
	}{
		{"more occurrences", map[string]string{"one": "x " + filler, "two": "x x " + filler, "none": filler}, []string{"x"}, []string{"two", "one"}},
		{"a rare term before a common one", map[string]string{"a": "common " + filler, "b": "common " + filler, "c": "rare " + filler}, []string{"common", "rare"}, []string{"c", "a", "b"}},
		{"both terms before one often", map[string]string{"both": "x y " + filler, "often": "x x x x " + filler, "other": "y " + filler}, []string{"x", "y"}, []string{"both", "often", "other"}},
		{"a short text before a long one", map[string]string{"long": "x " + filler + filler, "short": "x " + filler}, []string{"x"}, []string{"short", "long"}},
		{"the title before two in the text", map[string]string{"x": filler + "a b c", "text": "x x " + filler}, []string{"x"}, []string{"x", "text"}},
		{"equal ones by address", map[string]string{"b": "x", "a": "x", "c": "x"}, []string{"x"}, []string{"a", "b", "c"}},
		{"nothing", map[string]string{"a": "x"}, []string{"y"}, nil},
		{"no terms", map[string]string{"a": "x"}, nil, nil},
	}
	for _, c := range cases {
		if got := ranking(corpusOf(t, c.texts), c.terms...); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// One score worked out by hand: three articles of 4, 4 and 10 words with their titles, so 6 on average. In p, of 4
// words, the term stands twice; its best possible score is that of endless occurrences, idf times k1+1.
func TestScore(t *testing.T) {
	ix := corpusOf(t, map[string]string{"p": "x x w", "q": "w w w", "r": "w w w w w w w w w"})
	hits := ix.search([]string{"x"}, func(*article) bool { return true })
	// 2 / (2 + 1.2·(1 − 0.75 + 0.75·4/6)) = 2 / 2.9
	if len(hits) != 1 || math.Abs(hits[0].score-2/2.9) > 1e-9 {
		t.Errorf("%+v, want one hit of %v", hits, 2/2.9)
	}
	// A second term that nobody has halves what can be reached, weighed by its rarity: ln(1+2.5/1.5) and ln(1+3.5/0.5).
	hits = ix.search([]string{"x", "absent"}, func(*article) bool { return true })
	x, absent := math.Log(1+2.5/1.5), math.Log(8)
	if want := 2 / 2.9 * x / (x + absent); len(hits) != 1 || math.Abs(hits[0].score-want) > 1e-9 {
		t.Errorf("%+v, want one hit of %v", hits, want)
	}
}

func TestPassage(t *testing.T) {
	ix := corpusOf(t, map[string]string{"a": "First there is nothing. Then comes x alone. Here x and y meet. Nothing again.\n\nAnother y ends it."})
	for _, c := range []struct {
		terms []string
		limit int
		want  string
	}{
		{[]string{"x", "y"}, 20, "Here x and y meet."},
		{[]string{"x", "y"}, 40, "Then comes x alone. Here x and y meet."},
		{[]string{"end"}, 20, "Another y ends it."},
		{[]string{"absent"}, 30, "First there is nothing."},
		{nil, 1, "First there is nothing."},
	} {
		if got := ix.passage(&ix.articles[0], c.terms, c.limit); got != c.want {
			t.Errorf("%v in %d: %q, want %q", c.terms, c.limit, got, c.want)
		}
	}
}
