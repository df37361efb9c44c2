package plugin_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
	"github.com/patchbay-run/patchbay/sdk/go/plugin/plugintest"
)

// routes is a plugin by its handlers, and its manifest.
type routes map[string]plugin.Handler

func (rs routes) manifest() []byte {
	type route struct {
		Method string `json:"method"`
		Path   string `json:"path"`
	}
	var list []route
	for r := range rs {
		method, path, _ := strings.Cut(r, " ")
		list = append(list, route{method, path})
	}
	b, _ := json.Marshal(map[string]any{"name": "test", "version": "1.0.0", "routes": list})
	return b
}

func (rs routes) setup(p *plugin.Plugin) error {
	for r, h := range rs {
		p.Handle(r, h)
	}
	return nil
}

func (rs routes) host(t testing.TB, opts ...plugintest.Option) *plugintest.Host {
	t.Helper()
	return plugintest.New(t, rs.setup, append(opts, plugintest.Manifest(rs.manifest()))...)
}

// one is a plugin with one handler, at GET and POST /.
func one(t testing.TB, h plugin.Handler, opts ...plugintest.Option) *plugintest.Host {
	t.Helper()
	return routes{"GET /": h, "POST /": h}.host(t, opts...)
}

// want fails the test when an answer is another.
func want(t testing.TB, a *plugintest.Answer, status int, body string) {
	t.Helper()
	if a.Status != status || string(a.Body) != body || a.Err != nil {
		t.Errorf("answer %d %q (%v), want %d %q", a.Status, clip(a.Body), a.Err, status, body)
	}
}

func clip(b []byte) string {
	if len(b) > 300 {
		return fmt.Sprintf("%s… (%d bytes)", b[:300], len(b))
	}
	return string(b)
}
