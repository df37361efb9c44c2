package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// cleanCase reads one file of testdata/clean: a page, a line "-- want --", and what is left of it.
func cleanCase(t testing.TB, file string) (page, want string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	page, want, ok := strings.Cut(string(b), "-- want --\n")
	if !ok {
		t.Fatalf("%s has no line -- want --", file)
	}
	return page, strings.TrimSuffix(want, "\n")
}

func cleanFiles(t testing.TB) []string {
	files, _ := filepath.Glob("testdata/clean/*.txt")
	if len(files) == 0 {
		t.Fatal("no test data")
	}
	return files
}

func TestClean(t *testing.T) {
	for _, file := range cleanFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			page, want := cleanCase(t, file)
			got := clean(page, 5000)
			if got != want {
				t.Errorf("\n got %q\nwant %q", got, want)
			}
		})
	}
}

// TestFault10CleanerKeepsPricesAndPages: "$3.50 to $1.25" became "25", and an ordinary footer rejected a good page.
func TestFault10CleanerKeepsPricesAndPages(t *testing.T) {
	for _, name := range []string{"prices", "footer"} {
		text, want := cleanCase(t, "testdata/clean/"+name+".txt")
		cfg := defaults()
		for _, given := range [][2]string{{text, ""}, {"", text}, {"short", text}} {
			results := cfg.results([]page{{url: "https://x.test/", title: "T", content: given[0], raw: given[1]}})
			if len(results) != 1 || results[0].Content != want {
				t.Errorf("%s: %+v, want %q", name, results, want)
			}
		}
	}
}

func TestCleanStopsWhenItHasEnough(t *testing.T) {
	var page strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&page, "Line %d of a page that goes on and on.\n", i)
	}
	if n := utf8.RuneCountInString(clean(page.String(), 1500)); n <= 1500 || n > 1600 {
		t.Errorf("%d characters", n)
	}
}

// TestCleanLongPages: of a long page only a part is looked at, and what the cut halves must not show.
func TestCleanLongPages(t *testing.T) {
	code := "<script>" + strings.Repeat("var x = 1;\n", 4000) + "</script>"
	for name, c := range map[string]struct{ page, want string }{
		"a script over the first look": {"Before.\n" + code + "\nAfter.", "Before.\nAfter."},
		"a script over the end":        {"Before.\n" + code + code + code + code, "Before."},
		"a comment over the end":       {"Before.\n<!--" + strings.Repeat("no\n", maxPage), "Before."},
		"a tag over the end":           {"Before.\n" + strings.Repeat("<br>\n", maxPage/5-10) + `<a href="` + strings.Repeat("x", 1000) + `">link</a>`, "Before."},
		"a character over the end":     {strings.Repeat("å", maxPage), strings.Repeat("å", maxPage/2)},
		"a character over the other":   {"a" + strings.Repeat("å", maxPage), "a" + strings.Repeat("å", maxPage/2-1)},
	} {
		got := clean(c.page, maxPage)
		if got != c.want {
			t.Errorf("%s: %d bytes, %.100q, want %d bytes, %.100q", name, len(got), got, len(c.want), c.want)
		}
	}
}

// TestCleanTakesLinearTime feeds it what would take a careless scanner quadratic time: a plugin's CPU time is bounded.
func TestCleanTakesLinearTime(t *testing.T) {
	for _, unit := range []string{"<a ", "<a \"", "<a '\"", "<!--", "<script>", "<nav>", "[", "![", "[](", "[](\"", "]", "(", "&", "&a", "**a ", "*", "_a_", "<https://", "|", "a|", "\\", "```\n", "[a](/b)\n"} {
		begun := time.Now()
		plain(strings.Repeat(unit, 1<<20/len(unit)), false)
		clean(strings.Repeat(unit, maxPage/len(unit)), maxPage)
		if took := time.Since(begun); took > 30*time.Second { // 0.1 s is usual; quadratic time is more than a minute
			t.Errorf("%q takes %v", unit, took)
		}
	}
}

func TestReadable(t *testing.T) {
	for text, want := range map[string]bool{
		"Plain words and 12 figures.": true,
		"if (a[i] < b) { x++; }":      false,
		"価格は3.50ドル":                   true,
		"":                            false,
		"=== --- *** ### a":           false,
		"\ufffd\ufffd\ufffd abc":      false,
		"a long text with one broken \ufffd character": true,
	} {
		if got := readable(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		text  string
		limit int
		want  string
	}{
		{"twelve chars", 12, "twelve chars"},
		{"twelve chars and more of them", 12, "twelve chars" + truncated},
		{"the whole costs them a price of $1.25 in all", 34, "the whole costs them a price of" + truncated},
		{"one two three four five six seven eight nine ten", 45, "one two three four five six seven eight nine" + truncated},
		{strings.Repeat("ö", 20), 10, strings.Repeat("ö", 10) + truncated},
		{"", 10, ""},
	} {
		if got := cut(c.text, c.limit); got != c.want {
			t.Errorf("%q at %d: %q, want %q", c.text, c.limit, got, c.want)
		}
	}
}

// TestCleanLinkWithinAnAddress: a link's address may hold the end of the link around it.
func TestCleanLinkWithinAnAddress(t *testing.T) {
	if got, want := clean("[a [b](/c](/d)) and words", 5000), "a b and words"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestLongerTextWins: a provider's snippet may say more than what it has of the page.
func TestLongerTextWins(t *testing.T) {
	short, long := strings.Repeat("few words ", 15)+"end", strings.Repeat("many words ", 40)+"end"
	cfg := defaults()
	for _, p := range []page{{content: long, raw: short}, {content: short, raw: long}} {
		p.url = "https://x.test/"
		if got := cfg.results([]page{p}); len(got) != 1 || got[0].Content != long {
			t.Errorf("%+v", got)
		}
	}
}

// TestPrintable tries every byte at every place of the eight that are looked at together.
func TestPrintable(t *testing.T) {
	for c := range 256 {
		for at := range 20 {
			text := []byte(strings.Repeat("~ ", 10))
			text[at] = byte(c)
			want := at
			if c >= ' ' && c < 0x7f {
				want = len(text)
			}
			if got := printable(string(text)); got != want {
				t.Errorf("%#x at %d: %d, want %d", c, at, got, want)
			}
		}
	}
}

// TestBanners: a line is searched for a banner's phrases only when it has one of a few words.
func TestBanners(t *testing.T) {
	for _, line := range []string{
		"All rights reserved", "We use cookies", "This site uses cookies", "This website uses cookies", "uses cookies to", "Accept all cookies", "Accept cookies",
		"Cookie settings", "Cookie preferences", "By continuing to use this", "By continuing to browse", "Enable JavaScript", "JavaScript is disabled",
		"JavaScript to run this app", "Your browser does not support", "Your browser is not supported", "Subscribe to our newsletter",
		"Sign up for our newsletter", "Sign up to our newsletter", "Join our newsletter", "Verify you are human", "Verifying you are human", "Checking your browser",
	} {
		for _, line := range []string{line, strings.ToUpper(line), strings.ToLower(line) + "!", "Å. " + line} {
			if !isBoilerplate(line) {
				t.Errorf("%q is kept", line)
			}
		}
	}
}

// FuzzClean holds what must be true of any page.
func FuzzClean(f *testing.F) {
	for _, file := range cleanFiles(f) {
		page, _ := cleanCase(f, file)
		f.Add(page)
	}
	f.Fuzz(func(t *testing.T, page string) {
		got := clean(page, 1500)
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\x00\x01\x02\r\t") || strings.Contains(got, "\n\n") || strings.TrimSpace(got) != got {
			t.Fatalf("%q became %q", page, got)
		}
		content := cut(got, 1500)
		if n := utf8.RuneCountInString(content); n > 1500+utf8.RuneCountInString(truncated) {
			t.Fatalf("%q: %d characters", page, n)
		}
		plain(page, true)
	})
}
