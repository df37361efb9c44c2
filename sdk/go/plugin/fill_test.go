package plugin

import (
	"slices"
	"testing"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// The host's fields and the headers may come in any order.
func TestFill(t *testing.T) {
	own := []abi.Field{{Name: ":method", Value: "GET"}, {Name: ":unknown", Value: "?"}, {Name: ":param.a", Value: "1"}, {Name: ":param.b", Value: "2"}}
	headers := []abi.Field{{Name: "accept", Value: "x"}, {Name: "", Value: "y"}, {Name: "accept", Value: "z"}}
	for name, fields := range map[string][]abi.Field{
		"the host's first": slices.Concat(own, headers),
		"headers first":    slices.Concat(headers, own),
		"mixed":            {headers[0], own[0], own[1], headers[1], own[2], headers[2], own[3]},
	} {
		t.Run(name, func(t *testing.T) {
			var r Request
			r.fill(nil, fields)
			if r.Method != "GET" || r.PathValue("a") != "1" || r.PathValue("b") != "2" || r.PathValue("unknown") != "" {
				t.Errorf("method %q, a %q, b %q", r.Method, r.PathValue("a"), r.PathValue("b"))
			}
			if !slices.Equal(r.Header, headers) {
				t.Errorf("headers %q, want %q", r.Header, headers)
			}
		})
	}
}
