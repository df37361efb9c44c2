package capability_test

import (
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/capability"
	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

const value = "s3cr3t-value-of-a-key"

func with(in *wasm.Operation, secret string) *wasm.Operation {
	in.Name = secret
	return in
}

// trust lets calls verify the server of a test.
func trust(s *recorder) []upstream.Option {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return []upstream.Option{upstream.Roots(pool)}
}

// TestSecretOfAGrant goes through what a secret needs before it is sent: a grant, a binding, a safe way and a value.
func TestSecretOfAGrant(t *testing.T) {
	plain, safe := record(t), recordTLS(t)
	bound := config.Secret{Env: "KEY", Hosts: []string{"127.0.0.1"}}
	insecure := config.Secret{Env: "KEY", Hosts: []string{"127.0.0.1"}, Insecure: true}
	for _, c := range []struct {
		name   string
		to     *recorder
		secret config.Secret
		change func(*config.Fetch)
		ask    string // which secret the guest names
		want   string // of the Authorization header; "" is refused
		text   string // of the refusal
	}{
		{name: "https", to: safe, secret: bound, ask: "key", want: "Bearer " + value},
		{name: "https, as bearer", to: safe, secret: bound, ask: "key", change: func(f *config.Fetch) { f.As = "bearer" }, want: "Bearer " + value},
		{name: "http that may be", to: plain, secret: insecure, ask: "key", want: "Bearer " + value},
		{name: "nobody asked for it", to: safe, secret: bound, want: "mine"},
		{name: "no grant of it", to: safe, secret: bound, ask: "key", change: func(f *config.Fetch) { f.Secret = "" }, text: "add secret: key to that line"},
		{name: "another secret", to: safe, secret: bound, ask: "other", text: "add secret: other to that line"},
		{name: "no such grant at all", to: safe, secret: bound, ask: "key", change: func(f *config.Fetch) { f.Paths = []string{"/y"} }, text: "secret: key}"},
		{name: "plain http", to: plain, secret: bound, ask: "key", text: "set secrets.key.insecure: true"},
		{name: "bound to another host", to: safe, secret: config.Secret{Env: "KEY", Hosts: []string{"api.example.com"}}, ask: "key", text: "add 127.0.0.1 to secrets.key.hosts"},
		{name: "bound to an upstream", to: safe, secret: config.Secret{Env: "KEY", Upstream: "127.0.0.1"}, ask: "key", text: "not bound"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := grant(t, c.to.URL, func(f *config.Fetch) { f.Secret = "key" })
			if c.change != nil {
				c.change(&f)
			}
			s := setup{grant: []config.Fetch{f}, secrets: map[string]config.Secret{"key": c.secret}, environ: []string{"KEY=" + value}}
			if c.to == safe {
				s.options = trust(safe)
			}
			g, before := s.guest(t), c.to.count()
			in := with(ask("GET", c.to.URL+"/x?q=what+a+person+typed", "authorization", "mine"), c.ask)
			if c.want == "" {
				text := g.refuses(t, in, abi.Denied)
				if !strings.Contains(text, c.text) {
					t.Errorf("text %q lacks %q", text, c.text)
				}
				if c.to.count() != before {
					t.Error("it was sent all the same")
				}
				for where, said := range map[string]string{"text": text, "log": g.log.String()} {
					if strings.Contains(said, value) || strings.Contains(said, "person") {
						t.Errorf("the %s tells too much: %s", where, said)
					}
				}
				if len(g.refused.List()) != 1 {
					t.Errorf("refusals %v", g.refused.List())
				}
				return
			}
			g.must(t, in)
			if got := c.to.last(t).Header.Values("Authorization"); !slices.Equal(got, []string{c.want}) {
				t.Errorf("Authorization %q, want %q", got, c.want)
			}
		})
	}
}

// TestSecretIsFoundOnItsOwnLine has two lines for one address, the second with the secret.
func TestSecretIsFoundOnItsOwnLine(t *testing.T) {
	s := record(t)
	g := setup{
		grant:   []config.Fetch{grant(t, s.URL, nil), grant(t, s.URL, func(f *config.Fetch) { f.Secret, f.As = "key", "X-Api-Key" })},
		secrets: map[string]config.Secret{"key": {Env: "KEY", Hosts: []string{"127.0.0.1"}, Insecure: true}}, environ: []string{"KEY=" + value},
	}.guest(t)
	g.must(t, with(ask("GET", s.URL, "x-api-key", "mine"), "key"))
	if got := s.last(t).Header.Values("X-Api-Key"); !slices.Equal(got, []string{value}) {
		t.Errorf("X-Api-Key %q", got)
	}
	g.must(t, ask("GET", s.URL))
	if got := s.last(t).Header.Values("X-Api-Key"); got != nil {
		t.Errorf("X-Api-Key %q without the secret's name", got)
	}
}

func TestAbsentSecret(t *testing.T) {
	s := record(t)
	known := map[string]config.Secret{"key": {Env: "KEY", Hosts: []string{"127.0.0.1"}}, "up": {Env: "UP", Upstream: "up"}}
	g := setup{
		grant:   []config.Fetch{grant(t, s.URL, func(f *config.Fetch) { f.Secret = "key" }), {Upstream: "up", Methods: []string{"GET"}, Paths: []string{"/"}}},
		named:   map[string]config.Upstream{"up": {Endpoints: []config.Endpoint{{URL: s.URL}}, Private: true, MaxConns: 1, Auth: config.Auth{Secret: "up", As: "bearer"}}},
		secrets: known, environ: []string{"KEY="},
	}.guest(t)
	// Nothing travels, so plain http does no harm.
	for _, in := range []*wasm.Operation{with(ask("GET", s.URL), "key"), ask("GET", "upstream://up/")} {
		g.must(t, in)
		if got := s.last(t).Header.Values("Authorization"); got != nil {
			t.Errorf("Authorization %q", got)
		}
	}
}

func TestAuthOfAnUpstream(t *testing.T) {
	s := record(t)
	secrets := map[string]config.Secret{"up": {Env: "UP", Upstream: "up", Insecure: true}, "extra": {Env: "EXTRA", Upstream: "up", Insecure: true}}
	environ := []string{"UP=" + value, "EXTRA=extra"}
	allow := []config.Fetch{{Upstream: "up", Methods: []string{"GET", "POST"}, Paths: []string{"/v1"}}}
	named := func(change func(*config.Upstream)) map[string]config.Upstream {
		u := config.Upstream{Endpoints: []config.Endpoint{{URL: s.URL + "/base"}}, Private: true, MaxConns: 2, Auth: config.Auth{Secret: "up", As: "bearer"}}
		if change != nil {
			change(&u)
		}
		return map[string]config.Upstream{"up": u}
	}
	t.Run("bearer", func(t *testing.T) {
		g := setup{grant: allow, named: named(nil), secrets: secrets, environ: environ}.guest(t)
		reply, _ := g.must(t, ask("GET", "upstream://up/v1/models?a=b", "authorization", "mine"))
		got := s.last(t)
		if v := got.Header.Values("Authorization"); !slices.Equal(v, []string{"Bearer " + value}) {
			t.Errorf("Authorization %q", v)
		}
		if got.RequestURI != "/base/v1/models?a=b" {
			t.Errorf("the upstream saw %s", got.RequestURI)
		}
		for _, f := range reply.Fields {
			if strings.Contains(f.Value, value) {
				t.Errorf("the guest sees the secret in %s", f.Name)
			}
		}
	})
	t.Run("a header", func(t *testing.T) {
		g := setup{grant: allow, secrets: secrets, environ: environ, named: named(func(u *config.Upstream) { u.Auth.As = "X-API-Key" })}.guest(t)
		g.must(t, ask("GET", "upstream://up/v1", "x-api-key", "mine"))
		if v := s.last(t).Header.Values("X-Api-Key"); !slices.Equal(v, []string{value}) {
			t.Errorf("X-Api-Key %q", v)
		}
	})
	t.Run("a second one that the guest names", func(t *testing.T) {
		more := slices.Clone(allow)
		more[0].Secret, more[0].As = "extra", "X-Extra"
		g := setup{grant: more, named: named(nil), secrets: secrets, environ: environ}.guest(t)
		g.must(t, with(ask("GET", "upstream://up/v1"), "extra"))
		if h := s.last(t).Header; h.Get("Authorization") != "Bearer "+value || h.Get("X-Extra") != "extra" {
			t.Errorf("headers %v", h)
		}
	})
	t.Run("bound elsewhere", func(t *testing.T) {
		other := map[string]config.Secret{"up": {Env: "UP", Upstream: "another", Insecure: true}}
		text := setup{grant: allow, named: named(nil), secrets: other, environ: environ}.guest(t).refuses(t, ask("GET", "upstream://up/v1"), abi.Denied)
		if !strings.Contains(text, "say upstream: up in secrets.up") || strings.Contains(text, value) {
			t.Error(text)
		}
	})
	t.Run("plain http", func(t *testing.T) {
		before := s.count()
		safe := map[string]config.Secret{"up": {Env: "UP", Upstream: "up"}}
		setup{grant: allow, named: named(nil), secrets: safe, environ: environ}.guest(t).refuses(t, ask("GET", "upstream://up/v1"), abi.Denied)
		if s.count() != before {
			t.Error("it was sent all the same")
		}
	})
	t.Run("demo", func(t *testing.T) {
		g := setup{
			grant: []config.Fetch{{Upstream: "up", Methods: []string{"GET"}, Paths: []string{"/"}, Secret: "extra"}}, secrets: secrets, environ: environ,
			named:   named(func(u *config.Upstream) { u.Endpoints, u.Private = []config.Endpoint{{URL: "demo:gpustack"}}, false }),
			resolve: func(string) (string, error) { return s.URL, nil },
		}.guest(t)
		g.must(t, with(ask("GET", "upstream://up/v1"), "extra"))
		if v := s.last(t).Header.Values("Authorization"); v != nil {
			t.Errorf("the demo was given %q", v)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		g := setup{grant: []config.Fetch{{Upstream: "gone", Methods: []string{"GET"}, Paths: []string{"/"}}}}.guest(t)
		if text := g.refuses(t, ask("GET", "upstream://gone/"), abi.Invalid); !strings.Contains(text, `no upstream "gone"`) {
			t.Error(text)
		}
		g.refuses(t, ask("GET", "upstream://GONE/"), abi.Denied)
	})
	t.Run("without a path", func(t *testing.T) {
		g := setup{grant: []config.Fetch{{Upstream: "up", Methods: []string{"GET"}, Paths: []string{"/"}}}, named: named(nil), secrets: secrets, environ: environ}.guest(t)
		g.must(t, ask("GET", "upstream://up"))
		g.must(t, ask("GET", "upstream://up?q"))
	})
}

func TestReadSecrets(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		name    string
		secret  config.Secret
		environ []string
		present bool
		err     string
	}{
		{name: "variable", secret: config.Secret{Env: "K"}, environ: []string{"K=v"}, present: true},
		{name: "the last one counts", secret: config.Secret{Env: "K"}, environ: []string{"K=v", "K="}},
		{name: "with = in it", secret: config.Secret{Env: "K"}, environ: []string{"K=a=b"}, present: true},
		{name: "unset", secret: config.Secret{Env: "K"}, environ: []string{"KK=v", "XK=v"}},
		{name: "spaces only", secret: config.Secret{Env: "K"}, environ: []string{"K= \n"}},
		{name: "file with a newline at its end", secret: config.Secret{File: write("ok", "v\r\n")}, present: true},
		{name: "empty file", secret: config.Secret{File: write("empty", "\n")}},
		{name: "largest file", secret: config.Secret{File: write("large", strings.Repeat("x", 64<<10))}, present: true},
		{name: "no file", secret: config.Secret{File: filepath.Join(dir, "none")}, err: "read secrets.key.file: open "},
		{name: "a folder", secret: config.Secret{File: dir}, err: "read secrets.key.file: "},
		{name: "too large", secret: config.Secret{File: write("huge", strings.Repeat("x", 64<<10+1))}, err: "is over the 65536 bytes"},
		{name: "without end", secret: config.Secret{File: "/dev/zero"}, err: "is over the 65536 bytes"},
		{name: "two lines", secret: config.Secret{File: write("lines", "hidden\nhidden")}, err: "secrets.key holds a line break"},
		{name: "a control character", secret: config.Secret{Env: "K"}, environ: []string{"K=hidden\x00hidden"}, err: "secrets.key holds a line break or another control character"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := capability.ReadSecrets(map[string]config.Secret{"key": c.secret}, c.environ)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "hidden") {
					t.Fatalf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil || s.Present("key") != c.present || s.Present("other") {
				t.Fatalf("present %v, error %v", s.Present("key"), err)
			}
		})
	}
	_, err := capability.ReadSecrets(map[string]config.Secret{"a": {File: filepath.Join(dir, "none")}, "b": {File: dir}, "c": {Env: "C"}}, []string{"C=\x01"})
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("not every problem at once: %v", err)
	}
}

func TestGranted(t *testing.T) {
	s, err := capability.ReadSecrets(map[string]config.Secret{"b": {Env: "B"}, "a": {Env: "A"}, "absent": {Env: "X"}, "not-granted": {Env: "A"}}, []string{"A=1", "B=2"})
	if err != nil {
		t.Fatal(err)
	}
	got := s.Granted(config.Grant{Fetch: []config.Fetch{{Secret: "b"}, {Secret: "absent"}, {}, {Secret: "a"}, {Secret: "b"}, {Secret: "unknown"}}})
	if !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("granted %v", got)
	}
}

// TestPrivateAddress is refused at dial time, whatever the host is called.
func TestPrivateAddress(t *testing.T) {
	s := record(t)
	for _, host := range []string{"127.0.0.1", "localhost"} {
		g := setup{grant: []config.Fetch{grant(t, "http://"+host+":"+portOf(t, s.URL), func(f *config.Fetch) { f.Private = false })}}.guest(t)
		text := g.refuses(t, ask("GET", "http://"+host+":"+portOf(t, s.URL)+"/?q=secretquery"), abi.Blocked)
		if !strings.Contains(text, "private: true") || strings.Contains(text+g.log.String(), "secretquery") {
			t.Error(text)
		}
	}
	if s.count() != 0 {
		t.Error("it was called all the same")
	}
	g := setup{
		grant: []config.Fetch{{Upstream: "up", Methods: []string{http.MethodGet}, Paths: []string{"/"}}},
		named: map[string]config.Upstream{"up": {Endpoints: []config.Endpoint{{URL: s.URL}}, MaxConns: 1}},
	}.guest(t)
	g.refuses(t, ask("GET", "upstream://up/"), abi.Blocked)
}
