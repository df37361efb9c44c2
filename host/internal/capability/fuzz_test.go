package capability

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
)

// FuzzTarget wants every URL that is accepted to lead where the policy thinks it leads, read once more by anybody.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{
		"https://api.example.com/search?q=a", "http://H.example.:080/a%20b", "upstream://up/v1/models?x", "https://[::1]:8443/", "https://[::ffff:1.2.3.4]", "http://a@b/",
		"https://h/%2e%2e/a", "https://h/a/..;/b", "https://h//b//", "https://h/?", "https://h/a;b=c/%C3%A9", "https://h/#", "https:h", "https://h:/x", "http://127.1/%25", "http://h..:080/",
	} {
		f.Add("GET", s)
	}
	f.Fuzz(func(t *testing.T, method, raw string) {
		a, err := parseTarget(method, raw)
		if err != nil {
			return
		}
		u, err := url.Parse(a.url.String())
		if err != nil {
			t.Fatalf("%.300q became %.300q: %v", raw, a.url, err)
		}
		if len(u.String()) > maxURL {
			return // escaping made it longer, which only a second reading refuses
		}
		b, err := parseTarget(method, u.String())
		if err != nil || b.host != a.host || b.port != a.port || b.path != a.path || b.scheme != a.scheme || b.upstream != a.upstream || b.url.RawQuery != a.url.RawQuery {
			t.Fatalf("%.300q is %.300v, and read again %.300v, %v", raw, a, b, err)
		}
		if a.upstream == "" && u.Hostname() != a.host {
			t.Fatalf("%.300q was judged as host %.300q and is sent to %.300q", raw, a.host, u.Hostname())
		}
		sent, err := url.ParseRequestURI(u.RequestURI())
		if err == nil && !strings.HasPrefix(u.RequestURI(), "//") && sent.Path != a.path {
			t.Fatalf("%.300q was judged as path %.300q and is sent as %.300q", raw, a.path, u.RequestURI())
		}
		line := missing(a, "", grantable(a.path))
		if strings.ContainsAny(line, "\r\n") || !under(grantable(a.path), a.path) {
			t.Fatalf("%.300q: the missing line is %.300q", raw, line)
		}
		if allowed, _ := grantFor(config.Grant{}, a, ""); allowed != nil {
			t.Fatalf("%.300q is allowed without a grant", raw)
		}
	})
}

// FuzzLocation wants a redirect, whatever its Location, to lead where the policy will judge it: an upstream's to stay below its
// endpoint, and none to carry the secret.
func FuzzLocation(f *testing.F) {
	for _, s := range []string{
		"/base/v1/x", "x", "../y", "//h/", "http://127.0.0.1:1/base/v1?a#b", "http://127.0.0.1:1/base/../etc", "http://127.0.0.1:1/base%2f..%2fx", "https://a@b/", "/base", "?q", "#", "\\\\h", "/base/v1/%2e%2e/x", "/tvly-4711-do-not-tell",
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	for _, s := range []string{"http://127.0.0.2:1/other/v1/x", "//127.0.0.2:1/other", "http://127.0.0.2:1/base/v1", "http://127.0.0.2/other/v1", "http://127.0.0.2:1/other%2f../v1", "http://a@127.0.0.2:1/other/v1"} {
		f.Add(s, true)
	}
	m := newMask("tvly-4711-do-not-tell")
	bases := map[string]string{"127.0.0.1:1": "/base", "127.0.0.2:1": "/other"}
	var endpoints []config.Endpoint
	for host, base := range bases {
		endpoints = append(endpoints, config.Endpoint{URL: "http://" + host + base})
	}
	set, err := upstream.New(config.Client{MaxConns: 1}, map[string]config.Upstream{"up": {MaxConns: 1, Endpoints: endpoints}}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(set.Close)
	f.Fuzz(func(t *testing.T, location string, named bool) {
		called, _ := url.Parse("http://127.0.0.1:1/base/v1/models?q")
		raw := called.String()
		var up *upstream.Upstream
		if named {
			raw = "upstream://up/v1/models?q"
			up, _ = set.Named("up")
		}
		from, err := parseTarget("GET", raw)
		if err != nil {
			t.Fatal(err)
		}
		h := &hop{target: from, masks: []*mask{m}}
		next, err := h.next(&http.Response{StatusCode: 307, Header: http.Header{"Location": {location}}, Request: &http.Request{URL: called}}, up)
		if err != nil || next == nil {
			return
		}
		to := next.target
		if strings.Contains(to.url.String(), "tvly-4711-do-not-tell") {
			t.Fatalf("%q leads to %s, with the secret", location, to.url)
		}
		again, err := parseTarget("GET", to.url.String())
		if len(to.url.String()) <= maxURL && (err != nil || again.origin() != to.origin() || again.path != to.path) {
			t.Fatalf("%q leads to %s, and read again to %v, %v", location, to.url, again, err)
		}
		if to.upstream == "" {
			return
		}
		want, err := called.Parse(m.text(location))
		if err != nil || !named || to.upstream != "up" || want.Scheme != "http" || want.User != nil ||
			bases[want.Host] == "" || strings.TrimSuffix(want.EscapedPath(), "/") != strings.TrimSuffix(bases[want.Host]+to.escapedPath(), "/") {
			t.Fatalf("%q leads to %s, which is not at %v", location, to.url, want)
		}
	})
}
