package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// sameAnswer compares the two parts with what encoding/json makes of the whole.
func sameAnswer(t *testing.T, a *answer) {
	t.Helper()
	var want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetEscapeHTML(false)
	failed := enc.Encode(a) != nil
	got, err := appendRest(appendHead([]byte("before "), a.Result.Query), &a.Result)
	if failed != (err != nil) {
		t.Fatalf("%+v: %v, and encoding/json fails: %v", a, err, failed)
	}
	if want := "before " + strings.TrimSuffix(want.String(), "\n"); !failed && string(got) != want {
		t.Fatalf("\n got %q\nwant %q", got, want)
	}
}

func TestAppendAnswer(t *testing.T) {
	date := "2024-05-01"
	sameAnswer(t, &answer{body{Query: "none", Results: []result{}}})
	sameAnswer(t, &answer{body{Query: "two", Results: []result{{}, {Title: "T", URL: "https://x.test/?a=1&b=<2>", Content: "a\nb", Score: 0.25, PublishedDate: &date, Index: 2}},
		outcome: outcome{Summary: "s [1]", Status: success, Error: "e"}}})
	for n := range 3 {
		sameAnswer(t, &answer{body{Query: "q", Results: []result{}, origin: origin{Provider: "p", Skipped: []skip{{"a", "\"why\""}, {"b", ""}}[:n], Partial: n == 1}}})
	}
}

// FuzzAppendAnswer holds that the answer is what encoding/json makes of it, whatever is in it.
func FuzzAppendAnswer(f *testing.F) {
	for _, text := range []string{"", "plain", `"quoted" \ and / more`, "lines\nand\ttabs\r", "\x00\x01\x1f\x7f", "väder 天気 🚲", "<b>&amp;</b>", "\u2028", "\u2029", "\ufffd \xff"} {
		f.Add(text, "x", 0.5, 1, true)
	}
	for _, score := range []float64{0, 1, -1.5, 1e-7, 1e21, 123456789.125, 5e-324} {
		f.Add("x", "y", score, -1, false)
	}
	f.Fuzz(func(t *testing.T, text, other string, score float64, index int, dated bool) {
		r := result{Title: other, URL: text, Content: text, Score: score, Index: index}
		if dated {
			r.PublishedDate = &text
		}
		sameAnswer(t, &answer{body{Query: text, Results: []result{r, {Content: other}}, outcome: outcome{Summary: text, Error: other}}})
	})
}
