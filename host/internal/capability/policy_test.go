package capability_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/capability"
	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

func TestPathsOfAGrant(t *testing.T) {
	server := record(t)
	for _, c := range []struct {
		granted, path string
		ok            bool
	}{
		{"/v1", "/v1", true},
		{"/v1", "/v1/x", true},
		{"/v1", "/v1/", true},
		{"/v1", "/v1?q=1", true},
		{"/v1", "/%76%31/x", true}, // the same path by RFC 3986
		{"/v1", "/v1x", false},
		{"/v1", "/v1%20x", false},
		{"/v1", "/V1", false},
		{"/v1", "/", false},
		{"/v1", "", false},
		{"/v1", "//v1", false},
		{"/v1", "/v2/v1", false},
		{"/v1/models", "/v1", false},
		{"/", "", true},
		{"/", "/", true},
		{"/", "/any/thing", true},
	} {
		g := setup{grant: []config.Fetch{grant(t, server.URL, func(f *config.Fetch) { f.Paths = []string{c.granted} })}}.guest(t)
		before := server.count()
		if c.ok {
			g.must(t, ask("GET", server.URL+c.path))
			if want := strings.TrimPrefix(c.path, "?"); want != "" && server.last(t).RequestURI != want {
				t.Errorf("%s: the server saw %s", c.path, server.last(t).RequestURI)
			}
			continue
		}
		g.refuses(t, ask("GET", server.URL+c.path), abi.Denied)
		if server.count() != before {
			t.Errorf("grant %s: %s was refused and sent all the same", c.granted, c.path)
		}
	}
}

func TestAGrantNamesMethodSchemeHostAndPort(t *testing.T) {
	server := record(t)
	granted := grant(t, server.URL, nil)
	for name, change := range map[string]func(*config.Fetch){
		"no method":      func(f *config.Fetch) { f.Methods = nil },
		"another method": func(f *config.Fetch) { f.Methods = []string{"POST", "get"} },
		"no path":        func(f *config.Fetch) { f.Paths = nil },
		"https":          func(f *config.Fetch) { f.Scheme = "https" },
		"default scheme": func(f *config.Fetch) { f.Scheme = "" },
		"default port":   func(f *config.Fetch) { f.Port = 0 },
		"another port":   func(f *config.Fetch) { f.Port++ },
		"another host":   func(f *config.Fetch) { f.Host = "localhost" },
		"an upstream":    func(f *config.Fetch) { f.Upstream, f.Host = "127.0.0.1", "" },
	} {
		t.Run(name, func(t *testing.T) {
			f := granted
			change(&f)
			setup{grant: []config.Fetch{f}}.guest(t).refuses(t, ask("GET", server.URL), abi.Denied)
		})
	}
	g := setup{grant: []config.Fetch{granted}}.guest(t)
	g.refuses(t, ask("DELETE", server.URL), abi.Denied)
	g.refuses(t, ask("GET", "upstream://127.0.0.1/"), abi.Denied)
	if n := server.count(); n != 0 {
		t.Errorf("%d refused calls were sent", n)
	}
	g.must(t, ask("POST", server.URL))
}

// TestHostsBelowADomain makes calls that ended before they began: policy alone tells them apart.
func TestHostsBelowADomain(t *testing.T) {
	g := setup{grant: []config.Fetch{{Host: "*.example.com", Methods: []string{"GET"}, Paths: []string{"/"}}}}.guest(t)
	for host, want := range map[string]abi.Code{
		"a.example.com": abi.Cancelled, "A.B.EXAMPLE.com.": abi.Cancelled, "example.com": abi.Denied, "aexample.com": abi.Denied,
		"a.example.com.evil.net": abi.Denied, "a.example.org": abi.Denied, ".example.com": abi.Invalid, "a..example.com": abi.Invalid, "a.example.com:8443": abi.Denied,
	} {
		if _, _, err := g.do(ended(), ask("GET", "https://"+host+"/")); code(err) != want {
			t.Errorf("%s: %v, want %v", host, err, want)
		}
	}
}

// TestURLsThatAreRefused holds URLs that a server, a proxy or a resolver could take for another one than the policy did.
func TestURLsThatAreRefused(t *testing.T) {
	server := record(t)
	g := setup{
		grant: []config.Fetch{grant(t, server.URL, nil), {Upstream: "up", Methods: []string{"GET"}, Paths: []string{"/"}}},
		named: map[string]config.Upstream{"up": {Endpoints: []config.Endpoint{{URL: server.URL}}, Private: true, MaxConns: 1}},
	}.guest(t)
	at := strings.TrimPrefix(server.URL, "http://")
	for _, path := range []string{
		"/.", "/..", "/../x", "/a/../b", "/a/./b", "/a/..", "/%2e%2e/x", "/a/%2E%2e", "/a/.%2e/b", "/a/%2e/b", "/a/..;/b", "/a/..;x=1/b", "/a/.;/b", "/a/%2e%2e%3b/b",
		`/a\b`, `/a\..\b`, "/a%5cb", "/a%5Cb", "/a%2fb", "/a%2Fb", "/%2f", "/a%00", "/a%0d%0ab", "/a%7f", "/a#b", "/a?q=a b",
		"/a/%252e%252e/b", "/a%252Fb", "/a/%255c..", "/%c0%ae%c0%ae/b", "/%ff",
	} {
		g.refuses(t, ask("GET", server.URL+path), abi.Invalid)
		g.refuses(t, ask("GET", "upstream://up"+path), abi.Invalid)
	}
	for _, url := range []string{
		"", "/v1", "v1", "//" + at + "/", "http:", "http:///v1", "http://:80/", "http:" + at, "http:/" + at, "http://.", "http://?q",
		"http://user@" + at, "http://user:pass@" + at, "http://@" + at, "upstream://up@up/", "upstream:up", "upstream:///v1", "upstream://up:80/",
		"ftp://" + at, "file:///etc/passwd", "unix://" + at, "HTTPS+X://" + at, "http://127.0.0.1:0/", "http://127.0.0.1:65536/", "http://127.0.0.1:99999999999999999999/", "http://127.0.0.1:x/",
		"http://localhost../", "http://2130706433/", "http://127.1/", "http://0x7f.1/", "http://0177.0.0.1/", "http://1.2.3.999/", "http://[fe80::1%25eth0]/", "http://münchen.example/", "http://\u212Aelvin.example/", "http://%c5%bfearch.example/",
		"http://" + at + "/" + strings.Repeat("a", 8<<10), "http://" + at + "/\r\nx: y", "http://" + at + "/\x00",
	} {
		g.refuses(t, ask("GET", url), abi.Invalid)
	}
	for _, method := range []string{"", "get", "Get", "GET ", "GET\r\nX: y", "GET /", "G\u00c9T", "G(T", strings.Repeat("G", 33)} {
		g.refuses(t, ask(method, server.URL), abi.Invalid)
	}
	if n := server.count(); n != 0 {
		t.Errorf("%d refused calls were sent", n)
	}
	if len(g.refused.List()) != 0 {
		t.Errorf("malformed calls stand among those without a grant: %v", g.refused.List())
	}
}

// TestHostsAreCalledAsTheyWereJudged wants one spelling of a host on the wire, whatever the guest wrote.
func TestHostsAreCalledAsTheyWereJudged(t *testing.T) {
	server := record(t)
	port := portOf(t, server.URL)
	g := setup{grant: []config.Fetch{grant(t, "http://localhost:"+port, nil)}}.guest(t)
	for _, host := range []string{"localhost", "LOCALHOST", "LocalHost", "localhost.", "LOCALHOST."} {
		g.must(t, ask("GET", "http://"+host+":0"+port+"/x"))
		if got := server.last(t).Host; got != "localhost:"+port {
			t.Errorf("%s: the server saw host %s", host, got)
		}
	}
	for _, host := range []string{"xlocalhost", "localhost.example", "127.0.0.1", "[::1]"} {
		text := g.refuses(t, ask("GET", "http://"+host+":"+port), abi.Denied)
		if !strings.Contains(text, "host: ") {
			t.Errorf("%s: %s", host, text)
		}
	}
}

func TestIPv6Host(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 loopback here: ", err)
	}
	server := &recorder{}
	server.Server = &httptest.Server{Listener: l, Config: &http.Server{Handler: server}}
	server.Start()
	t.Cleanup(server.Close)
	g := setup{grant: []config.Fetch{grant(t, server.URL, nil)}}.guest(t)
	g.must(t, ask("GET", server.URL+"/x"))
	if got, want := server.last(t).Host, strings.TrimPrefix(server.URL, "http://"); got != want {
		t.Errorf("host %s, want %s", got, want)
	}
	g.refuses(t, ask("GET", "http://[::2]:"+portOf(t, server.URL)), abi.Denied)
}

// TestTheMissingLineIsTheOneToAdd pastes what a refusal shows into a configuration, which then has to be valid and to
// allow that call.
func TestTheMissingLineIsTheOneToAdd(t *testing.T) {
	named := map[string]config.Upstream{"up": {Endpoints: []config.Endpoint{{URL: "http://127.0.0.1:9"}}, MaxConns: 1}}
	for _, url := range []string{
		"https://api.example.com/search", "https://api.example.com/", "https://api.example.com", "https://api.example.com/v1/", "https://api.example.com/a//b",
		"http://api.example.com:8080/a%20b/c", "https://api.example.com/a,b/{c}", "https://api.example.com/a:b'c\"d", "https://api.example.com/caf%C3%A9",
		"https://api.example.com/x*y", "https://api.example.com/a/b%3Fc", "https://127.0.0.1/", "http://localhost:3000/x", "https://[2001:db8::1]/x", "https://api.example.com:80/" + strings.Repeat("long/", 300),
		"upstream://up/v1/models",
	} {
		g := setup{named: named}.guest(t)
		g.refuses(t, ask("GET", url), abi.Denied)
		text := g.refused.List()[0].Text
		_, line, ok := strings.Cut(text, "add to its grant.fetch: ")
		if !ok {
			t.Errorf("%s: %s", url, text)
			continue
		}
		file := filepath.Join(t.TempDir(), "host.yaml")
		content := fmt.Sprintf("upstreams: {up: {endpoints: [\"http://127.0.0.1:9\"]}}\nplugins:\n  - name: probe\n    source: probe.wasm\n    routes: [GET /x]\n    grant:\n      fetch:\n        %s\n", line)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(config.Options{File: file})
		if err != nil {
			t.Errorf("%s: the line %s does not load: %v", url, line, err)
			continue
		}
		// A call that ended before it began tells policy from network.
		g = setup{named: named, grant: c.Plugins[0].Grant.Fetch}.guest(t)
		if _, _, err := g.do(ended(), ask("GET", url)); code(err) != abi.Cancelled {
			t.Errorf("%s: with the line %s: %v", url, line, err)
		}
	}
}

// TestPathsAreTheOperatorsAlone: a path may be made of what a person typed. The guest's text is logged by its SDK, ours by the host.
func TestPathsAreTheOperatorsAlone(t *testing.T) {
	s := record(t)
	g := setup{grant: []config.Fetch{grant(t, s.URL, func(f *config.Fetch) { f.Paths, f.Private, f.Secret = []string{"/open"}, false, "other" })}}.guest(t)
	for _, c := range []struct {
		in    *wasm.Operation
		code  abi.Code
		want  string
		shown string
	}{
		{ask("GET", "https://api.example.com:8443/wiki/her+words?q=her+query"), abi.Denied, `may not GET https://api.example.com:8443: add to its grant.fetch: - {host: api.example.com, port: 8443, methods: [GET], paths: ["…"]}, with the path that the admin listener's /api/plugins/probe shows`, "/wiki/her+words"},
		{ask("GET", "https://api.example.com:8443/wiki/other/her+words"), abi.Denied, "may not GET https://api.example.com:8443: ", "/wiki/other/her+words"},
		{ask("GET", "upstream://up/her+words"), abi.Denied, "may not GET upstream://up: ", "upstream://up/her+words"},
		{ask("GET", s.URL+"/open/her+words"), abi.Blocked, "private: true", "/open/her+words"},
		{withSecret(ask("GET", s.URL+"/open/her+words/2"), "mine"), abi.Denied, `secret "mine" for http://127.0.0.1:`, "/open/her+words/2"},
	} {
		if text := g.refuses(t, c.in, c.code); !strings.Contains(text, c.want) || strings.Contains(text, "her+") {
			t.Errorf("the guest is told: %s", text)
		}
		list := g.refused.List()
		if text := list[len(list)-1].Text; !strings.Contains(text, c.shown) || strings.Contains(text, "her+query") {
			t.Errorf("the operator is shown: %s", text)
		}
	}
	log := g.log.String()
	if strings.Contains(log, "her+") || !strings.Contains(log, "https://api.example.com:8443") {
		t.Errorf("logged:\n%s", log)
	}
	if n := strings.Count(log, "a call was refused"); n != 4 { // the second is the first once more
		t.Errorf("%d lines:\n%s", n, log)
	}
}

func withSecret(in *wasm.Operation, name string) *wasm.Operation {
	in.Name = name
	return in
}

func TestRefusalsAreBoundedAndCounted(t *testing.T) {
	g := setup{}.guest(t)
	long := "https://api.example.com/" + strings.Repeat("x", 4000)
	for range 3 {
		text := g.refuses(t, ask("GET", long), abi.Denied)
		if len(text) > 1024 {
			t.Fatalf("a refusal of %d bytes", len(text))
		}
	}
	if list := g.refused.List(); len(list) != 1 || list[0].Count != 3 || list[0].Last.IsZero() {
		t.Fatalf("refusals %+v", list)
	}
	if n := strings.Count(g.log.String(), "a call was refused"); n != 1 {
		t.Fatalf("%d lines for one text:\n%s", n, g.log)
	}
	for i := range 500 {
		g.refuses(t, ask("GET", fmt.Sprintf("https://h%d.example/", i)), abi.Denied)
	}
	list := g.refused.List()
	if len(list) != 32 || !strings.Contains(list[31].Text, "h499.example") {
		t.Errorf("%d refusals are kept, the last is %+v", len(list), list[len(list)-1])
	}
	if n := strings.Count(g.log.String(), "a call was refused"); n > 32 {
		t.Errorf("a guest wrote %d lines into the log", n)
	}
	if !strings.Contains(g.log.String(), "request=req-1") {
		t.Error("a line does not name its request")
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{"fetch": true, "log": true, "config": true, "cache": true, "kv": false, "": false, "Fetch": false} {
		if slices.Contains(capability.Names(), name) != want {
			t.Errorf("%q among the names: %v", name, !want)
		}
	}
}

// TestSwap wants a call to use the parts in force when it begins.
func TestSwap(t *testing.T) {
	one, two := record(t), record(t)
	allow := []config.Fetch{{Upstream: "up", Methods: []string{"GET"}, Paths: []string{"/"}}}
	up := func(s *recorder) map[string]config.Upstream {
		return map[string]config.Upstream{"up": {Endpoints: []config.Endpoint{{URL: s.URL}}, Private: true, MaxConns: 1}}
	}
	a, b := setup{grant: allow, named: up(one)}.guest(t), setup{named: up(two)}.guest(t)
	a.must(t, ask("GET", "upstream://up/"))
	before := a.host.Parts()
	if a.host.Swap(b.host.Parts()) != before {
		t.Error("Swap did not give back what was in force")
	}
	a.must(t, ask("GET", "upstream://up/"))
	if one.count() != 1 || two.count() != 1 {
		t.Errorf("calls went %d times to the old, %d times to the new upstream", one.count(), two.count())
	}
	if _, ok := before.Upstreams.Named("up"); !ok {
		t.Error("the old parts are gone before their owner closed them")
	}
}
