package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// rewriteCase is one block of testdata/rewrite.txt.
type rewriteCase struct{ name, body, infer, stream string }

func rewriteCases(t testing.TB) []rewriteCase {
	b, err := os.ReadFile("testdata/rewrite.txt")
	if err != nil {
		t.Fatal(err)
	}
	var cases []rewriteCase
	for _, block := range strings.Split(strings.TrimSpace(string(b)), "\n\n")[1:] {
		lines := strings.Split(block, "\n")
		if len(lines) != 4 {
			t.Fatalf("testdata/rewrite.txt: block %q has %d lines, want 4", lines[0], len(lines))
		}
		for i := 2; i < 4; i++ {
			if lines[i] == "=" {
				lines[i] = lines[1]
			}
		}
		cases = append(cases, rewriteCase{lines[0], lines[1], lines[2], lines[3]})
	}
	return cases
}

func forInfer(src io.Reader) *rewriter {
	return &rewriter{src: src, replace: map[string]string{"stream": "false", "stream_options": "null"}}
}

func forStream(src io.Reader) *rewriter {
	return &rewriter{src: src, replace: map[string]string{"stream": "true"}, need: "stream"}
}

// TestRewriter reads every case at once and byte by byte. A fault within a value is left to others: so 422 may also be bytes that are no JSON.
func TestRewriter(t *testing.T) {
	for _, c := range rewriteCases(t) {
		t.Run(c.name, func(t *testing.T) {
			for _, r := range []struct {
				edit *rewriter
				want string
			}{
				{forInfer(strings.NewReader(c.body)), c.infer},
				{forStream(strings.NewReader(c.body)), c.stream},
				{forInfer(iotest.OneByteReader(strings.NewReader(c.body))), c.infer},
				{forStream(iotest.DataErrReader(iotest.OneByteReader(strings.NewReader(c.body)))), c.stream},
			} {
				got, err := io.ReadAll(r.edit)
				if r.want == "422" {
					var e *plugin.Error
					if !(errors.As(err, &e) && e.Status == 422) && (err != nil || json.Valid(got)) {
						t.Errorf("%s: %s, %v; want 422", c.body, got, err)
					}
				} else if err != nil || string(got) != r.want {
					t.Errorf("%s:\n got %s, %v\nwant %s", c.body, got, err, r.want)
				}
			}
		})
	}
}

func TestRewriterPassesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	got, err := io.ReadAll(forStream(io.MultiReader(strings.NewReader(`{"a":1,`), iotest.ErrReader(broken))))
	if err != broken || string(got) != `{"a":1,` {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzRewriter holds the rewriter against encoding/json: a valid object stays one, with the same members but for those that were replaced.
func FuzzRewriter(f *testing.F) {
	for _, c := range rewriteCases(f) {
		f.Add([]byte(c.body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := io.ReadAll(forStream(bytes.NewReader(body)))
		var before, after map[string]json.RawMessage
		if json.Unmarshal(body, &before) != nil || before == nil {
			return // it is checked before, when it is held whole, and else by whoever reads it
		}
		if err != nil || json.Unmarshal(got, &after) != nil {
			t.Fatalf("%q became %q: %v", body, got, err)
		}
		if string(after["stream"]) != "true" {
			t.Fatalf("%q became %q", body, got)
		}
		delete(before, "stream")
		delete(after, "stream")
		if len(before) != len(after) {
			t.Fatalf("%q became %q", body, got)
		}
		for k := range before {
			if !bytes.Equal(before[k], after[k]) {
				t.Fatalf("%q: %s became %s", body, before[k], after[k])
			}
		}
	})
}
