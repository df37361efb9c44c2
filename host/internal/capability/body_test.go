package capability_test

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

func zipped(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.Bytes()
}

// TestAnswersComeUnpacked has every way in which an answer can be packed, or say that it is.
func TestAnswersComeUnpacked(t *testing.T) {
	text := strings.Repeat("what a server has to say. ", 1000)
	packed := zipped(text)
	for _, c := range []struct {
		name, coding string
		body         []byte
		want         string
		code         abi.Code
		text         string
	}{
		{name: "plain", body: []byte(text), want: text},
		{name: "identity", coding: "Identity", body: []byte(text), want: text},
		{name: "gzip", coding: "gzip", body: packed, want: text},
		{name: "old name", coding: "X-GZip ", body: packed, want: text},
		{name: "two members", coding: "gzip", body: append(zipped("one "), zipped("two")...), want: "one two"},
		{name: "nothing", coding: "gzip", want: ""},
		{name: "cut", coding: "gzip", body: packed[:len(packed)/2], code: abi.Reset, text: "not the gzip that its headers say: unexpected EOF"},
		{name: "cut in its head", coding: "gzip", body: packed[:5], code: abi.Reset, text: "not the gzip"},
		{name: "wrong sum", coding: "gzip", body: append(bytes.Clone(packed[:len(packed)-8]), 1, 2, 3, 4, 5, 6, 7, 8), code: abi.Reset, text: "invalid checksum"},
		{name: "garbage", coding: "gzip", body: []byte(text), code: abi.Reset, text: "invalid header"},
		{name: "garbage behind", coding: "gzip", body: append(bytes.Clone(packed), "more"...), code: abi.Reset, text: "not the gzip"},
		{name: "brotli", coding: "br", body: []byte(text), code: abi.Reset, text: "content coding br, which nobody asked for"},
		{name: "twice", coding: "gzip, gzip", body: zipped(string(packed)), code: abi.Reset, text: "a content coding that nobody asked for"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if c.coding != "" {
					w.Header().Set("Content-Encoding", c.coding)
				}
				w.Header().Set("Content-Length", strconv.Itoa(len(c.body)))
				_, _ = w.Write(c.body)
			})
			g := setup{grant: []config.Fetch{grant(t, s.URL, nil)}}.guest(t)
			if c.code != abi.OK {
				if text := g.refuses(t, ask("GET", s.URL), c.code); !strings.Contains(text, c.text) {
					t.Error(text)
				}
				if n := g.host.Parts().Upstreams.Stats()[0].InUse; n != 0 {
					t.Errorf("%d connections are in use", n)
				}
				return
			}
			reply, body := g.must(t, ask("GET", s.URL))
			if body != c.want {
				t.Errorf("%.100q, want %.100q", body, c.want)
			}
			unpacked := strings.Contains(strings.ToLower(c.coding), "gzip")
			if length := abi.Get(reply.Fields, "content-length"); unpacked && (length != "" || reply.Length != -1 || abi.Get(reply.Fields, "content-encoding") != "") && len(c.body) > 0 {
				t.Errorf("unpacked, and the headers say %v, length %d", reply.Fields, reply.Length)
			}
		})
	}
	s := record(t)
	g := setup{grant: []config.Fetch{grant(t, s.URL, nil)}}.guest(t)
	for asked, want := range map[string]string{"": "[]", "gzip": "[gzip]", "br, GZIP;q=0.5": "[gzip]", "br, zstd": "[identity]", "*": "[identity]"} {
		in := ask("GET", s.URL)
		if asked != "" {
			in = ask("GET", s.URL, "accept-encoding", asked)
		}
		g.must(t, in)
		if got := fmt.Sprint(s.last(t).Header.Values("Accept-Encoding")); got != want {
			t.Errorf("a guest that takes %q has the host ask for %s, want %s", asked, got, want)
		}
	}
}

// TestAnswersAreBounded has servers that send without end, plain and packed, and wants a clear error and flat memory.
func TestAnswersAreBounded(t *testing.T) {
	endless := func(w io.Writer, piece []byte) {
		for {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}
	zeros := make([]byte, 1<<20)
	dense := make([]byte, 1<<20) // cannot be packed
	_, _ = rand.Read(dense)
	for _, c := range []struct {
		name  string
		limit config.Bytes
		text  string
		most  int64
		send  http.HandlerFunc
	}{
		{"declared", 1 << 20, "over 1048576 bytes: raise client.max_response", 0, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1073741824")
			endless(w, zeros)
		}},
		{"in chunks", 16 << 20, "over 16777216 bytes: raise client.max_response", 16 << 20, func(w http.ResponseWriter, _ *http.Request) { endless(w, zeros) }},
		{"a bomb", 1 << 40, "over 100 times its size: it is refused as a decompression bomb", 2 << 20, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			endless(gzip.NewWriter(w), zeros)
		}},
		{"unpacked", 4 << 20, "over 4194304 bytes", 4 << 20, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			endless(gzip.NewWriter(w), dense)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, c.send)
			g := setup{grant: []config.Fetch{grant(t, s.URL, nil)}, client: func(p *config.Client) { p.MaxResponse = c.limit }}.guest(t)
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var n int64
			reply, err := g.fetch(t.Context(), ask("GET", s.URL))
			if err == nil {
				n, err = io.Copy(io.Discard, reply.Body)
				reply.Body.Close()
			}
			runtime.ReadMemStats(&after)
			var coded *abi.Error
			if !errors.As(err, &coded) || coded.Code != abi.TooLarge || !strings.Contains(coded.Text, c.text) {
				t.Errorf("%v", err)
			}
			if n > c.most {
				t.Errorf("%d bytes came, over %d", n, c.most)
			}
			// What was allocated in all, by the server of the test too, not what is left of it.
			if grown := int64(after.TotalAlloc - before.TotalAlloc); grown > 16<<20 {
				t.Errorf("%d bytes were allocated", grown)
			}
			if n := g.host.Parts().Upstreams.Stats()[0].InUse; n != 0 {
				t.Errorf("%d connections are in use", n)
			}
		})
	}
	t.Run("of an upstream", func(t *testing.T) {
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) { endless(w, zeros) })
		g := setup{
			grant: []config.Fetch{{Upstream: "up", Methods: []string{"GET"}, Paths: []string{"/"}}},
			named: map[string]config.Upstream{"up": {Endpoints: []config.Endpoint{{URL: s.URL}}, Private: true, MaxConns: 1, MaxResponse: 1 << 20}},
		}.guest(t)
		if text := g.refuses(t, ask("GET", "upstream://up/"), abi.TooLarge); !strings.Contains(text, "raise upstreams.up.max_response") {
			t.Error(text)
		}
	})
}

// TestPackedAnswersStream wants what was flushed to come at once.
func TestPackedAnswersStream(t *testing.T) {
	next := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		for i := range 3 {
			fmt.Fprintf(z, "event %d\n", i)
			_ = z.Flush()
			_ = http.NewResponseController(w).Flush()
			<-next
		}
		_ = z.Close()
	})
	g := setup{grant: []config.Fetch{grant(t, s.URL, nil)}}.guest(t)
	reply, err := g.fetch(t.Context(), ask("GET", s.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	p := make([]byte, 100)
	for i := range 3 {
		if n, err := reply.Body.Read(p); err != nil || string(p[:n]) != fmt.Sprintf("event %d\n", i) {
			t.Fatalf("%q, %v", p[:n], err)
		}
		next <- struct{}{}
	}
	if n, err := reply.Body.Read(p); n != 0 || err != io.EOF {
		t.Fatalf("%q, %v", p[:n], err)
	}
}

// TestSecretsSentBack has a server that tells all it knows, in every place of an answer.
func TestSecretsSentBack(t *testing.T) {
	long := strings.Repeat("filler ", 20000)
	for name, answer := range map[string]http.HandlerFunc{
		"an error": func(w http.ResponseWriter, r *http.Request) { http.Error(w, fmt.Sprint(r.Header), 401) },
		"success":  func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header, long, r.Header) },
		"a header": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Echo", r.Header.Get("Authorization")) },
		"a cookie": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Set-Cookie", "a="+r.Header.Get("Authorization"))
		},
		"packed": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(zipped(fmt.Sprint(r.Header)))
		},
		"packed, unasked by the guest": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			fmt.Fprint(w, r.Header)
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/?"+r.Header.Get("Authorization"), 302)
		},
		"bytes": func(w http.ResponseWriter, r *http.Request) {
			for _, b := range []byte(r.Header.Get("Authorization")) {
				_, _ = w.Write([]byte{b})
				_ = http.NewResponseController(w).Flush()
			}
		},
		"broken off": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.Header)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"a status line": func(w http.ResponseWriter, r *http.Request) {
			raw(w, "HTTP/1.1 "+r.Header.Get("Authorization")+"\r\n\r\n")
		},
		"no HTTP": func(w http.ResponseWriter, r *http.Request) { raw(w, r.Header.Get("Authorization")+"\r\n\r\n") },
		"a bad header": func(w http.ResponseWriter, r *http.Request) {
			raw(w, "HTTP/1.1 200 OK\r\n"+r.Header.Get("Authorization")+"\r\n\r\n")
		},
		"a bad length": func(w http.ResponseWriter, r *http.Request) {
			raw(w, "HTTP/1.1 200 OK\r\nContent-Length: "+r.Header.Get("Authorization")+"\r\n\r\n")
		},
		"a bad chunk": func(w http.ResponseWriter, r *http.Request) {
			raw(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+r.Header.Get("Authorization")+"\r\n\r\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, answer)
			g := setup{
				grant:   []config.Fetch{grant(t, s.URL, func(f *config.Fetch) { f.Secret = "key" })},
				secrets: map[string]config.Secret{"key": {Env: "KEY", Hosts: []string{"127.0.0.1"}, Insecure: true}}, environ: []string{"KEY=" + value},
			}.guest(t)
			for _, redirects := range []string{"0", "2"} {
				reply, err := g.fetch(t.Context(), with(hops(redirects, ask("GET", s.URL)), "key"))
				said := fmt.Sprint(err)
				if err == nil {
					var b []byte
					b, err = io.ReadAll(reply.Body)
					reply.Body.Close()
					said = fmt.Sprint(string(b), err, reply.Fields)
				}
				said += g.log.String() + fmt.Sprint(g.refused.List())
				if strings.Contains(said, value) || strings.Contains(said, value[:12]) {
					t.Errorf("%.2000s", said)
				}
				if err == nil && !strings.Contains(said, "********") {
					t.Errorf("nothing was sent back: %.2000s", said)
				}
			}
		})
	}
}

// raw answers with what is no HTTP.
func raw(w http.ResponseWriter, text string) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(c, text)
	_ = c.Close()
}
