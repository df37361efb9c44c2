package demo

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func TestCorpus(t *testing.T) {
	articles, err := loadCorpus(corpusFiles)
	if err != nil {
		t.Fatal(err)
	}
	if len(articles) < 50 {
		t.Errorf("%d articles, want about 50", len(articles))
	}
	var all strings.Builder
	titles := make(map[string]bool)
	for _, a := range articles {
		all.WriteString(a.markdown)
		if n := len(strings.Fields(a.markdown)); n < 120 || n > 250 {
			t.Errorf("%s: %d words, want 120 to 250", a.url, n)
		}
		if titles[a.title] {
			t.Errorf("%s: title %q twice", a.url, a.title)
		}
		titles[a.title] = true
		if day := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC); a.published.After(day) {
			t.Errorf("%s: published %v is after the corpus was written", a.url, a.published)
		}
		for _, para := range a.paragraphs {
			for _, s := range para {
				if len(s.text) > maxQuote {
					t.Errorf("%s: a sentence of %d bytes cannot be quoted: %s", a.url, len(s.text), s.text)
				}
			}
		}
	}
	// What the rest of the product is tested with: prices, and text beyond ASCII.
	for _, want := range []string{"from $3.50 to $1.25", "é", "ö", "漢字", "€"} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("no article holds %q", want)
		}
	}
}

const goodArticle = "---\ntitle: A: title\nurl: https://demo.patchbay.invalid/a\npublished: 2025-03-14\n---\n\n# Heading\n\nOne line\nand `more`. **Two**!\n\n- item\n"

func TestParseArticle(t *testing.T) {
	for name, raw := range map[string]string{"as written": goodArticle, "with CRLF": strings.ReplaceAll(goodArticle, "\n", "\r\n")} {
		a, err := parseArticle(raw)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if a.title != "A: title" || a.url != "https://demo.patchbay.invalid/a" || a.host != "demo.patchbay.invalid" || a.published.Format(time.DateOnly) != "2025-03-14" {
			t.Errorf("%s: %+v", name, a)
		}
		if want := "Heading\nOne line and more. Two!\nitem"; a.text != want {
			t.Errorf("%s: text %q, want %q", name, a.text, want)
		}
	}
	bad := []struct{ name, from, to, want string }{
		{"no start", "---\ntitle", "title", `want "---"`},
		{"no end", "---\n\n#", "\n\n#", "has no end"},
		{"no colon", "title: A: title", "title A", "line 2: want \"key: value\""},
		{"no value", "title: A: title", "title:", "line 2: want \"key: value\""},
		{"unknown key", "title:", "heading:", `unknown key "heading"`},
		{"twice", "title: A: title", "title: A\ntitle: B", "line 3: title is given twice"},
		{"missing", "title: A: title\n", "", "needs title, url and published"},
		{"foreign url", "demo.patchbay.invalid", "example.com", "must be a page under"},
		{"front page", "invalid/a", "invalid/", "must be a page under"},
		{"no date", "2025-03-14", "14 March", "must be a date"},
		{"no such date", "2025-03-14", "2025-02-30", "must be a date"},
		{"no text", goodArticle[strings.Index(goodArticle, "# Heading"):], " \n", "there is no text"},
		{"huge", "item", strings.Repeat("x", maxArticleSize), "over 65536"},
	}
	for _, c := range bad {
		raw := strings.Replace(goodArticle, c.from, c.to, 1)
		if _, err := parseArticle(raw); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestLoadCorpusReportsEveryMistake(t *testing.T) {
	_, err := loadCorpus(fstest.MapFS{
		"corpus/a.md": {Data: []byte(goodArticle)},
		"corpus/b.md": {Data: []byte(goodArticle)},
		"corpus/c.md": {Data: []byte("nothing")},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"corpus/b.md: url https://demo.patchbay.invalid/a is that of a.md too", "corpus/c.md: line 1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

func FuzzParseArticle(f *testing.F) {
	f.Add(goodArticle)
	f.Add("")
	f.Add("---\n---\n")
	f.Add("---\ntitle:\n---\nx")
	f.Add("---\ntitle: é\nurl: https://demo.patchbay.invalid/漢\npublished: 2025-01-01\n---\n\xff. A. b?! C。D\n#\n- \n")
	f.Fuzz(func(t *testing.T, raw string) {
		a, err := parseArticle(raw)
		if err != nil {
			return
		}
		if a.title == "" || a.markdown == "" || a.published.IsZero() && !strings.Contains(raw, "0001") || !strings.HasPrefix(a.url, corpusBase) {
			t.Errorf("accepted %q as %+v", raw, a)
		}
		// Whatever was accepted can be indexed and searched.
		ix := newIndex([]article{a})
		terms := subject(a.title+" "+a.text, ix.stop)
		for _, h := range ix.search(terms, func(*article) bool { return true }) {
			if !(h.score > 0 && h.score < 1) {
				t.Errorf("score %v", h.score)
			}
			ix.passage(h.article, terms, 100)
		}
	})
}

func TestWords(t *testing.T) {
	for text, want := range map[string][]string{
		"":                             nil,
		"Server-sent Events, HTTP/1.1": {"server", "sent", "event", "http", "1", "1"},
		"class status basis as gas":    {"class", "status", "basis", "as", "gas"},
		"Spärck Jones' café":           {"spärck", "jone", "café"},
		"漢字とGo":                        {"漢", "字", "と", "go"},
		"$3.50":                        {"3", "50"},
		"\xffa\xff":                    {"a"},
	} {
		if got := slices.Collect(words(text)); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestSubject(t *testing.T) {
	for question, want := range map[string][]string{
		"What is the price of the bread?": {"price", "bread"},
		"bread Bread breads":              {"bread"},
		"hello":                           nil,
		"C or R in 3":                     {"c", "r", "3"},
	} {
		if got := subject(question, stopWords()); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", question, got, want)
		}
	}
	// Stop words are spelled as words yields them, or they would never match.
	for w := range stopWords() {
		if got := slices.Collect(words(w)); !slices.Equal(got, []string{w}) {
			t.Errorf("stop word %q is indexed as %q", w, got)
		}
	}
	if got := subject(strings.Repeat("x1 y2 ", 10)+manyWords(200), stopWords()); len(got) != maxTerms {
		t.Errorf("%d terms, want %d", len(got), maxTerms)
	}
}

func manyWords(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(" word" + string(rune('a'+i/26)) + string(rune('a'+i%26)))
	}
	return b.String()
}

func TestSplitSentences(t *testing.T) {
	for para, want := range map[string][]string{
		"":                                      nil,
		"One. Two! Three?":                      {"One.", "Two!", "Three?"},
		"It costs $1.25. That is 2.5 percent.":  {"It costs $1.25.", "That is 2.5 percent."},
		"See demo.patchbay.invalid. e.g. this.": {"See demo.patchbay.invalid. e.g. this."},
		"A name, e.g. Bell, or i.e. Watson.":    {"A name, e.g. Bell, or i.e. Watson."},
		"By A. G. Bell. He rang.":               {"By A. G. Bell.", "He rang."},
		`He said "stop." She did.`:              {`He said "stop."`, "She did."},
		"漢字。 かな！":                               {"漢字。", "かな！"},
	} {
		var got []string
		for _, s := range splitSentences(para) {
			got = append(got, s.text)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", para, got, want)
		}
	}
}
