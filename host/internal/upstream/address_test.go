package upstream_test

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/upstream"
)

func TestAddresses(t *testing.T) {
	for _, c := range []struct{ addr, rule string }{
		{"1.1.1.1", ""},
		{"8.8.8.8", ""},
		{"9.255.255.255", ""},
		{"11.0.0.0", ""},
		{"100.63.255.255", ""},
		{"100.128.0.0", ""},
		{"172.15.255.255", ""},
		{"172.32.0.0", ""},
		{"192.167.255.255", ""},
		{"192.169.0.0", ""},
		{"198.17.255.255", ""},
		{"198.20.0.0", ""},
		{"223.255.255.255", ""},
		{"2606:4700:4700::1111", ""},
		{"2a00:1450:4001:81b::200e", ""},
		{"::ffff:8.8.8.8", ""},
		{"64:ff9b::8.8.8.8", ""},
		{"2002:808:808::1", ""},

		{"0.0.0.0", "unspecified"},
		{"0.1.2.3", "this network"},
		{"10.0.0.1", "private"},
		{"10.255.255.255", "private"},
		{"100.64.0.1", "carrier-grade NAT"},
		{"100.127.255.255", "carrier-grade NAT"},
		{"127.0.0.1", "loopback"},
		{"127.255.255.254", "loopback"},
		{"169.254.169.254", "link-local"},
		{"172.16.0.1", "private"},
		{"172.31.255.255", "private"},
		{"192.0.0.8", "protocol assignments"},
		{"192.0.2.1", "documentation"},
		{"192.88.99.1", "6to4 relay"},
		{"192.168.1.1", "private"},
		{"198.18.0.1", "benchmark"},
		{"198.19.255.255", "benchmark"},
		{"198.51.100.7", "documentation"},
		{"203.0.113.7", "documentation"},
		{"224.0.0.1", "multicast"},
		{"239.255.255.255", "multicast"},
		{"240.0.0.1", "reserved"},
		{"255.255.255.255", "broadcast"},

		{"::", "unspecified"},
		{"::1", "loopback"},
		{"100::1", "discard"},
		{"2001:db8::1", "documentation"},
		{"3fff::1", "documentation"},
		{"2001:2::1", "benchmark"},
		{"2001:20::1", "ORCHID"},
		{"5f00::1", "segment routing"},
		{"fc00::1", "private"},
		{"fd12:3456:789a::1", "private"},
		{"fe80::1", "link-local"},
		{"fe80::1%eth0", "link-local"},
		{"febf::1", "link-local"},
		{"fec0::1", "site-local"},
		{"ff02::1", "multicast"},

		{"::ffff:127.0.0.1", "loopback"},
		{"::ffff:169.254.169.254", "link-local"},
		{"::ffff:10.0.0.1%eth0", "private"},
		{"::127.0.0.1", "loopback"},
		{"::10.1.2.3", "private"},
		{"::ffff:0:127.0.0.1", "loopback"},
		{"::ffff:0:8.8.8.8", ""},
		{"fd00:ec2::254", "private"},
		{"64:ff9b::10.0.0.1", "private"},
		{"64:ff9b::169.254.169.254", "link-local"},
		{"64:ff9b:1::8.8.8.8", "local NAT64"},
		{"2002:7f00:1::", "loopback"},
		{"2002:a9fe:a9fe::1", "link-local"},
		{"2a00:1450:4001:81b:0:5efe:10.0.0.1", "ISATAP of 10.0.0.1, private"},
		{"2a00:1450:4001:81b:200:5efe:169.254.169.254", "link-local"},
		{"2a00:1450:4001:81b:0:5efe:8.8.8.8", ""},
		{"2a00:1450:4001:81b:200:5efe:8.8.8.8", ""},
		{"2a00:1450:4001:81b:100:5efe:10.0.0.1", ""},      // an interface like any other
		{"2002:808:808::5efe:127.0.0.1", "loopback"},      // ISATAP within 6to4
		{"2001:0:a00:1::f7f7:f7f7", "private"},            // Teredo: the server is 10.0.0.1
		{"2001:0:808:808::80ff:fffe", "loopback"},         // Teredo: the client is 127.0.0.1
		{"2001:0:808:808:0:0:f7f7:f7f7", ""},              // Teredo: 8.8.8.8 on both sides
		{"2001:0:808:808:8000:63bf:3fff:fdd2", "192.0.2"}, // Teredo: RFC 4380's example client
	} {
		err := upstream.CheckAddress(netip.MustParseAddr(c.addr))
		switch {
		case c.rule == "" && err != nil:
			t.Errorf("%s: %v, want it allowed", c.addr, err)
		case c.rule == "":
		case err == nil:
			t.Errorf("%s: allowed, want it refused as %s", c.addr, c.rule)
		case !errors.Is(err, upstream.ErrBlocked) || !strings.Contains(err.Error(), c.rule):
			t.Errorf("%s: %v, want it refused as %s", c.addr, err, c.rule)
		}
	}
}

// TestAddressAtDialTime makes calls whose names and notations all end at this machine.
func TestAddressAtDialTime(t *testing.T) {
	called := false
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) { called = true; hello(w, r) })
	port := s.URL[strings.LastIndexByte(s.URL, ':'):]
	p := newPool(t, nil)
	for _, host := range []string{"127.0.0.1", "localhost", "LOCALHOST", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1.2.3"} {
		_, err := fetch(p, get(t, t.Context(), "http://"+host+port), upstream.Policy{Owner: "x"})
		var blocked *upstream.Blocked
		if !errors.Is(err, upstream.ErrBlocked) || !errors.As(err, &blocked) {
			t.Errorf("%s: %v, want ErrBlocked", host, err)
			continue
		}
		if errors.Is(err, upstream.ErrConnect) {
			t.Errorf("%s: %v is an ErrConnect too", host, err)
		}
		if msg := err.Error(); !strings.Contains(msg, blocked.Addr.String()) || !strings.Contains(msg, `"private: true"`) {
			t.Errorf("%s: %q does not say which address and what allows it", host, msg)
		}
	}
	if called {
		t.Error("a refused call reached the server")
	}
	mustFetch(t, p, s.URL, local)
	// The connection of the private policy is there, idle; the other policy must not get it.
	if _, err := fetch(p, get(t, t.Context(), s.URL), upstream.Policy{}); !errors.Is(err, upstream.ErrBlocked) {
		t.Errorf("with a private connection idle: %v, want ErrBlocked", err)
	}
	if st := p.Stats(); st.Open != st.Idle || st.Idle != 1 {
		t.Errorf("places were lost: %+v", st)
	}
}
