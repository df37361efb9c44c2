package config_test

import (
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

func TestMatchHost(t *testing.T) {
	for _, c := range []struct {
		granted, host string
		want          bool
	}{
		{"api.example.com", "api.example.com", true},
		{"API.example.com", "api.example.com", true},
		{"api.example.com", "x.api.example.com", false},
		{"", "", true},
		{"", "api.example.com", false},
		{"*.example.com", "api.example.com", true},
		{"*.Example.com", "a.b.example.com", true},
		{"*.example.com", "example.com", false},
		{"*.example.com", ".example.com", false},
		{"*.example.com", "evilexample.com", false},
		{"*.example.com", "example.com.evil.net", false},
		{"*.example.com", "*.example.com", true},
		{"0:0::1", "::1", true},
		{"::1", "::1", true},
		{"::1", "::2", false},
		{"10.0.0.1", "10.0.0.1", true},
	} {
		if got := config.MatchHost(c.granted, c.host); got != c.want {
			t.Errorf("MatchHost(%q, %q) = %v", c.granted, c.host, got)
		}
	}
}

func TestIsNumericHost(t *testing.T) {
	for host, want := range map[string]bool{
		"127.1": true, "2130706433": true, "017700000001": true, "0x7f000001": true, "0X7F.1": true, "a.0x": true, "1.2.3.999": true, "a.1": true,
		"": false, "a": false, "1.a": false, "0xg": false, "api.example.com": false, "10a": false, "a1": false,
	} {
		if got := config.IsNumericHost(host); got != want {
			t.Errorf("IsNumericHost(%q) = %v", host, got)
		}
	}
}
