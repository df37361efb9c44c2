package plugin_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
	"github.com/patchbay-run/patchbay/sdk/go/plugin/plugintest"
)

// TestRedirectsAsTheServerFollowsThem: what a plugin's test sees is what the server would do.
func TestRedirectsAsTheServerFollowsThem(t *testing.T) {
	server := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if to := r.URL.Query().Get("to"); to != "" {
			w.Header().Set("Location", to)
			w.WriteHeader(303)
			return
		}
		fmt.Fprint(w, r.Method, r.URL.Path)
		for _, name := range []string{"Accept", "Accept-Charset", "Authorization", "Content-Type", "Content-Language", "Digest", "X-In"} {
			if r.Header.Get(name) != "" {
				fmt.Fprint(w, " ", name)
			}
		}
	})
	var call plugin.Call
	h := one(t, func(w *plugin.Response, r *plugin.Request) error {
		reply, err := plugin.Fetch(r.Context(), &call)
		if err != nil {
			return w.JSON(200, err.Error())
		}
		b, err := reply.Bytes(1000)
		return w.JSON(200, []any{string(b), reply.URL, err})
	}, plugintest.Upstream(base, server), plugintest.Upstream("https://other.example.com", server), plugintest.Upstream("upstream://up", server), plugintest.Secret("key", "s3cret"))
	for _, c := range []struct {
		method, at, to string
		redirects      int
		want           string
	}{
		{"POST", base, "/end", 1, `["GET/end Accept Accept-Charset Authorization X-In","` + base + `/end",null]`},
		{"GET", base, "/end", 0, `["GET/end Accept Accept-Charset Authorization Content-Type Content-Language Digest X-In","` + base + `/end",null]`},
		{"GET", base, "https://other.example.com/end", 0, `["GET/end Accept Content-Type","https://other.example.com/end",null]`},
		{"GET", base, strings.ToUpper(base) + ".:443/end", 0, `["GET/end Accept Accept-Charset Authorization Content-Type Content-Language Digest X-In","` + base + `/end",null]`},
		{"GET", "upstream://up", "end", 0, `["GET/end Accept Accept-Charset Authorization Content-Type Content-Language Digest X-In","upstream://up/end",null]`},
		{"GET", "upstream://up", "upstream://up/end", 0, `"fetch: a redirect leads to neither https nor http`},
		{"GET", base, "upstream://up/end", 0, `"fetch: a redirect leads to neither https nor http`},
		{"GET", base, "ftp://other.example.com/end", 0, `"fetch: a redirect leads to neither https nor http`},
		{"GET", base, "/?to=/end", 1, `"fetch: over 1 redirects`},
		{"GET", base, "/?to=ftp://x", 1, `"fetch: a redirect leads to neither https nor http`},
		{"GET", base, "/end", 21, `"fetch: :redirects is \"21\"`},
	} {
		call = plugin.Call{Method: c.method, URL: c.at + "/?to=" + strings.ReplaceAll(c.to, "?", "%3f"), Secret: "key", Redirects: c.redirects, Header: plugin.Header{
			{Name: "Accept", Value: "a"}, {Name: "Accept-Charset", Value: "b"}, {Name: "Content-Type", Value: "c"}, {Name: "Content-Language", Value: "d"}, {Name: "Digest", Value: "e"}, {Name: "X-In", Value: "f"},
		}}
		if c.method == "POST" {
			call.Body = []byte("body")
		}
		if a := h.Do("GET", "/", nil); a.Status != 200 || !strings.HasPrefix(string(a.Body), c.want) {
			t.Errorf("%s of %s to %s: %d %s\nwant %s", c.method, c.at, c.to, a.Status, a.Body, c.want)
		}
	}
}
