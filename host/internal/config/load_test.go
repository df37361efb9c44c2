package config_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// write puts a YAML text into a file and returns its path.
func write(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "patchbay.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// load reads a YAML text that is right.
func load(t testing.TB, text string, environ ...string) *config.Config {
	t.Helper()
	c, err := config.Load(config.Options{File: write(t, text), Environ: environ})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// problems reads something that is wrong and returns what is said about it.
func problems(t testing.TB, o config.Options) config.Errors {
	t.Helper()
	c, err := config.Load(o)
	var list config.Errors
	if c != nil || !errors.As(err, &list) {
		t.Fatalf("Load = %v, %v; want Errors", c, err)
	}
	return list
}

// A loaded default and Default itself are the same, and nothing is shared between two of them.
func TestLoadOfNothingIsDefault(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "comment": "# nothing\n", "null": "~\n", "document": "---\n", "sections": "server:\nplugins:\nupstreams: ~\n"} {
		if got := load(t, text); !reflect.DeepEqual(got, config.Default()) {
			t.Errorf("%s: %+v\nis not the default", name, got)
		}
	}
	c, err := config.Load(config.Options{})
	if err != nil || !reflect.DeepEqual(c, config.Default()) {
		t.Errorf("without a file: %+v, %v", c, err)
	}
	c.Server.CORS.Origins[0] = "changed"
	if config.Default().Server.CORS.Origins[0] != "*" {
		t.Error("two defaults share a list")
	}
}

func TestLayers(t *testing.T) {
	file := write(t, `
server: {listen: "127.0.0.1:1", max_conns: 1, trusted_proxies: [10.0.0.1]}
log: {level: warn}
client: {max_conns: 7}
`)
	c, err := config.Load(config.Options{
		File:    file,
		Environ: []string{"PATCHBAY_SERVER__LISTEN=127.0.0.1:2", "PATCHBAY_SERVER__MAX_CONNS=2", "PATCHBAY_LOG__LEVEL=error", "PATH=/bin"},
		Flags:   map[string]string{"server.listen": "127.0.0.1:3"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for what, pair := range map[string][2]any{
		"a flag wins":                    {c.Server.Listen, "127.0.0.1:3"},
		"then the environment":           {c.Server.MaxConns, 2},
		"also over a file's word":        {c.Log.Level, "error"},
		"then the file":                  {c.Client.MaxConns, 7},
		"then the default, beside it":    {c.Client.MaxIdleConns, 50},
		"and in a section of no mention": {c.Live.MaxClients, 10000},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s: got %v, want %v", what, pair[0], pair[1])
		}
	}
}

// Every kind of setting can come from the environment, and from a flag.
func TestEnvironmentAndFlags(t *testing.T) {
	file := write(t, `
upstreams:
  gpu-stack: {endpoints: ["demo:gpustack"]}
`)
	fromEnvironment, err := config.Load(config.Options{File: file, Environ: []string{
		"PATCHBAY_SERVER__MAX_BODY=1MiB",
		"PATCHBAY_SERVER__IDLE_TIMEOUT=5m",
		"PATCHBAY_SERVER__TRUSTED_PROXIES=10.0.0.0/8, ::1,",
		"PATCHBAY_SERVER__CORS__ORIGINS=",
		"PATCHBAY_CACHE_DIR=12",
		"PATCHBAY_DEMO__ERROR_RATE=0.5",
		"PATCHBAY_UPSTREAMS__GPU_STACK__PRIVATE=true",
		"PATCHBAY_UPSTREAMS__GPU_STACK__AUTH__SECRET=key",
		"PATCHBAY_UPSTREAMS__OTHER__ENDPOINTS=https://a.example.com,https://b.example.com",
		"PATCHBAY_SECRETS__KEY__ENV=GPUSTACK_API_KEY",
		"PATCHBAY_SECRETS__KEY__UPSTREAM=gpu-stack",
	}})
	if err != nil {
		t.Fatal(err)
	}
	fromFlags, err := config.Load(config.Options{File: file, Flags: map[string]string{
		"server.max_body":                 "1MiB",
		"server.idle_timeout":             "5m",
		"server.trusted_proxies":          "10.0.0.0/8, ::1,",
		"server.cors.origins":             "",
		"cache_dir":                       "12",
		"demo.error_rate":                 "0.5",
		"upstreams.gpu-stack.private":     "true",
		"upstreams.gpu-stack.auth.secret": "key",
		"upstreams.other.endpoints":       "https://a.example.com,https://b.example.com",
		"secrets.key.env":                 "GPUSTACK_API_KEY",
		"secrets.key.upstream":            "gpu-stack",
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Server.MaxBody = config.MiB
	want.Server.IdleTimeout = 5 * time.Minute
	want.Server.TrustedProxies = []string{"10.0.0.0/8", "::1"}
	want.Server.CORS.Origins = []string{}
	want.CacheDir = "12"
	want.Demo.ErrorRate = 0.5
	gpustack, other := config.DefaultUpstream(), config.DefaultUpstream()
	gpustack.Endpoints = []config.Endpoint{{URL: "demo:gpustack", Weight: 1}}
	gpustack.Private = true
	gpustack.Auth = config.Auth{Secret: "key", As: "bearer"}
	other.Endpoints = []config.Endpoint{{URL: "https://a.example.com", Weight: 1}, {URL: "https://b.example.com", Weight: 1}}
	want.Upstreams = map[string]config.Upstream{"gpu-stack": gpustack, "other": other}
	want.Secrets = map[string]config.Secret{"key": {Env: "GPUSTACK_API_KEY", Upstream: "gpu-stack"}}
	for source, got := range map[string]*config.Config{"environment": fromEnvironment, "flags": fromFlags} {
		got.Secrets = maps.Clone(got.Secrets)
		for name, s := range got.Secrets { // nil and empty are the same here
			s.Hosts = nil
			got.Secrets[name] = s
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got\n%+v\nwant\n%+v", source, got, want)
		}
	}
}

// What is wrong in the environment or in a flag names the variable or the flag.
func TestBadEnvironmentAndFlags(t *testing.T) {
	file := write(t, `
upstreams:
  gpu-stack: {endpoints: ["demo:gpustack"]}
plugins: []
`)
	for variable, want := range map[string]string{
		"PATCHBAY_SERVER_LISTEN=x":                 "environment PATCHBAY_SERVER_LISTEN: there is no such setting; the nearest known one is PATCHBAY_SERVER__LISTEN",
		"PATCHBAY_LISTEN=x":                        "environment PATCHBAY_LISTEN: there is no such setting; the nearest known one is PATCHBAY_SERVER__LISTEN",
		"PATCHBAY_server__listen=x":                "environment PATCHBAY_server__listen: there is no such setting; the nearest known one is PATCHBAY_",
		"PATCHBAY_UPSTREAMS__GPU_STACK__MAX_CON=1": "environment PATCHBAY_UPSTREAMS__GPU_STACK__MAX_CON: there is no such setting; the nearest known one is PATCHBAY_UPSTREAMS__GPU_STACK__MAX_CONNS",
		"PATCHBAY_UPSTREAMS__NEW__MAX_CON=1":       "environment PATCHBAY_UPSTREAMS__NEW__MAX_CON: there is no such setting; the nearest known one is PATCHBAY_UPSTREAMS__NEW__MAX_CONNS",
		"PATCHBAY_=x":                              "environment PATCHBAY_: there is no such setting; the nearest known one is PATCHBAY_",
		"PATCHBAY_SERVER=x":                        "environment PATCHBAY_SERVER: this is a section, not a setting; one of its settings is PATCHBAY_SERVER__LISTEN",
		"PATCHBAY_UPSTREAMS__GPU_STACK=x":          "environment PATCHBAY_UPSTREAMS__GPU_STACK: this is a section, not a setting; one of its settings is PATCHBAY_UPSTREAMS__GPU_STACK__ENDPOINTS",
		"PATCHBAY_PLUGINS=x":                       "environment PATCHBAY_PLUGINS: plugins is a list of sections, which only the file can set",
		"PATCHBAY_PLUGINS__0__NAME=x":              "environment PATCHBAY_PLUGINS__0__NAME: plugins is a list of sections, which only the file can set",
		"PATCHBAY_SERVER__MAX_CONNS=many":          `environment PATCHBAY_SERVER__MAX_CONNS: server.max_conns: want a whole number, got "many"`,
		"PATCHBAY_SERVER__MAX_CONNS=":              `environment PATCHBAY_SERVER__MAX_CONNS: server.max_conns: want a whole number, got ""`,
		"PATCHBAY_SERVER__MAX_CONNS=null":          `environment PATCHBAY_SERVER__MAX_CONNS: server.max_conns: want a whole number, got "null"`,
		"PATCHBAY_SERVER__MAX_CONNS=-1":            `environment PATCHBAY_SERVER__MAX_CONNS: server.max_conns: want 0 to 1000000, got -1`,
		"PATCHBAY_SERVER__IDLE_TIMEOUT=30":         `environment PATCHBAY_SERVER__IDLE_TIMEOUT: server.idle_timeout: want a duration: add a unit, as in 30s, got "30"`,
		"PATCHBAY_DEMO__ERROR_RATE=.nan":           "environment PATCHBAY_DEMO__ERROR_RATE: demo.error_rate: .nan is no number that a setting can have",
		"PATCHBAY_UPSTREAMS__NEW__PRIVATE=true":    "environment PATCHBAY_UPSTREAMS__NEW__PRIVATE: upstreams.new.endpoints: an upstream needs an endpoint",
		"PATCHBAY_SERVER__LISTEN=0.0.0.0:8001":     "environment PATCHBAY_SERVER__LISTEN: server.listen: server.listen and admin.listen want the same port",
		"PATCHBAY_CONFIGS=x":                       "environment PATCHBAY_CONFIGS: there is no such setting; the nearest known one is PATCHBAY_",
	} {
		list := problems(t, config.Options{File: file, Environ: []string{variable}})
		if len(list) != 1 || !strings.HasPrefix(list[0].String(), want) {
			t.Errorf("%s:\ngot  %v\nwant %s", variable, list, want)
		}
	}
	for name, want := range map[string]string{
		"server.lisen":            "flag server.lisen: there is no such setting; the nearest known one is server.listen",
		"listen":                  "flag listen: there is no such setting; the nearest known one is server.listen",
		"upstreams.gpu-stack.max": "flag upstreams.gpu-stack.max: there is no such setting; the nearest known one is upstreams.gpu-stack.",
		"upstreams.Bad Name.auth": "flag upstreams.Bad Name.auth: there is no such setting; the nearest known one is upstreams.",
		"plugins[0].name":         "flag plugins[0].name: plugins is a list of sections, which only the file can set",
		"server.listen":           `flag server.listen: want host:port, such as 127.0.0.1:8000, got "x"`,
		"log":                     "flag log: this is a section, not a setting; one of its settings is log.level",
		"":                        "flag : there is no such setting; the nearest known one is ",
	} {
		list := problems(t, config.Options{File: file, Flags: map[string]string{name: "x"}})
		if len(list) != 1 || !strings.HasPrefix(list[0].String(), want) {
			t.Errorf("%q:\ngot  %v\nwant %s", name, list, want)
		}
	}
}

// A mistake is found although a higher layer covers it, and the sources come in a fixed order.
func TestNoSourceHidesAnother(t *testing.T) {
	file := write(t, "server: {max_conns: many}\nlog: {level: info}\nzebra: 1\n")
	list := problems(t, config.Options{
		File:    file,
		Environ: []string{"PATCHBAY_SERVER__MAX_CONNS=lots", "PATCHBAY_ADMIN__LISTEN=nowhere"},
		Flags:   map[string]string{"server.max_conns": "-5", "log.level": "loud"},
	})
	var sources []string
	for _, p := range list {
		sources = append(sources, strings.Replace(p.File, file, "file", 1)+" "+p.Path)
	}
	want := []string{
		"file server.max_conns",
		"file zebra",
		"environment PATCHBAY_ADMIN__LISTEN admin.listen",
		"environment PATCHBAY_SERVER__MAX_CONNS server.max_conns",
		"flag log.level log.level",
	}
	if !reflect.DeepEqual(sources, want) {
		t.Errorf("got %q\nwant %q\n%v", sources, want, list)
	}
}

// With a file that cannot be read, the other sources are judged all the same, and nothing is said
// about what the file might have held.
func TestUnreadableFile(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.yaml")
	for file, want := range map[string]string{
		missing:                        "there is no such file; relative paths start at ",
		t.TempDir():                    "read the file: is a directory",
		write(t, "server: {"):          "did not find expected node content",
		write(t, "server: \xff"):       "",
		write(t, "- a\n"):              "want keys such as server and plugins, got a list",
		write(t, "a: 1\n---\nb: 1\n"):  "a second document starts here; one file holds one",
		write(t, "a: *nowhere\n"):      "unknown anchor 'nowhere' referenced",
		write(t, largeFile(1<<20+100)): "the file is larger than 1MiB",
		"/dev/zero":                    "the file is larger than 1MiB",
	} {
		list := problems(t, config.Options{File: file, Environ: []string{
			"PATCHBAY_LOG__LEVEL=loud",
			"PATCHBAY_SERVER__TLS__CERT=load_test.go", // the file may hold the key
			"PATCHBAY_UPSTREAMS__NEW__PRIVATE=true",
		}})
		if len(list) != 2 || list[0].File != file || !strings.Contains(list[0].Message, want) || list[1].Path != "log.level" {
			t.Errorf("want %q and the level, got:\n%v", want, list)
		}
	}
}

func largeFile(size int) string {
	return "# " + strings.Repeat("x", size) + "\n"
}

func TestConfigVariable(t *testing.T) {
	file := write(t, "log: {level: warn}\n")
	environ := []string{config.EnvFile + "=" + file}
	c, err := config.Load(config.Options{Environ: environ})
	if err != nil || c.Log.Level != "warn" {
		t.Errorf("the file that %s names was not read: %v", config.EnvFile, err)
	}
	c, err = config.Load(config.Options{Environ: environ, File: write(t, "log: {level: error}\n")})
	if err != nil || c.Log.Level != "error" {
		t.Errorf("Options.File did not win: %v", err)
	}
}

// What a plugin or an upstream leaves out is the default, entry by entry.
func TestEntryDefaults(t *testing.T) {
	c := load(t, `
upstreams:
  one: {endpoints: ["demo:search"], max_conns: 3}
  two: {endpoints: ["http://10.0.0.1/v1/chat/completions"], auth: {secret: s}}
  three: {endpoints: ["http://10.0.0.1", {url: "http://10.0.0.2", weight: 3, metrics: "http://10.0.0.2:10161/metrics"}], retry: {max: 0}}
secrets:
  s: {file: /run/s, upstream: two, insecure: true}
  t: {env: T, hosts: [a.example.com]}
plugins:
  - {name: a, source: a.wasm, routes: ["GET /a"]}
  - name: b
    source: b.wasm
    routes: ["GET /b/{id}", "GET /b", "GET /b/{id}/{rest...}"]
    workers: auto
    limits: {memory: 0, cpu: 0s, timeout: 10m}
    grant:
      fetch:
        - {host: a.example.com, methods: [GET], paths: [/], secret: t}
        - {host: a.example.com, scheme: http, methods: [GET], paths: [/a/b]}
        - {host: "::1", port: 8443, private: true, methods: [GET], paths: [/]}
        - {upstream: two, methods: [GET], paths: [/], secret: s, as: X-Key}
    config: {a: null, b: [null, 1, {c: 1.5}], "d.e": {f: true}, 5: x, when: 2020-01-01}
`)
	if u := c.Upstreams["one"]; u.MaxConns != 3 || u.MaxIdleConns != 128 || u.IdleTimeout != 4*time.Second || u.Auth.As != "" {
		t.Errorf("upstream one: %+v", u)
	}
	if u := c.Upstreams["two"]; u.MaxConns != 512 || u.ResponseTimeout != 10*time.Minute || u.Auth.As != "bearer" {
		t.Errorf("upstream two: %+v", u)
	}
	three := config.DefaultUpstream()
	three.Retry.Max = 0
	three.Endpoints = []config.Endpoint{{URL: "http://10.0.0.1", Weight: 1}, {URL: "http://10.0.0.2", Weight: 3, Metrics: "http://10.0.0.2:10161/metrics"}}
	if u := c.Upstreams["three"]; !reflect.DeepEqual(u, three) {
		t.Errorf("upstream three: %+v\nwant %+v", u, three)
	}
	a, b := c.Plugins[0], c.Plugins[1]
	want := config.DefaultPlugin()
	want.Name, want.Source, want.Routes = "a", "a.wasm", []string{"GET /a"}
	if !reflect.DeepEqual(a, want) {
		t.Errorf("plugin a: %+v\nwant %+v", a, want)
	}
	if b.Workers != config.Auto || b.Limits != (config.Limits{Memory: 64 * config.MiB, Stack: 8 * config.MiB, CPU: 500 * time.Millisecond, Timeout: 10 * time.Minute, InFlight: 1024, Fetches: 2048, Answer: 8 * config.MiB, Headers: 64 * config.KiB, Log: 100, Events: 60, Instances: 256}) {
		t.Errorf("plugin b: %+v", b)
	}
	for i, want := range []config.Fetch{
		{Host: "a.example.com", Scheme: "https", Port: 443, Secret: "t", As: "bearer"},
		{Host: "a.example.com", Scheme: "http", Port: 80},
		{Host: "::1", Scheme: "https", Port: 8443, Private: true},
		{Upstream: "two", Secret: "s", As: "X-Key"},
	} {
		got := b.Grant.Fetch[i]
		got.Methods, got.Paths = nil, nil
		if !reflect.DeepEqual(got, want) {
			t.Errorf("grant %d: %+v, want %+v", i, got, want)
		}
	}
	wantConfig := map[string]any{
		"a": nil, "b": []any{nil, 1, map[string]any{"c": 1.5}}, "d.e": map[string]any{"f": true}, "5": "x", "when": "2020-01-01",
	}
	if !reflect.DeepEqual(b.Config, wantConfig) {
		t.Errorf("plugin b's own configuration: %#v\nwant %#v", b.Config, wantConfig)
	}
}

// Anchors, aliases and merges are ordinary YAML: a key of the mapping itself wins over a merged one.
func TestAnchors(t *testing.T) {
	c := load(t, `
client: &pool {max_conns: 7, idle_timeout: 9s}
upstreams:
  a: &base
    <<: *pool
    endpoints: &endpoints ["demo:search"]
    idle_timeout: 1s
  b:
    max_conns: 8
    <<: [{max_idle_conns: 2}, *base]
  c: {endpoints: *endpoints}
`)
	a, b := c.Upstreams["a"], c.Upstreams["b"]
	if a.MaxConns != 7 || a.IdleTimeout != time.Second || a.MaxIdleConns != 128 {
		t.Errorf("a: %+v", a)
	}
	if b.MaxConns != 8 || b.IdleTimeout != time.Second || b.MaxIdleConns != 2 || b.Endpoints[0].URL != "demo:search" {
		t.Errorf("b: %+v", b)
	}
}
