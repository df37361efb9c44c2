package server

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// FuzzForwarded reads X-Forwarded-For as strangers may send it. Nobody's words count but those of trusted proxies: what the nearest of
// them says comes out, whatever stands to the left of it.
func FuzzForwarded(f *testing.F) {
	trusted, err := parseProxies([]string{"10.0.0.0/8", "::1"})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", "203.0.113.7", "1.2.3.4, 10.1.1.1", "[2001:db8::1]:80,\t::1 ", "10.0.0.2,,10.0.0.3", "unknown, _hidden", "::ffff:10.0.0.9%eth0", ",", "[", "[]:"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		from := func(remote string, lines ...string) netip.Addr {
			return trusted.client(&http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": lines}})
		}
		if got := from("203.0.113.1:4000", header); got != netip.MustParseAddr("203.0.113.1") {
			t.Errorf("a stranger is taken for %v", got)
		}
		nearest := netip.MustParseAddr("203.0.113.9")
		if a, b := from("10.0.0.1:80", header+",203.0.113.9"), from("10.0.0.1:80", header, "203.0.113.9, 10.9.9.9"); a != nearest || b != nearest {
			t.Errorf("behind proxies of ours the client is %v and %v, want %v", a, b, nearest)
		}
		got := from("10.0.0.1:80", header)
		if !got.IsValid() || got.Zone() != "" || got.Is4In6() {
			t.Errorf("the client is %v", got)
		}
		if !trusted.trusts(got) && !strings.ContainsAny(header, ".:") {
			t.Errorf("%v comes from nowhere", got)
		}
	})
}
