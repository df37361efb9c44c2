package capability

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// maxShown bounds a path in a message, in bytes: a guest chooses it, and messages are kept.
const maxShown = 256

// anyPath stands for a path in a message that is logged: it may be made of what a person typed. No configuration takes it.
const anyPath = "…"

// missing is the line of grant.fetch that would allow a call below a path, to be pasted as it is.
func missing(t *target, secret, path string) string {
	addr, err := netip.ParseAddr(t.host)
	return allowing(t, secret, path, t.host == "localhost" || err == nil && (addr.IsLoopback() || addr.IsPrivate()))
}

// allowing is a line of grant.fetch for a call below a path.
func allowing(t *target, secret, path string, private bool) string {
	var b strings.Builder
	if t.upstream != "" {
		fmt.Fprintf(&b, "- {upstream: %s", yaml(t.upstream))
	} else {
		fmt.Fprintf(&b, "- {host: %s", yaml(t.host))
		if t.scheme != "https" {
			fmt.Fprintf(&b, ", scheme: %s", t.scheme)
		}
		if t.port != defaultPort(t.scheme) {
			fmt.Fprintf(&b, ", port: %d", t.port)
		}
		if private {
			b.WriteString(", private: true")
		}
	}
	fmt.Fprintf(&b, ", methods: [%s], paths: [%s]", yaml(t.method), yaml(path))
	if secret != "" {
		fmt.Fprintf(&b, ", secret: %s", yaml(secret))
	}
	b.WriteString("}")
	return b.String()
}

// grantable is as much of a path, in whole segments, as a grant may hold.
func grantable(path string) string {
	n := 0
	for segment := range strings.SplitSeq(path[1:], "/") {
		if segment == "" || strings.ContainsAny(segment, "?#* ") || n+1+len(segment) > maxShown {
			break
		}
		n += 1 + len(segment)
	}
	return path[:max(n, 1)]
}

// yaml quotes a text where YAML would not read it as that text.
func yaml(s string) string {
	_, err := strconv.ParseFloat(s, 64)
	if err != nil && s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._/-", r)
	}) && s[0] != '-' {
		return s
	}
	return strconv.Quote(s)
}

// server names where a target is, and nothing of what is asked for there.
func server(t *target) string {
	s := t.scheme + "://" + t.hostPort()
	if t.upstream != "" {
		s = "upstream://" + t.upstream
	}
	if len(s) > maxShown {
		return s[:maxShown] + "…"
	}
	return s
}

// address names a target without its query, which may hold what a person typed. So may the path: who reads it is the operator alone.
func address(t *target) string {
	u := *t.url
	u.RawQuery, u.ForceQuery = "", false
	if s := u.String(); len(s) > maxShown {
		return s[:maxShown] + "…"
	}
	return u.String()
}
