package upstream_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
)

func named(t *testing.T, resolve func(string) (string, error), endpoints ...string) (*upstream.Upstream, error) {
	t.Helper()
	set, err := upstream.New(client(nil), map[string]config.Upstream{"gpustack": {Endpoints: addresses(endpoints...), MaxConns: 1}}, resolve)
	if err != nil {
		return nil, err
	}
	t.Cleanup(set.Close)
	u, ok := set.Named("gpustack")
	if !ok || u.Name() != "gpustack" {
		t.Fatal("the upstream is not there")
	}
	return u, nil
}

func TestURL(t *testing.T) {
	const chat, models = "/v1/chat/completions", "/v1/models"
	for _, c := range []struct{ endpoint, path, query, want string }{
		{"http://h", chat, "", "http://h/v1/chat/completions"},
		{"http://h/", chat, "", "http://h/v1/chat/completions"},
		{"https://h:8443", models, "a=b&c=%20", "https://h:8443/v1/models?a=b&c=%20"},
		{"http://h", "/v2/dashboard", "", "http://h/v2/dashboard"},
		{"http://h", "/", "", "http://h/"},

		{"http://h/gpustack", chat, "", "http://h/gpustack/v1/chat/completions"},
		{"http://h/gpustack/", models, "", "http://h/gpustack/v1/models"},
		{"http://h/a%2Fb", models, "", "http://h/a%2Fb/v1/models"},

		{"http://h/v1", chat, "", "http://h/v1/chat/completions"},
		{"http://h/v1/", models, "", "http://h/v1/models"},
		{"http://h/gpustack/v1", models, "", "http://h/gpustack/v1/models"},
		{"http://h/v1-openai", chat, "", "http://h/v1-openai/chat/completions"},
		{"http://h/v1-openai", models, "", "http://h/v1/models"},
		{"http://h/v10", models, "", "http://h/v10/v1/models"},
		{"http://h/v1/proxy", models, "", "http://h/v1/proxy/v1/models"},

		{"http://h/v1/chat/completions", chat, "", "http://h/v1/chat/completions"},
		{"http://h/v1/chat/completions", models, "", "http://h/v1/models"},
		{"http://h/v1/chat/completions/", models, "", "http://h/v1/models"},
		{"http://h/v1-openai/chat/completions", chat, "x=1", "http://h/v1-openai/chat/completions?x=1"},
		{"http://h/v1-openai/chat/completions", models, "", "http://h/v1/models"},
		{"http://h/gpustack/v1/chat/completions", chat, "", "http://h/gpustack/v1/chat/completions"},
		{"http://h/gpustack/v1/chat/completions", "/v2/workers", "", "http://h/gpustack/v2/workers"},
		{"http://h/v1/team/v1/chat/completions", models, "", "http://h/v1/team/v1/models"},
		{"http://h/v1beta/openai/chat/completions", chat, "", "http://h/v1beta/openai/chat/completions"},
		{"http://h/v1beta/openai/chat/completions", models, "", "http://h/v1beta/openai/v1/models"},

		{"http://h/x", "/v1/models/a%2Fb", "", "http://h/x/v1/models/a%2Fb"},
		{"http://h/x", "/v1/models/a%20b", "", "http://h/x/v1/models/a%20b"},
		{"http://h", "//evil/v1", "", "http://h//evil/v1"},
	} {
		u, err := named(t, nil, c.endpoint)
		if err != nil {
			t.Errorf("%s: %v", c.endpoint, err)
			continue
		}
		got, err := u.URL(c.path, c.query)
		if err != nil {
			t.Errorf("%s %s: %v", c.endpoint, c.path, err)
		} else if got.String() != c.want {
			t.Errorf("%s %s: %s, want %s", c.endpoint, c.path, got, c.want)
		}
	}
}

func TestURLRefusesPaths(t *testing.T) {
	u, err := named(t, nil, "http://h/gpustack")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "v1/models", "/v1/../../admin", "/..", "/.", "/%2e%2E/admin", "/a/..%2fb", "/a?b", "/a#b", "/%zz"} {
		if got, err := u.URL(path, ""); err == nil {
			t.Errorf("%q: %s, want an error", path, got)
		}
	}
}

func TestEndpointsAreRefused(t *testing.T) {
	for endpoint, want := range map[string]string{
		"h:80":                 "no http or https URL",
		"ftp://h":              "no http or https URL",
		"http://":              "names no host",
		"http://me:pa55@h":     "secret",
		"http://h?key=1":       "query",
		"http://h/#x":          "fragment",
		"http://h/a/../b":      `".."`,
		"http://h:x":           "parse the URL",
		"http://u:pa55@h:port": "parse the URL",
		"demo:gpustack":        "no demo upstream",
	} {
		_, err := named(t, nil, endpoint)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "upstreams.gpustack.endpoints[0]") {
			t.Errorf("%s: %v, want an error about %s with its path", endpoint, err, want)
		} else if strings.Contains(err.Error(), "pa55") {
			t.Errorf("%s: %v shows the password", endpoint, err)
		}
	}
	if _, err := named(t, nil); err == nil {
		t.Error("no endpoint: want an error")
	}
	if _, err := named(t, nil, "ftp://a", "http://ok", "ftp://b"); err == nil ||
		!strings.Contains(err.Error(), "[0]") || !strings.Contains(err.Error(), "[2]") {
		t.Errorf("%v, want both problems", err)
	}
}

func TestEndpointTwice(t *testing.T) {
	if _, err := named(t, nil, "http://a", "http://b", "http://a/"); err == nil || !strings.Contains(err.Error(), "endpoints[2]") {
		t.Errorf("%v, want the third refused", err)
	}
}

// TestSchemesStayApart: a request that was made for https, with a secret perhaps, must find no endpoint over http.
func TestSchemesStayApart(t *testing.T) {
	for _, endpoints := range [][]string{{"https://a", "https://b", "http://c"}, {"http://a", "http://b", "https://c"}} {
		if _, err := named(t, nil, endpoints...); err == nil || !strings.Contains(err.Error(), "endpoints[2]") || !strings.Contains(err.Error(), "make two upstreams") {
			t.Errorf("%v: %v, want the third refused", endpoints, err)
		}
	}
}

func TestEndpointsTakeTurns(t *testing.T) {
	u, err := named(t, nil, "http://a", "http://b", "http://c")
	if err != nil {
		t.Fatal(err)
	}
	var hosts []string
	for range 6 {
		to, err := u.URL("/", "")
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, to.Host)
	}
	if got := strings.Join(hosts, ""); got != "abcabc" {
		t.Errorf("the endpoints were taken as %s, want abcabc", got)
	}
}

// TestDemoEndpoint shows that the server's own demo is reachable without "private: true", and
// that this opens nothing else.
func TestDemoEndpoint(t *testing.T) {
	demo, other := newServer(t, hello), newServer(t, hello)
	u, err := named(t, func(name string) (string, error) {
		if name != "demo:gpustack" {
			return "", errors.New("unknown")
		}
		return demo.URL, nil
	}, "demo:gpustack")
	if err != nil {
		t.Fatal(err)
	}
	to, err := u.URL("/v1/models", "")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := u.Do(get(t, t.Context(), to.String()), upstream.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp, err := u.Do(get(t, t.Context(), other.URL), upstream.Policy{}); !errors.Is(err, upstream.ErrBlocked) {
		if err == nil {
			resp.Body.Close()
		}
		t.Errorf("another loopback server: %v, want ErrBlocked", err)
	}
	if _, err := named(t, func(string) (string, error) { return "", errors.New("demo is off") }, "demo:x"); err == nil ||
		!strings.Contains(err.Error(), "demo is off") {
		t.Errorf("%v, want the resolver's error", err)
	}
}

func TestPrivateUpstream(t *testing.T) {
	s := newServer(t, hello)
	set, err := upstream.New(client(nil), map[string]config.Upstream{
		"open":   {Endpoints: addresses(s.URL), MaxConns: 1, Private: true},
		"closed": {Endpoints: addresses(s.URL), MaxConns: 1},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	call := func(name string, pol upstream.Policy) error {
		u, _ := set.Named(name)
		resp, err := u.Do(get(t, t.Context(), s.URL), pol)
		if err == nil {
			if resp.StatusCode != http.StatusOK {
				t.Errorf("status %d", resp.StatusCode)
			}
			resp.Body.Close()
		}
		return err
	}
	if err := call("open", upstream.Policy{}); err != nil {
		t.Errorf("private: true on the upstream: %v", err)
	}
	if err := call("closed", upstream.Policy{}); !errors.Is(err, upstream.ErrBlocked) {
		t.Errorf("private nowhere: %v, want ErrBlocked", err)
	}
	if err := call("closed", upstream.Policy{Private: true}); err != nil {
		t.Errorf("private: true on the grant: %v", err)
	}
}
