package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// replies are answers of every kind, and whether they are usual enough to be read quickly.
func replies() map[string]bool {
	return map[string]bool{
		`{"results":[]}`: true,
		`{"query":"q","images":[],"answer":null,"response_time":1.2e-3,"usage":{"a":[true,{"b":{}}]},"results":[{"title":"T","url":"u","content":"c","raw_content":null,"score":-1.5E2,"favicon":"f"}]}`: true,
		" {\r\n\t\"results\" : [ { \"title\" : \"a\" , \"score\" : 1 } , { } ] } \n":                                        true,
		`{"results":[{"title":"\"\\\/\b\f\n\r\t\u00e5\uD83D\uDEB2\u0000","raw_content":"a \"quoted\" word\nand \\ more"}]}`: true,
		`{"results":[{"title":"väder 天気 🚲","title":"twice","title":null}]}`:                                                 true,
		`{"results":[{"\u0074itle":"an escape in a key"}]}`:                                                                 true,
		`{"results":[{"Title":"another case"}]}`:                                                                            true,
		`{"results":[],"Results":[{"title":"another case"}]}`:                                                               true,
		`{"reſults":[{"title":"another s"}]}`:                                                                               false,
		`{"results":[{"title":"a"}],"results":[{"url":"b"}]}`:                                                               false,
		`{"results":[{"title":"a lone \ud83d surrogate"}]}`:                                                                 false,
		`{"results":[{"title":"a pair the wrong way \udeb2\ud83d"}]}`:                                                       false,
		"{\"results\":[{\"title\":\"broken \xff\"}]}":                                                                       false,
		`{"results":[null]}`:                   false,
		`{"results":null}`:                     false,
		`{"results":[{"":"x","title":"y"}]}`:   false,
		`{"results":[{"score":null}]}`:         false,
		`{"results":[{"score":"1"}]}`:          false,
		`{"results":[{"score":1e999}]}`:        false,
		`{"results":[{"score":01}]}`:           false,
		`{"results":[{"title":1}]}`:            false,
		`{"results":[{"title":nul}]}`:          false,
		`{"results":[{"title":"\x"}]}`:         false,
		`{"results":[{"title":"\u12"}]}`:       false,
		`{"results":[{"title":"\u+123"}]}`:     false,
		`{"results":[{"title":"\`:              false,
		`{"results":[{"title":"open}]}`:        false,
		"{\"results\":[{\"title\":\"a\nb\"}]}": false,
		`{"results":[{"title":"a",}]}`:         false,
		`{"results":[{},]}`:                    false,
		`{"results":[{}{}]}`:                   false,
		`{"results":[{}]`:                      false,
		`{"results":[]}}`:                      false,
		`{"results":[]} x`:                     false,
		`{"results":[],"x":-}`:                 false,
		`{"results":[],"x"}`:                   false,
		`{results:[]}`:                         false,
		`{}`:                                   false,
		`[]`:                                   false,
		``:                                     false,
		`{"results":[],"x":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`: false,
	}
}

// TestQuickPages: what is usual is read quickly, and as encoding/json reads it. What is not is left to it.
func TestQuickPages(t *testing.T) {
	all := replies()
	all[testdata(t, "tavily.json")] = true
	for reply, usual := range all {
		got, ok := tavilyReader().quickPages([]byte(reply))
		if ok != usual {
			t.Errorf("%.200s: read quickly: %v, want %v", reply, ok, usual)
			continue
		}
		want, err := tavilyReader().slowPages([]byte(reply))
		if ok && (err != nil || !slices.Equal(got, want)) {
			t.Errorf("%.200s\n got %+v\nwant %+v, %v", reply, got, want, err)
		}
	}
}

// TestPagesOfSearXNG: its answers have more parts than we read.
func TestPagesOfSearXNG(t *testing.T) {
	reply := []byte(testdata(t, "searxng.json"))
	var want struct {
		Results []struct {
			Title, URL, Content, PublishedDate string
			Score                              float64
		}
	}
	if err := json.Unmarshal(reply, &want); err != nil {
		t.Fatal(err)
	}
	got, ok := searxngReader().quickPages(reply)
	slow, err := searxngReader().slowPages(reply)
	if !ok || err != nil || len(got) != len(want.Results) || !slices.Equal(got, slow) {
		t.Fatalf("read quickly: %v, %d pages, slowly %d, %v; want %d", ok, len(got), len(slow), err, len(want.Results))
	}
	for i, r := range want.Results {
		if want := (page{r.Title, r.URL, r.Content, "", r.Score, r.PublishedDate}); got[i] != want {
			t.Errorf("\n got %+v\nwant %+v", got[i], want)
		}
	}
}

// FuzzQuickPages: no answer is read quickly that encoding/json reads in another way, or not at all.
func FuzzQuickPages(f *testing.F) {
	for reply := range replies() {
		f.Add([]byte(reply))
	}
	f.Fuzz(func(t *testing.T, reply []byte) {
		got, ok := tavilyReader().quickPages(reply)
		if want, err := tavilyReader().slowPages(reply); ok && (err != nil || !slices.Equal(got, want)) {
			t.Fatalf("%q\n got %+v\nwant %+v, %v", reply, got, want, err)
		}
	})
}
