package keys_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/keys"
)

// now is the moment of all tests.
func now() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

// stand is a gate, with what stands behind it.
type stand struct {
	gate     *keys.Gate
	handler  http.Handler
	name     string        // of the key that came last
	refused  int           // requests
	passed   *http.Request // what went through last; nil is nothing
	answered string
}

// newStand makes a gate with these keys.
func newStand(t testing.TB, required bool, list ...config.Key) *stand {
	t.Helper()
	set, err := keys.Read(config.KeyAuth{Required: required, Keys: list}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &stand{}
	s.gate = keys.NewGate(keys.GateOptions{
		Error:   func(w http.ResponseWriter, _ *http.Request, status int, detail string) { http.Error(w, detail, status) },
		Named:   func(_ context.Context, name string) { s.name = name },
		Refused: func(context.Context) { s.refused++ },
		Now:     now,
	})
	s.gate.Swap(set)
	s.handler = s.gate.Guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { s.passed = r }))
	return s
}

// ask sends one request. A header is "Name: value".
func (s *stand) ask(method, target string, headers ...string) *http.Response {
	s.name, s.refused, s.passed = "", 0, nil
	r := httptest.NewRequest(method, target, http.NoBody)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	s.answered = w.Body.String()
	return w.Result()
}

// made is a new key with its entry.
func made(name string, routes ...string) (string, config.Key) {
	if routes == nil {
		routes = []string{"*"}
	}
	text, hash := keys.Make()
	return text, config.Key{Name: name, Hash: hash, Routes: routes}
}

// flip changes one digit of a key.
func flip(key string, at int) string {
	digit := "a"
	if key[at] == 'a' {
		digit = "b"
	}
	return key[:at] + digit + key[at+1:]
}

// TestGate sends keys in all ways, right and wrong.
func TestGate(t *testing.T) {
	web, webKey := made("web")
	batch, batchKey := made("batch")
	old, oldKey := made("old")
	oldKey.Expires = "2026-11-23T12:00:00Z"
	soon, soonKey := made("soon")
	soonKey.Expires = "2026-11-23T12:00:01Z"
	gone, goneKey := made("gone")
	goneKey.Disabled = true
	stranger, _ := made("stranger")
	forged := keys.WithID(stranger, web) // its checksum is right, its secret is not
	basic := func(s string) string { return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	bearer := func(s string) string { return "Authorization: Bearer " + s }
	for _, c := range []struct {
		what    string
		target  string // "" is /api/models
		headers []string
		status  int // where a key is required
		reason  string
		key     string
		open    int // where none is required; 0 is the same
	}{
		{what: "as a bearer", headers: []string{bearer(web)}, status: 200, key: "web"},
		{what: "as X-API-Key", headers: []string{"X-API-Key: " + web}, status: 200, key: "web"},
		{what: "as a protocol", headers: []string{"Sec-WebSocket-Protocol: patchbay, pb." + web}, status: 200, key: "web"},
		{what: "in three places", headers: []string{bearer(web), "X-API-Key: " + web, "Sec-WebSocket-Protocol: pb." + web}, status: 200, key: "web"},
		{what: "twice", headers: []string{bearer(web), bearer(web)}, status: 200, key: "web"},
		{what: "another case of the scheme", headers: []string{"Authorization: bEARER   " + web + " "}, status: 200, key: "web"},
		{what: "not expired yet", headers: []string{bearer(soon)}, status: 200, key: "soon"},
		{what: "beside somebody else's", headers: []string{basic("user:password"), "X-API-Key: " + web}, status: 200, key: "web"},
		{what: "behind somebody else's", headers: []string{bearer("sk-1"), bearer(web)}, status: 200, key: "web"},

		{what: "none", status: 401, reason: "missing", open: 200},
		{what: "an empty one", headers: []string{bearer("")}, status: 401, reason: "foreign", open: 200},
		{what: "somebody else's", headers: []string{bearer("sk-1")}, status: 401, reason: "foreign", open: 200},
		{what: "a password", headers: []string{basic("user:password")}, status: 401, reason: "foreign", open: 200},
		{what: "a broken password", headers: []string{"Authorization: Basic %%%"}, status: 401, reason: "foreign", open: 200},
		{what: "somebody else's X-API-Key", headers: []string{"X-API-Key: abc"}, status: 401, reason: "foreign", open: 200},
		{what: "a protocol without a key", headers: []string{"Sec-WebSocket-Protocol: patchbay"}, status: 401, reason: "missing", open: 200},

		{what: "mistyped", headers: []string{bearer(flip(web, 20))}, status: 401, reason: "malformed"},
		{what: "mistyped in its checksum", headers: []string{bearer(flip(web, len(web)-1))}, status: 401, reason: "malformed"},
		{what: "mistyped in its id", headers: []string{bearer(flip(web, 4))}, status: 401, reason: "malformed"},
		{what: "cut off", headers: []string{bearer(web[:len(web)-1])}, status: 401, reason: "malformed"},
		{what: "too long", headers: []string{bearer(web + "a")}, status: 401, reason: "malformed"},
		{what: "very long", headers: []string{bearer("pb_" + strings.Repeat("a", 60_000))}, status: 401, reason: "malformed"},
		{what: "the beginning alone", headers: []string{"X-API-Key: pb_"}, status: 401, reason: "malformed"},
		{what: "in capitals", headers: []string{bearer(strings.ToUpper(web))}, status: 401, reason: "malformed"},
		{what: "joined by a proxy", headers: []string{bearer(web + ", Bearer " + batch)}, status: 401, reason: "malformed"},
		{what: "a bearer as X-API-Key", headers: []string{"X-API-Key: Bearer " + web}, status: 401, reason: "misplaced"},
		{what: "as a user", headers: []string{basic(web + ":")}, status: 401, reason: "misplaced"},
		{what: "as a password", headers: []string{basic("user:" + web)}, status: 401, reason: "misplaced"},
		{what: "without a scheme", headers: []string{"Authorization: " + web}, status: 401, reason: "misplaced"},
		{what: "of another scheme", headers: []string{"Authorization: Token " + web}, status: 401, reason: "misplaced"},
		{what: "of another scheme, beside the right one", headers: []string{"Authorization: Token " + web, "X-API-Key: " + web}, status: 401, reason: "misplaced"},

		{what: "not known", headers: []string{bearer(stranger)}, status: 401, reason: "unknown"},
		{what: "another's id", headers: []string{bearer(forged)}, status: 401, reason: "unknown"},
		{what: "expired", headers: []string{bearer(old)}, status: 401, reason: "expired", key: "old"},
		{what: "revoked", headers: []string{bearer(gone)}, status: 401, reason: "revoked", key: "gone"},

		{what: "two", headers: []string{bearer(web), "X-API-Key: " + batch}, status: 400, reason: "several"},
		{what: "two of a kind", headers: []string{bearer(web), bearer(batch)}, status: 400, reason: "several"},
		{what: "two, one of them wrong", headers: []string{bearer(web), "X-API-Key: " + flip(web, 20)}, status: 400, reason: "several"},
		{what: "two protocols", headers: []string{"Sec-WebSocket-Protocol: pb." + web + ", pb." + batch}, status: 400, reason: "several"},

		{what: "in the query", target: "/api/models?key=" + web, status: 400, reason: "url"},
		{what: "in the query, beside a good one", target: "/api/models?key=" + web, headers: []string{bearer(web)}, status: 400, reason: "url"},
		{what: "as the whole query", target: "/api/models?" + web, status: 400, reason: "url"},
		{what: "in the path", target: "/api/models/" + web + "/x", status: 400, reason: "url"},
		{what: "in the path, escaped", target: "/api/models/pb%5F" + web[3:], status: 400, reason: "url"},
		{what: "in the query, escaped", target: "/api/models?a=%zz&key=%70b%5F" + web[3:], status: 400, reason: "url"},
		{what: "behind another pb_", target: "/api/models?key=pb_pb_" + web, status: 400, reason: "url"},
		{what: "mistyped, in the query", target: "/api/models?key=" + flip(web, 20), status: 400, reason: "url"},
		{what: "as the user of the URL", target: "http://" + web + "@example.com/api/models", status: 400, reason: "url"},
		{what: "of a probe, in the query", target: "/livez?key=" + web, status: 400, reason: "url"},
		{what: "half a key in the query", target: "/api/models?key=" + web[:30], status: 401, reason: "missing", open: 200},
		{what: "a probe", target: "/livez", status: 200},
		{what: "the other probe", target: "/readyz?verbose", status: 200},
		{what: "a probe with a wrong key", target: "/readyz", headers: []string{bearer(stranger)}, status: 200},
		{what: "below a probe", target: "/livez/x", status: 401, reason: "missing", open: 200},
		{what: "like a probe", target: "/LIVEZ", status: 401, reason: "missing", open: 200},
	} {
		for _, required := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/required=%v", c.what, required), func(t *testing.T) {
				s := newStand(t, required, webKey, batchKey, oldKey, soonKey, goneKey)
				status, reason := c.status, c.reason
				if !required && c.open != 0 {
					status, reason = c.open, ""
				}
				target := c.target
				if target == "" {
					target = "/api/models"
				}
				got := s.ask("GET", target, c.headers...)
				if got.StatusCode != status || s.name != c.key || (s.passed != nil) != (status == 200) || (s.refused == 1) != (status != 200) {
					t.Fatalf("%d %q, key %q, passed %v, refused %d; want %d, key %q", got.StatusCode, s.answered, s.name, s.passed != nil, s.refused, status, c.key)
				}
				if got := refusals(t, s.gate); got != reason {
					t.Errorf("counted for %q, want %q", got, reason)
				}
				challenge := got.Header.Get("WWW-Authenticate")
				if (status != 200) != strings.HasPrefix(challenge, `Bearer realm="patchbay"`) {
					t.Errorf("WWW-Authenticate: %q", challenge)
				}
				for _, key := range []string{web, batch, old, gone, stranger, forged} {
					if text := s.answered + fmt.Sprint(got.Header); strings.Contains(text, key[3:20]) {
						t.Errorf("the answer tells the key: %s", text)
					}
				}
				if s.passed != nil && s.name != "" {
					if text := fmt.Sprint(s.passed.Header); strings.Contains(text, "pb_") {
						t.Errorf("the key goes on: %s", text)
					}
				}
			})
		}
	}
}

// refusals are the reasons that were counted once; one that was counted more often has its count.
func refusals(t *testing.T, g *keys.Gate) string {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(g.Collector())
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var counted []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch n := m.GetCounter().GetValue(); n {
			case 0:
			case 1:
				counted = append(counted, m.GetLabel()[0].GetValue())
			default:
				counted = append(counted, fmt.Sprint(m.GetLabel()[0].GetValue(), n))
			}
		}
	}
	return strings.Join(counted, " ")
}

// TestGateLeavesWhatIsNotOurs: the key is taken off, and nothing else.
func TestGateLeavesWhatIsNotOurs(t *testing.T) {
	web, webKey := made("web")
	s := newStand(t, true, webKey)
	s.ask("GET", "/x", "Authorization: Basic dTpw", "Authorization: Bearer "+web, "Authorization: Bearer sk-1", "X-API-Key: abc", "X-API-Key: "+web,
		"Sec-WebSocket-Protocol: patchbay, pb."+web, "Sec-WebSocket-Protocol: pb."+web, "Cookie: a=b")
	want := http.Header{"Authorization": {"Basic dTpw", "Bearer sk-1"}, "X-Api-Key": {"abc"}, "Sec-Websocket-Protocol": {"patchbay"}, "Cookie": {"a=b"}}
	if got := fmt.Sprint(s.passed.Header); got != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
	s.ask("GET", "/x", "Authorization: Bearer "+web, "X-API-Key: "+web, "Sec-WebSocket-Protocol: pb."+web)
	if len(s.passed.Header) != 0 {
		t.Errorf("%v is left", s.passed.Header)
	}
	open := newStand(t, false)
	open.ask("GET", "/x", "Authorization: Bearer sk-1", "X-API-Key: abc")
	if len(open.passed.Header) != 2 {
		t.Errorf("%v is left where no key is needed", open.passed.Header)
	}
}

// TestScopes: a key is for its routes alone, as the route table reads paths.
func TestScopes(t *testing.T) {
	for _, c := range []struct {
		scopes, method, path string
		want                 bool
	}{
		{"*", "DELETE", "/any/thing", true},
		{"GET /api/models", "GET", "/api/models", true},
		{"GET /api/models", "HEAD", "/api/models", true},
		{"GET /api/models", "POST", "/api/models", false},
		{"GET /api/models", "OPTIONS", "/api/models", false},
		{"GET /api/models", "GET", "/api/models/", false},
		{"GET /api/models", "GET", "/api/modelsx", false},
		{"GET /api/models", "GET", "/api//models", false},
		{"GET /api/models", "GET", "/api/x/../models", false},
		{"POST /api/inference/*", "POST", "/api/inference/infer", true},
		{"POST /api/inference/*", "POST", "/api/inference/a/b", true},
		{"POST /api/inference/*", "POST", "/api/inference/", true},
		{"POST /api/inference/*", "POST", "/api/inference", false},
		{"POST /api/inference/*", "POST", "/api/inferences/x", false},
		{"POST /api/inference/*", "POST", "/api/inference/../tools/search", false},
		{"POST /api/inference/*", "POST", "/api/inference/..%2ftools", true}, // one segment, as the table sees it too
		{"POST /api/inference/*", "POST", "/api%2finference/x", false},
		{"POST /api/inference/*", "POST", "//api/inference/x", false},
		{"POST /api/inference/*", "GET", "/api/inference/infer", false},
		{"POST /api/inference/*", "CONNECT", "/api/inference/infer", false},
		{"GET /files/{id}/text", "GET", "/files/7/text", true},
		{"GET /files/{id}/text", "GET", "/files/7/8/text", false},
		{"GET /files/{id}/text", "GET", "/files//text", false},
		{"GET /files/{rest...}", "GET", "/files/7/8/text", true},
		{"GET /", "GET", "/", true},
		{"GET /", "GET", "/config.js", false},
		{"GET /*", "GET", "/config.js", true},
		{"GET /a/{x} GET /{y}/b", "GET", "/a/b", true}, // these two do not fit into one table
		{"GET /a/{x} GET /{y}/b", "GET", "/c/b", true},
		{"GET /a/{x} GET /{y}/b", "GET", "/c/d", false},
		{"GET /api/models *", "POST", "/x", true},
	} {
		t.Run(c.scopes+" "+c.method+" "+c.path, func(t *testing.T) {
			words := strings.Fields(c.scopes)
			var routes []string
			for i := 0; i < len(words); i++ {
				if words[i] == "*" {
					routes = append(routes, "*")
				} else {
					routes = append(routes, words[i]+" "+words[i+1])
					i++
				}
			}
			web, webKey := made("web", routes...)
			s := newStand(t, true, webKey)
			got := s.ask(c.method, "http://example.com"+c.path, "X-API-Key: "+web)
			if c.want != (got.StatusCode == 200) || !c.want && got.StatusCode != 403 || s.name != "web" {
				t.Errorf("%d %s", got.StatusCode, s.answered)
			}
			if got.StatusCode == 403 && !strings.Contains(got.Header.Get("WWW-Authenticate"), "insufficient_scope") {
				t.Error(got.Header)
			}
		})
	}
}

// TestGateIsClosedAtFirst: until somebody says which keys there are, nothing passes.
func TestGateIsClosedAtFirst(t *testing.T) {
	g := keys.NewGate(keys.GateOptions{Error: func(w http.ResponseWriter, _ *http.Request, status int, detail string) { http.Error(w, detail, status) }})
	w := httptest.NewRecorder()
	g.Guard(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", "/livez", http.NoBody))
	if w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

// TestSwap: whoever is revoked is out with the next request.
func TestSwap(t *testing.T) {
	web, webKey := made("web")
	s := newStand(t, true, webKey)
	if got := s.ask("GET", "/x", "X-API-Key: "+web); got.StatusCode != 200 {
		t.Fatal(got.StatusCode)
	}
	set, err := keys.Read(config.KeyAuth{Required: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.gate.Swap(set)
	if got := s.ask("GET", "/x", "X-API-Key: "+web); got.StatusCode != 401 {
		t.Error(got.StatusCode)
	}
}

// TestRefusalReadsNoBody: what a stranger sends is not looked at.
func TestRefusalReadsNoBody(t *testing.T) {
	s := newStand(t, true)
	r := httptest.NewRequest("POST", "/x", failingReader{t})
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	if w.Code != 401 || w.Header().Get("Connection") != "close" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

type failingReader struct{ t *testing.T }

func (f failingReader) Read([]byte) (int, error) {
	f.t.Error("the body is read")
	return 0, io.EOF
}

// FuzzGate: whatever stands in headers and in a URL, nothing passes but the key, and the key goes no further.
func FuzzGate(f *testing.F) {
	web, webKey := made("web")
	f.Add("Bearer "+web, "", "", "")
	f.Add("", web, "patchbay, pb."+web, "")
	f.Add("Basic "+base64.StdEncoding.EncodeToString([]byte(web+":")), "pb_", "pb.", "a=%70b_"+web[3:])
	f.Add("bearer", "Bearer "+web, ",,", "pb_pb_pb_")
	f.Fuzz(func(t *testing.T, auth, apiKey, protocol, query string) {
		s := newStand(t, true, webKey)
		r := httptest.NewRequest("GET", "/x", http.NoBody)
		r.URL = &url.URL{Path: "/" + query, RawQuery: query}
		r.Header = http.Header{"Authorization": {auth}, "X-Api-Key": {apiKey}, "Sec-Websocket-Protocol": {protocol}}
		s.handler.ServeHTTP(httptest.NewRecorder(), r)
		if s.passed == nil {
			return
		}
		if !strings.Contains(auth+apiKey+protocol, web) {
			t.Errorf("it passed without the key: %q", r.Header)
		}
		if strings.Contains(fmt.Sprint(s.passed.Header, s.passed.URL), web) {
			t.Errorf("the key goes on: %q", s.passed.Header)
		}
	})
}

// BenchmarkGate is what a request costs in front of everything else, and what a flood of refusals does.
func BenchmarkGate(b *testing.B) {
	web, webKey := made("web")
	scoped, scopedKey := made("scoped", "GET /api/models", "POST /api/inference/*")
	stranger, _ := made("stranger")
	for _, c := range []struct{ name, header, value string }{
		{"missing", "Accept", "text/html"},
		{"malformed", "Authorization", "Bearer " + flip(web, 20)},
		{"unknown", "Authorization", "Bearer " + stranger},
		{"good", "Authorization", "Bearer " + web},
		{"good-scoped", "Authorization", "Bearer " + scoped},
	} {
		b.Run(c.name, func(b *testing.B) {
			set, err := keys.Read(config.KeyAuth{Required: true, Keys: []config.Key{webKey, scopedKey}}, nil)
			if err != nil {
				b.Fatal(err)
			}
			g := keys.NewGate(keys.GateOptions{Error: func(http.ResponseWriter, *http.Request, int, string) {}})
			g.Swap(set)
			h := g.Guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			r := httptest.NewRequest("POST", "/api/inference/infer", http.NoBody)
			w := httptest.NewRecorder()
			values := []string{c.value}
			b.ReportAllocs()
			for b.Loop() {
				r.Header[c.header] = values // a good one is taken off
				h.ServeHTTP(w, r)
			}
		})
	}
}
