package upstream

import (
	"fmt"
	"net/netip"
)

// Blocked is the cause inside an ErrBlocked: an address that a call without Private may not dial.
type Blocked struct {
	Addr netip.Addr
	Rule string // what the address is, with its prefix
}

func (b *Blocked) Error() string {
	return fmt.Sprintf("address %s is refused: %s; \"private: true\" on the grant or the upstream allows it", b.Addr, b.Rule)
}

// Is makes a Blocked an ErrBlocked.
func (b *Blocked) Is(target error) bool { return target == ErrBlocked }

// special is a range of addresses that no public service lives at.
type special struct {
	prefix netip.Prefix
	is     string
}

// specials follows the IANA special-purpose registries. The narrower prefix comes first where
// two overlap, so that the error names the better reason. It is never written to.
var specials = [...]special{
	{netip.MustParsePrefix("0.0.0.0/32"), "unspecified"},
	{netip.MustParsePrefix("0.0.0.0/8"), "this network"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "carrier-grade NAT"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local, where cloud metadata lives"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private"},
	{netip.MustParsePrefix("192.0.0.0/24"), "protocol assignments"},
	{netip.MustParsePrefix("192.0.2.0/24"), "documentation"},
	{netip.MustParsePrefix("192.88.99.0/24"), "6to4 relay"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private"},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmark"},
	{netip.MustParsePrefix("198.51.100.0/24"), "documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("255.255.255.255/32"), "broadcast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},

	{netip.MustParsePrefix("::/128"), "unspecified"},
	{netip.MustParsePrefix("::1/128"), "loopback"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "local NAT64"}, // where the IPv4 address sits is the operator's choice
	{netip.MustParsePrefix("100::/64"), "discard"},
	{netip.MustParsePrefix("2001:2::/48"), "benchmark"},
	{netip.MustParsePrefix("2001:10::/28"), "ORCHID"},
	{netip.MustParsePrefix("2001:20::/28"), "ORCHID"},
	{netip.MustParsePrefix("2001:db8::/32"), "documentation"},
	{netip.MustParsePrefix("3fff::/20"), "documentation"},
	{netip.MustParsePrefix("5f00::/16"), "segment routing"},
	{netip.MustParsePrefix("fc00::/7"), "private"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("fec0::/10"), "site-local"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

// carrier is an IPv6 range whose addresses hold an IPv4 address: a gateway or a tunnel takes the
// packet to that one, so that one is checked too.
type carrier struct {
	prefix netip.Prefix
	is     string
	at     int  // the first of the four bytes
	flip   bool // the bytes are inverted
	isatap bool // only where the interface is one of ISATAP's
}

// carriers is never written to. IPv4-mapped addresses are unmapped before.
var carriers = [...]carrier{
	{prefix: netip.MustParsePrefix("::/96"), is: "IPv4-compatible", at: 12},
	{prefix: netip.MustParsePrefix("::ffff:0:0:0/96"), is: "IPv4-translated", at: 12},
	{prefix: netip.MustParsePrefix("64:ff9b::/96"), is: "NAT64", at: 12},
	{prefix: netip.MustParsePrefix("2002::/16"), is: "6to4", at: 2},
	{prefix: netip.MustParsePrefix("2001::/32"), is: "Teredo server", at: 4},
	{prefix: netip.MustParsePrefix("2001::/32"), is: "Teredo client", at: 12, flip: true},
	{prefix: netip.MustParsePrefix("::/0"), is: "ISATAP", at: 12, isatap: true},
}

// isISATAP says whether an address ends in an interface identifier of RFC 5214, 6.1, whatever its prefix:
// ::0:5efe:a.b.c.d, or ::200:5efe:a.b.c.d when the IPv4 address is unique.
func isISATAP(b [16]byte) bool {
	return b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
}

// checkAddress refuses an address that is not public. It returns a *Blocked or nil.
func checkAddress(addr netip.Addr) error {
	if rule := refusal(addr); rule != "" {
		return &Blocked{Addr: addr, Rule: rule}
	}
	return nil
}

func refusal(addr netip.Addr) string {
	// A prefix contains no address with a zone and no mapped one.
	addr = addr.WithZone("").Unmap()
	for i := range specials {
		if specials[i].prefix.Contains(addr) {
			return fmt.Sprintf("%s (%s)", specials[i].is, specials[i].prefix)
		}
	}
	if !addr.Is6() {
		return ""
	}
	b := addr.As16()
	for _, c := range carriers {
		if !c.prefix.Contains(addr) || c.isatap && !isISATAP(b) {
			continue
		}
		v4 := [4]byte(b[c.at : c.at+4])
		if c.flip {
			for i := range v4 {
				v4[i] ^= 0xff
			}
		}
		inner := netip.AddrFrom4(v4)
		if rule := refusal(inner); rule != "" {
			return fmt.Sprintf("%s of %s, %s", c.is, inner, rule)
		}
	}
	return ""
}
