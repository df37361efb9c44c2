package config

import (
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// MatchHost says whether a granted host covers host, which is in lower case, without a dot at its end, and in the shortest
// spelling when it is an address. "*." stands for one or more labels: *.example.com covers a.example.com and a.b.example.com,
// and not example.com.
func MatchHost(granted, host string) bool {
	domain, ok := strings.CutPrefix(granted, "*.")
	if !ok {
		if strings.EqualFold(granted, host) {
			return true
		}
		addr, err := netip.ParseAddr(granted)
		return err == nil && addr.String() == host
	}
	below, ok := strings.CutSuffix(host, "."+strings.ToLower(domain))
	return ok && below != ""
}

// IsNumericHost says whether a name ends in a number: it is no name then, but an address to whoever resolves it. 127.1, 0x7f.1
// and 2130706433 are all 127.0.0.1 to the C library and to browsers (WHATWG URL, "ends in a number").
func IsNumericHost(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	hex, isHex := strings.CutPrefix(strings.ToLower(last), "0x")
	if isHex {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// grantHost wants one host, or all below a domain that one owner has.
func (v *validator) grantHost(p path, host string) {
	domain, wild := strings.CutPrefix(host, "*.")
	switch {
	case !wild:
		v.host(p, host)
	case !isHost(domain) || isAddress(domain):
		v.fault(p, "want one host in lower case, such as api.example.com, or *.example.com for all below it; got %s", v.text(p, host))
	case isPublicSuffix(domain):
		v.fault(p, "%s are everybody's: anyone can have a name below %s; write the domain of one owner, such as *.example.com", v.text(p, host), v.text(p, domain))
	}
}

// isPublicSuffix says whether anybody can register a name below a domain, by https://publicsuffix.org. A domain without a dot
// counts as one.
func isPublicSuffix(domain string) bool {
	suffix, _ := publicsuffix.PublicSuffix(domain)
	return suffix == domain
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}
