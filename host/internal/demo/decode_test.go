package demo

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func FuzzDecodeChat(f *testing.F) {
	f.Add([]byte(`{"model":"demo-chat","stream":true,"messages":[{"role":"user","content":"hi"}]}`))
	f.Add([]byte(`{"model":"m","max_tokens":3,"n":1,"stream_options":{"include_usage":false},"messages":[{"role":"user","content":[{"type":"text","text":"Question: x\n[1] a - https://b\nc"}]}]}`))
	f.Add([]byte(`{"model":"m","messages":[{"role":"system","content":"[1] a\n[2] b\nURL: http://x\nTitle: y\n[2] z"},{"role":"user","content":null}]}`))
	f.Add([]byte(`{"model":"m","messages":[{}]}`))
	f.Add([]byte(`null`))
	f.Add([]byte(``))
	s, err := New(Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		req, err := decodeChat(raw)
		if err != nil {
			var wrong *fault
			if !errors.As(err, &wrong) || wrong.status != http.StatusBadRequest || wrong.message == "" {
				t.Errorf("%q: %v is not a fault of status 400", raw, err)
			}
			return
		}
		if req.model == "" || len(req.messages) == 0 || req.maxTokens < 0 {
			t.Errorf("accepted %q as %+v", raw, req)
		}
		c, err := s.complete(req)
		if err != nil {
			return // over the window
		}
		answer := strings.Join(c.tokens, "")
		if req.maxTokens == 0 && !strings.HasPrefix(answer, notice) || len(c.tokens) == 0 {
			t.Errorf("%q is answered %q", raw, answer)
		}
	})
}

// Tokens put together are the text, whatever it is; none is empty.
func FuzzTokens(f *testing.F) {
	for _, text := range []string{"", " ", "  a", "tokenisers cut 漢字 apart.", "naïve\nMalmö €3.50", "\xff\xfe x", "é"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		pieces := slices.Collect(tokens(text))
		if got := strings.Join(pieces, ""); got != text {
			t.Errorf("%q came back as %q", text, got)
		}
		if slices.Contains(pieces, "") || countTokens(text) != len(pieces) {
			t.Errorf("%q: %q", text, pieces)
		}
	})
}

func TestTokens(t *testing.T) {
	got := slices.Collect(tokens("Quantisation of 漢字, $1.25"))
	want := []string{"Quanti", "sation", " of", " 漢", "字", ",", " $", "1", ".", "25"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
