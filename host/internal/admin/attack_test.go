package admin_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/admin"
)

const (
	byAddress = "Call the admin listener by an IP address, as localhost"
	noOrigin  = "Pages of other origins"
	noSite    = "Pages of other sites"
	noToken   = "Send the admin token as Authorization: Bearer …"
	wrong     = "The admin token is wrong"
)

func host(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }

func header(name string, values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header[http.CanonicalHeaderKey(name)] = values }
}

func method(m string) func(*http.Request) { return func(r *http.Request) { r.Method = m } }

func both(edits ...func(*http.Request)) func(*http.Request) {
	return func(r *http.Request) {
		for _, edit := range edits {
			edit(r)
		}
	}
}

// What is refused, before any handler is asked.
func TestAttacks(t *testing.T) {
	var (
		reached atomic.Int64
		c       clock
	)
	later := func() time.Time { c.advance(time.Minute); return c.now() } // the limit of wrong tokens has a test of its own
	witness := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	addr := start(t, admin.Options{Listen: "ops.example:8001", Metrics: witness, Live: witness, Now: later})
	for _, tc := range []struct {
		name   string
		edit   func(*http.Request)
		status int
		detail string
	}{
		{"rebound name", host("evil.example:8001"), 403, byAddress},
		{"rebound name, its own origin", both(host("evil.example"), header("Origin", "http://evil.example"), header("Sec-Fetch-Site", "same-origin")), 403, byAddress},
		{"name that holds an address", host("127.0.0.1.evil.example"), 403, byAddress},
		{"name that holds localhost", host("localhost.evil.example:8001"), 403, byAddress},
		{"below the listener's name", host("x.ops.example"), 403, byAddress},
		{"address as one number", host("2130706433"), 403, byAddress},
		{"half an address", host("127.1"), 403, byAddress},
		{"port that is none", host("127.0.0.1:x"), 403, byAddress},
		{"bracket that does not close", host("[::1"), 403, byAddress},
		{"forwarded name", both(host("evil.example"), header("X-Forwarded-Host", "localhost")), 403, byAddress},

		{"other origin", header("Origin", "http://evil.example"), 403, noOrigin},
		{"opaque origin", header("Origin", "null"), 403, noOrigin},
		{"empty origin", header("Origin", ""), 403, noOrigin},
		{"other port", header("Origin", "http://127.0.0.1:1"), 403, noOrigin},
		{"other scheme", header("Origin", "chrome-extension://"+addr), 403, noOrigin},
		{"origin with this host as its user", header("Origin", "http://"+addr+"@evil.example"), 403, noOrigin},
		{"origin that begins with this one", header("Origin", "http://"+addr+".evil.example"), 403, noOrigin},
		{"two origins", header("Origin", "http://"+addr, "http://evil.example"), 403, noOrigin},
		{"cross-site", header("Sec-Fetch-Site", "cross-site"), 403, noSite},
		{"same-site", header("Sec-Fetch-Site", "same-site"), 403, noSite},
		{"site of a kind to come", header("Sec-Fetch-Site", "neighbour"), 403, noSite},
		{"two sites", header("Sec-Fetch-Site", "same-origin", "cross-site"), 403, noSite},
		{"preflight", both(method(http.MethodOptions), header("Origin", "http://evil.example"), header("Access-Control-Request-Method", "GET")), 403, noOrigin},

		{"no token", header("Authorization"), 401, noToken},
		{"empty header", header("Authorization", ""), 401, noToken},
		{"empty token", header("Authorization", "Bearer "), 401, noToken},
		{"scheme alone", header("Authorization", "Bearer"), 401, noToken},
		{"no scheme", header("Authorization", token), 401, noToken},
		{"other scheme of authorization", header("Authorization", "Basic "+token), 401, noToken},
		{"two headers", header("Authorization", "Bearer "+token, "Bearer "+token), 401, noToken},
		{"in a cookie", both(header("Authorization"), header("Cookie", "token="+token)), 401, noToken},
		{"in the URL", both(header("Authorization"), func(r *http.Request) { r.URL.RawQuery = "token=" + token + "&access_token=" + token }), 401, noToken},
		{"as user and password", both(header("Authorization"), func(r *http.Request) { r.SetBasicAuth("admin", token) }), 401, noToken},

		{"wrong token", header("Authorization", "Bearer "+strings.Repeat("A", len(token))), 401, wrong},
		{"beginning of the token", header("Authorization", "Bearer "+token[:len(token)-1]), 401, wrong},
		{"more than the token", header("Authorization", "Bearer "+token+"A"), 401, wrong},
		{"token and another", header("Authorization", "Bearer "+token+" "+token), 401, wrong},
		{"token and another, by comma", header("Authorization", "Bearer "+token+",x"), 401, wrong},
		{"token in lower case", header("Authorization", "Bearer "+strings.ToLower(token)), 401, wrong},
		{"token in quotes", header("Authorization", `Bearer "`+token+`"`), 401, wrong},
		{"long token", header("Authorization", "Bearer "+strings.Repeat(token, 1000)), 401, wrong},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, path := range []string{"/metrics", "/no/such/path"} { // a stranger does not learn which paths there are
				resp, body := send(t, request(t, addr, path, tc.edit))
				refused(t, resp, body, tc.status, tc.detail)
				challenge := resp.Header.Get("WWW-Authenticate")
				if got := strings.HasPrefix(challenge, `Bearer realm="patchbay admin"`); got != (tc.status == 401) {
					t.Errorf("WWW-Authenticate: %q", challenge)
				}
				if got := strings.Contains(challenge, "invalid_token"); got != (tc.detail == wrong) {
					t.Errorf("WWW-Authenticate: %q", challenge)
				}
			}
		})
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d refused requests reached a handler", n)
	}
}

// No route is left out: probes and profiles need the token too.
func TestEveryRouteNeedsTheToken(t *testing.T) {
	witness := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	addr := start(t, admin.Options{Metrics: witness, Live: witness})
	for _, path := range []string{
		"/", "/api/plugins", "/api/plugins/search", "/api/upstreams", "/api/config", "/api/live", "/livez", "/readyz", "/readyz?verbose",
		"/metrics", "/debug/pprof", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline", "/debug/pprof/profile",
	} {
		resp, body := send(t, request(t, addr, path, header("Authorization")))
		refused(t, resp, body, 401, noToken)
	}
}

// The callers that there are.
func TestAllowed(t *testing.T) {
	addr := start(t, admin.Options{Listen: "Ops.example:8001"})
	for _, tc := range []struct {
		name string
		edit func(*http.Request)
	}{
		{"by address", nil},
		{"by address without port", host("10.1.2.3")},
		{"by IPv6 address", host("[::1]:8001")},
		{"by IPv6 address without port", host("[fe80::1]")},
		{"by localhost", host("LocalHost:8001")},
		{"by the listener's name", host("ops.example")},
		{"by the listener's name and a forwarded port", host("ops.Example:9000")},
		{"own page", both(header("Origin", "http://"+addr), header("Sec-Fetch-Site", "same-origin"))},
		{"own page behind TLS", both(host("ops.example"), header("Origin", "https://OPS.example"))},
		{"address bar", header("Sec-Fetch-Site", "none")},
		{"scheme in lower case", header("Authorization", "bearer "+token)},
		{"two spaces", header("Authorization", "Bearer  "+token)},
		{"HEAD", method(http.MethodHead)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if resp, body := send(t, request(t, addr, "/livez", tc.edit)); resp.StatusCode != 200 {
				t.Errorf("status %d: %s", resp.StatusCode, body)
			}
		})
	}
}

// Without a listener's name only addresses and localhost are ours; an empty one matches nothing.
func TestListenWithoutName(t *testing.T) {
	for _, listen := range []string{"", ":8001", "0.0.0.0:8001", "[::]:8001"} {
		addr := start(t, admin.Options{Listen: listen})
		resp, body := send(t, request(t, addr, "/livez", host(":8001")))
		refused(t, resp, body, 403, byAddress)
		if resp, body := send(t, request(t, addr, "/livez", host("localhost"))); resp.StatusCode != 200 {
			t.Errorf("listen %q: status %d: %s", listen, resp.StatusCode, body)
		}
	}
}
