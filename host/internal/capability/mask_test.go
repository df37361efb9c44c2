package capability

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
)

func TestMask(t *testing.T) {
	for _, secret := range []string{"tvly-4711-do-not-tell", "gpustack_0123456789abcdef_0123456789abcdef0123456789abcdef", "abcdefgh", "with spaces/and+signs=&\"<>", "aaaaaaaaaa", strings.Repeat("long-", 400)} {
		m := newMask(secret)
		inJSON, _ := json.Marshal("Bearer " + secret)
		for name, text := range map[string]string{
			"itself":       "x " + secret + " y",
			"alone":        secret,
			"twice":        secret + secret,
			"a header":     "Authorization: Bearer " + secret + "\r\n",
			"a query":      "/?a=" + url.QueryEscape(secret),
			"a path":       "/" + url.PathEscape(secret),
			"JSON":         string(inJSON),
			"JSON of PHP":  strings.ReplaceAll(string(inJSON), "/", `\/`),
			"hex":          hex.EncodeToString([]byte(secret)),
			"HEX":          strings.ToUpper(hex.EncodeToString([]byte(secret))),
			"base64":       base64.StdEncoding.EncodeToString([]byte(secret)),
			"basic":        "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+secret)),
			"basic 2":      "Basic " + base64.StdEncoding.EncodeToString([]byte("x:"+secret+":y")),
			"base64 in it": base64.RawURLEncoding.EncodeToString([]byte("Bearer " + secret + "?")),
		} {
			got := m.text(text)
			if len(got) != len(text) || !strings.Contains(got, "*******") {
				t.Errorf("%q as %s: %s", secret, name, got)
			}
			for _, n := range m.needles {
				if strings.Contains(got, string(n)) {
					t.Errorf("%q as %s: %s is still in %s", secret, name, n, got)
				}
			}
		}
		innocent := "The quick brown fox jumps over the lazy dog. tvly-4711-do-not-tel gpustack_0123456789 abcdefg"
		if got := m.text(innocent); got != innocent {
			t.Errorf("%q: %s", secret, got)
		}
	}
	if newMask("1234567") != nil || newMask("") != nil {
		t.Error("a short value is masked everywhere")
	}
	var none *mask
	if none.text("as it is") != "as it is" {
		t.Error("no mask changes a text")
	}
}

// TestMaskedBody reads a body with the secret in it in every way that pieces can lie.
func TestMaskedBody(t *testing.T) {
	const secret = "tvly-4711-do-not-tell"
	m := newMask(secret)
	text := "first t tv tvly-4711 " + secret + secret + " and tvly-4711-do-not-tel, " + base64.StdEncoding.EncodeToString([]byte("u:"+secret)) + strings.Repeat(" filler", 50) + secret + "."
	want := m.text(text)
	for name, src := range map[string]func() io.Reader{
		"whole":     func() io.Reader { return strings.NewReader(text) },
		"bytes":     func() io.Reader { return iotest.OneByteReader(strings.NewReader(text)) },
		"halves":    func() io.Reader { return iotest.HalfReader(strings.NewReader(text)) },
		"with EOF":  func() io.Reader { return iotest.DataErrReader(strings.NewReader(text)) },
		"two parts": func() io.Reader { return io.MultiReader(strings.NewReader(text[:30]), strings.NewReader(text[30:])) },
	} {
		for _, size := range []int{1, 2, 7, 8, 9, 50, 4096} {
			r := &masked{from: src(), mask: m}
			var got bytes.Buffer
			_, err := io.CopyBuffer(struct{ io.Writer }{&got}, struct{ io.Reader }{r}, make([]byte, size))
			if err != nil || got.String() != want {
				t.Fatalf("%s, %d bytes at a time: %v\n got %s\nwant %s", name, size, err, &got, want)
			}
		}
	}
	// What cannot be the beginning of the secret does not wait; what may be one does, and only that.
	r, w := io.Pipe()
	body := &masked{from: r, mask: m}
	p := make([]byte, 100)
	go func() {
		for _, piece := range []string{"data: x\n\n", "data: tv", "ly", " is\n\n"} {
			_, _ = io.WriteString(w, piece)
		}
	}()
	for _, c := range []struct{ sent, got string }{{"data: x\n\n", "data: x\n\n"}, {"data: tv", "data: "}, {"ly", ""}, {" is\n\n", "tvly is\n\n"}} {
		if c.got == "" {
			continue // "tv" and "ly" wait together
		}
		if n, err := body.Read(p); err != nil || string(p[:n]) != c.got {
			t.Errorf("after %q: %q, %v", c.sent, p[:n], err)
		}
	}
	// An answer cut within the secret, by its sender or by a failure.
	broken := errors.New("broken")
	for _, end := range []error{io.EOF, broken} {
		r := &masked{from: io.MultiReader(strings.NewReader("key "+secret[:12]), iotest.ErrReader(end)), mask: m}
		if got, err := io.ReadAll(r); string(got) != "key ************" || (end == broken) != (err == broken) {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// FuzzMask holds the search against a plain one.
func FuzzMask(f *testing.F) {
	f.Add("tvly-4711-do-not-tell", "a tvly-4711-do-not-tell b", 3)
	f.Add("aaaaaaaa", "aaaaaaaaaaaaaaa", 1)
	f.Add("00000000*", "0000000000000000", 91)
	f.Add("\x00\xff\"\\/+=&<é>", "\x00\xff\"\\/+=&<é>", 2)
	f.Fuzz(func(t *testing.T, secret, text string, size int) {
		m := newMask(secret)
		if m == nil || len(secret) > 1<<10 {
			return
		}
		want := []byte(text)
		for _, n := range m.needles {
			if len(n) < minMasked {
				t.Fatalf("%q is spelled %q", secret, n)
			}
			for at := 0; at+len(n) <= len(text); at++ {
				if text[at:at+len(n)] == string(n) {
					stars(want[at : at+len(n)])
				}
			}
		}
		if got := m.text(text); got != string(want) {
			t.Fatalf("%q in %q: %q, want %q", secret, text, got, want)
		}
		var got bytes.Buffer
		size = max(1, min(size, 100))
		_, err := io.CopyBuffer(struct{ io.Writer }{&got}, struct{ io.Reader }{&masked{from: iotest.HalfReader(strings.NewReader(text)), mask: m}}, make([]byte, size))
		if err != nil || got.Len() != len(text) {
			t.Fatalf("%d bytes became %d: %v", len(text), got.Len(), err)
		}
		for i, b := range got.Bytes() { // it may hide more: the beginning of a secret that was cut
			if b != '*' && b != text[i] {
				t.Fatalf("byte %d of %q in %q: %q", i, secret, text, got.Bytes())
			}
		}
		for _, n := range m.needles {
			if bytes.Contains(got.Bytes(), n) && !bytes.Contains(n, []byte("*")) { // stars that hide one may look like another
				t.Fatalf("%q is left of %q in %q: %q", n, secret, text, got.Bytes())
			}
		}
	})
}

func BenchmarkMask(b *testing.B) {
	m := newMask("gpustack_0123456789abcdef_0123456789abcdef0123456789abcdef")
	for name, text := range map[string]string{
		"answer": strings.Repeat(`{"title":"A page","url":"https://example.com/page","content":"Patch bays route signals between machines."},`, 140),
		"event":  `data: {"id":"c1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":" word"}}]}` + "\n\n",
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			p := []byte(text)
			for b.Loop() {
				m.apply(p)
				_ = m.begun(p)
			}
		})
	}
}
