package admin

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// foreign says why a request may come from somebody else's page, "" when it does not. A page on the
// internet can make its visitor's browser call addresses that only the visitor reaches, this
// listener among them: under its own name, which it has pointed here (rebinding), or cross-site. The
// token alone would do, as browsers never send it by themselves; this stands in front of it.
func (a *Admin) foreign(r *http.Request) string {
	if !a.isOurs(r.Host) {
		return "Call the admin listener by an IP address, as localhost, or by the host name in admin.listen"
	}
	for _, origin := range r.Header.Values("Origin") {
		scheme, host, _ := strings.Cut(origin, "://")
		// Either scheme: behind a proxy that speaks TLS ours is plain HTTP all the same.
		if scheme != "http" && scheme != "https" || !strings.EqualFold(host, r.Host) {
			return "Pages of other origins may not call the admin listener"
		}
	}
	for _, site := range r.Header.Values("Sec-Fetch-Site") {
		if site != "same-origin" && site != "none" { // none: typed, a bookmark
			return "Pages of other sites may not call the admin listener"
		}
	}
	return ""
}

// isOurs reports whether a Host header is one that nobody else can point here: an address,
// localhost, or the name the operator chose.
func (a *Admin) isOurs(hostport string) bool {
	host := hostport
	if name, port, err := net.SplitHostPort(hostport); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return false
		}
		host = name
	} else if inner, ok := strings.CutPrefix(hostport, "["); ok {
		if host, ok = strings.CutSuffix(inner, "]"); !ok {
			return false
		}
	}
	if host == "" {
		return false
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return strings.EqualFold(host, "localhost") || strings.EqualFold(host, a.name)
}
