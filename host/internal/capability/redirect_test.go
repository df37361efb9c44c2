package capability_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// redirector answers "/go?302=URL" with that redirect and anything else with what it was asked.
func redirector(t testing.TB, seen *[]string) string {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		*seen = append(*seen, fmt.Sprintf("%s %s %q", r.Method, r.URL.Path, b))
		for status, to := range r.URL.Query() {
			if code := 0; strings.HasSuffix(r.URL.Path, "/go") {
				fmt.Sscan(status, &code)
				w.Header().Set("Location", to[0])
				w.WriteHeader(code)
				return
			}
		}
		for _, name := range []string{"Authorization", "X-Key", "X-Guest", "Accept", "Content-Type", "Cookie"} {
			if v := r.Header.Get(name); v != "" {
				fmt.Fprintf(w, "%s=%s ", name, v)
			}
		}
	})
	return s.URL
}

func hops(n string, in *wasm.Operation) *wasm.Operation {
	in.Fields = append(in.Fields, abi.Field{Name: ":redirects", Value: n})
	return in
}

// TestRedirectsAreFollowed has a table of statuses and methods, by RFC 9110, 15.4.
func TestRedirectsAreFollowed(t *testing.T) {
	var seen []string
	url := redirector(t, &seen)
	g := setup{grant: []config.Fetch{grant(t, url, func(f *config.Fetch) { f.Methods = append(f.Methods, "PUT") })}}.guest(t)
	for _, c := range []struct{ method, status, want string }{
		{"GET", "301", `GET /end ""`}, {"GET", "302", `GET /end ""`}, {"GET", "303", `GET /end ""`}, {"GET", "307", `GET /end ""`}, {"GET", "308", `GET /end ""`},
		{"HEAD", "301", `HEAD /end ""`}, {"HEAD", "303", `HEAD /end ""`}, {"HEAD", "308", `HEAD /end ""`},
		{"POST", "301", `GET /end ""`}, {"POST", "302", `GET /end ""`}, {"POST", "303", `GET /end ""`}, {"POST", "307", `POST /end "body"`}, {"POST", "308", `POST /end "body"`},
		{"PUT", "301", `PUT /end "body"`}, {"PUT", "302", `PUT /end "body"`}, {"PUT", "303", `GET /end ""`}, {"PUT", "307", `PUT /end "body"`},
	} {
		in := hops("1", ask(c.method, url+"/go?"+c.status+"=/end", "x-guest", "mine", "content-type", "text/plain"))
		if c.method[0] == 'P' {
			in.Body = []byte("body")
		}
		seen = nil
		reply, body := g.must(t, in)
		if len(seen) != 2 || seen[1] != c.want || reply.Status != 200 {
			t.Errorf("%s %s: %d, the server saw %q, want %s", c.method, c.status, reply.Status, seen, c.want)
		}
		if got := abi.Get(reply.Fields, ":url"); got != url+"/end" {
			t.Errorf("%s %s: the answer came from %q", c.method, c.status, got)
		}
		if c.method != "HEAD" && (!strings.Contains(body, "X-Guest=mine") || strings.Contains(body, "Content-Type") != (strings.HasSuffix(c.want, `"body"`) || c.method == "GET")) {
			t.Errorf("%s %s: the headers %s", c.method, c.status, body)
		}
	}
	for _, path := range []string{"/go?300=/end", "/go?304=/end", "/go?305=/end", "/go?302="} { // no redirects, or one to nowhere
		seen = nil
		if reply, _ := g.must(t, hops("5", ask("GET", url+path))); len(seen) != 1 || reply.Status/100 != 3 || abi.Get(reply.Fields, ":url") != "" {
			t.Errorf("%s: %d, the server saw %q", path, reply.Status, seen)
		}
	}
	in := hops("5", ask("POST", url+"/go?303=/end"))
	in.Stream = strings.NewReader("a stream")
	if seen = nil; true {
		g.must(t, in)
		if !slices.Equal(seen, []string{`POST /go "a stream"`, `GET /end ""`}) {
			t.Errorf("a stream: %q", seen)
		}
	}
}

func TestHowManyRedirects(t *testing.T) {
	n := 0
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n++
		w.Header().Set("Location", fmt.Sprintf("/%d", n))
		w.WriteHeader(302)
	})
	g := setup{grant: []config.Fetch{grant(t, s.URL, nil)}}.guest(t)
	for limit, want := range map[string]int{"1": 2, "3": 4, "20": 21} {
		n = 0
		if text := g.refuses(t, hops(limit, ask("GET", s.URL+"/?q=typed")), abi.Limit); n != want || strings.Contains(text, "typed") {
			t.Errorf("limit %s: %d requests, %s", limit, n, text)
		}
	}
	for _, limit := range []string{"", "0"} {
		n = 0
		if reply, _ := g.must(t, hops(limit, ask("GET", s.URL))); reply.Status != 302 || n != 1 {
			t.Errorf("limit %q: %d after %d requests", limit, reply.Status, n)
		}
	}
	for _, limit := range []string{"21", "-1", "x", "1.5", "9999999999999999999"} {
		g.refuses(t, hops(limit, ask("GET", s.URL)), abi.Invalid)
	}
}

// TestEachHopIsJudged redirects to what is not granted, and to what no call may be.
func TestEachHopIsJudged(t *testing.T) {
	var seen, others []string
	url, other := redirector(t, &seen), redirector(t, &others)
	port := portOf(t, other)
	g := setup{grant: []config.Fetch{grant(t, url, func(f *config.Fetch) { f.Paths = []string{"/go", "/ok"} }), grant(t, other, func(f *config.Fetch) { f.Paths, f.Private = []string{"/public"}, false }), {Upstream: "up", Methods: []string{"GET"}, Paths: []string{"/"}}}}.guest(t)
	for to, want := range map[string]struct {
		code abi.Code
		text string
	}{
		"/elsewhere?q=typed":                    {abi.Denied, "may not GET " + url + "/elsewhere, where " + url + " redirects to: add to its grant.fetch: - {host: 127.0.0.1"},
		"/ok/../elsewhere":                      {abi.Denied, "may not GET " + url + "/elsewhere"},
		"/ok/%2e%2e/elsewhere":                  {abi.Denied, "a \"..\" segment"},
		"/ok%2f..%2felsewhere":                  {abi.Denied, "escaped slash"},
		`/ok\..\elsewhere`:                      {abi.Denied, "backslash"},
		"//127.0.0.1:" + port + "/secret":       {abi.Denied, "may not GET http://127.0.0.1:" + port + "/secret"},
		"http://127.0.0.1:" + port + "/public":  {abi.Blocked, "private: true"},
		"https://127.0.0.1:" + port + "/public": {abi.Denied, "may not GET https://"},
		"http://169.254.169.254/latest/":        {abi.Denied, "host: 169.254.169.254"},
		"http://user:pass@127.0.0.1/ok":         {abi.Denied, "a user or a password"},
		"ftp://127.0.0.1/ok":                    {abi.Denied, "neither https nor http"},
		"file:///etc/passwd":                    {abi.Denied, "neither https nor http"},
		"javascript:alert(1)":                   {abi.Denied, "neither https nor http"},
		"upstream://up/ok":                      {abi.Denied, "neither https nor http"},
		"http://[::1":                           {abi.Denied, "cannot be read"},
		"http://127.1:" + port + "/public":      {abi.Denied, "is a number"},
		"//127。0。0。1/":                          {abi.Denied, "neither a plain name"},
	} {
		text := g.refuses(t, hops("5", ask("GET", url+"/go?302="+strings.NewReplacer("%", "%25", "\x7f", "%7f", "\\", "%5c").Replace(to))), want.code)
		text += "\n" + g.shown()
		if !strings.Contains(text, want.text) || strings.Contains(text+g.log.String(), "typed") || len(text) > 4000 {
			t.Errorf("%s: %.2000s", to, text)
		}
	}
	if len(others) != 0 {
		t.Errorf("another server saw %q", others)
	}
	if len(g.refused.List()) < 12 { // some have the same text
		t.Errorf("%d refusals are remembered", len(g.refused.List()))
	}
	for _, s := range seen {
		if s != `GET /go ""` {
			t.Errorf("the server saw %s", s)
		}
	}
	// The body is nobody else's, and a stream is sent once.
	in := hops("5", ask("POST", url+"/go?307="+other+"/public"))
	in.Body = []byte("body")
	if text := g.refuses(t, in, abi.Denied); !strings.Contains(text, "would send the body to another server") {
		t.Error(text)
	}
	in = hops("5", ask("POST", url+"/go?308=/ok"))
	in.Stream = strings.NewReader("a stream")
	if text := g.refuses(t, in, abi.Denied); !strings.Contains(text, "a stream, which is sent once") {
		t.Error(text)
	}
	if len(others) != 0 {
		t.Errorf("another server saw %q", others)
	}
}

// TestWhatGoesAlong wants secrets and a guest's own headers to stay with the server that they were meant for.
func TestWhatGoesAlong(t *testing.T) {
	var seen []string
	one, two := redirector(t, &seen), redirector(t, &seen)
	local := strings.Replace(two, "127.0.0.1", "localhost", 1)
	withKey := func(f *config.Fetch) { f.Secret = "key" }
	g := setup{
		grant: []config.Fetch{
			grant(t, one, func(f *config.Fetch) { f.Paths, f.Secret = []string{"/go", "/keyed"}, "key" }),
			grant(t, one, func(f *config.Fetch) { f.Paths = []string{"/plain"} }),
			grant(t, two, withKey), // bound: the host is the same
			grant(t, local, withKey),
		},
		secrets: map[string]config.Secret{"key": {Env: "KEY", Hosts: []string{"127.0.0.1"}, Insecure: true}}, environ: []string{"KEY=" + value},
	}.guest(t)
	hidden := "Bearer " + strings.Repeat("*", len(value))
	for _, c := range []struct{ to, want string }{
		{"/keyed", "Authorization=" + hidden + " X-Key=own X-Guest=mine Accept=x/y "},
		{"/plain", "X-Key=own X-Guest=mine Accept=x/y "}, // that line gives it no secret
		{two + "/end", "Authorization=" + hidden + " Accept=x/y "},
		{local + "/end", "Accept=x/y "}, // a line gives the secret, but it is not bound to that host
		{local + "/go?302=" + one + "/keyed", "Accept=x/y "},
	} {
		in := with(hops("5", ask("GET", one+"/go?302="+strings.NewReplacer("&", "%26", "?", "%3f").Replace(c.to), "x-key", "own", "x-guest", "mine", "accept", "x/y", "cookie", "a=b")), "key")
		if c.to[0] == '/' {
			c.want += "Cookie=a=b "
		}
		if _, body := g.must(t, in); body != c.want {
			t.Errorf("to %s went %q, want %q", c.to, body, c.want)
		}
	}
}

// TestRedirectsOfAnUpstream stay with the upstream while they stay below its endpoint.
func TestRedirectsOfAnUpstream(t *testing.T) {
	var seen []string
	url := redirector(t, &seen)
	g := setup{
		grant:   []config.Fetch{{Upstream: "up", Methods: []string{"GET", "POST"}, Paths: []string{"/v1"}}},
		named:   map[string]config.Upstream{"up": {Endpoints: []config.Endpoint{{URL: url + "/base"}}, Private: true, MaxConns: 2, Auth: config.Auth{Secret: "up", As: "bearer"}}},
		secrets: map[string]config.Secret{"up": {Env: "UP", Upstream: "up", Insecure: true}}, environ: []string{"UP=" + value},
	}.guest(t)
	for _, to := range []string{"/base/v1/end", "end", url + "/base/v1/end", "../v1/end"} {
		reply, body := g.must(t, hops("5", ask("GET", "upstream://up/v1/go?302="+to)))
		if abi.Get(reply.Fields, ":url") != "upstream://up/v1/end" || !strings.HasPrefix(body, "Authorization=Bearer ***") {
			t.Errorf("%s: %v %s", to, reply.Fields, body)
		}
	}
	seen = nil
	for to, want := range map[string]string{
		"/base/v2/end": "may not GET upstream://up/v2/end", "/base/v1x": "may not GET upstream://up/v1x", "/v1/end": "leaves the endpoint's path", "/basev1/end": "leaves the endpoint's path",
		"https" + url[4:] + "/base/v1/end": "may not GET https://", "http://127.0.0.2/v1/end": "may not GET http://127.0.0.2/v1/end",
	} {
		if text := g.refuses(t, hops("5", ask("GET", "upstream://up/v1/go?302="+to)), abi.Denied) + g.shown(); !strings.Contains(text, want) {
			t.Errorf("%s: %s", to, text)
		}
	}
	for _, s := range seen {
		if s != `GET /base/v1/go ""` {
			t.Errorf("the server saw %s", s)
		}
	}
}

// TestEndpointsRedirectToEachOther: what lies below any endpoint is the upstream's, secret included, and is asked of the very endpoint that
// was named. What lies beside one is nobody's.
func TestEndpointsRedirectToEachOther(t *testing.T) {
	var ones, twos []string
	one, two := redirector(t, &ones), redirector(t, &twos)
	g := setup{
		grant: []config.Fetch{
			{Upstream: "up", Methods: []string{"GET"}, Paths: []string{"/v1"}},
			grant(t, two, func(f *config.Fetch) { f.Paths = []string{"/beside"} }),
		},
		named: map[string]config.Upstream{"up": {
			Endpoints: []config.Endpoint{{URL: one + "/base"}, {URL: two + "/other"}}, Sticky: "x-key", Private: true, MaxConns: 2, Auth: config.Auth{Secret: "up", As: "bearer"},
		}},
		secrets: map[string]config.Secret{"up": {Env: "UP", Upstream: "up", Insecure: true}}, environ: []string{"UP=" + value},
	}.guest(t)
	for i := range 8 { // each session begins at one of them
		ones, twos = nil, nil
		reply, body := g.must(t, hops("1", ask("GET", "upstream://up/v1/go?302="+two+"/other/v1/end", "x-key", fmt.Sprint(i))))
		if abi.Get(reply.Fields, ":url") != "upstream://up/v1/end" || !strings.HasPrefix(body, "Authorization=Bearer ***") || !strings.Contains(body, "X-Key=") || len(twos) == 0 || twos[len(twos)-1] != `GET /other/v1/end ""` {
			t.Errorf("session %d: %v %s, they saw %s and %s", i, reply.Fields, body, ones, twos)
		}
		for to, want := range map[string]string{
			two + "/other/v2/end":                      "may not GET upstream://up/v2/end",
			two + "/beside":                            "leaves the endpoint's path",
			two + "/other/%252e%252e/beside":           "segment",
			"http://user@" + two[7:] + "/other/v1/end": "a user or a password",
			"https" + two[4:] + "/other/v1/end":        "may not GET https://",
		} {
			if text := g.refuses(t, hops("1", ask("GET", "upstream://up/v1/go?302="+to, "x-key", fmt.Sprint(i))), abi.Denied) + g.shown(); !strings.Contains(text, want) {
				t.Errorf("%s: %s", to, text)
			}
		}
	}
}
