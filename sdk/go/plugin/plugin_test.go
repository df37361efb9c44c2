package plugin_test

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
	"github.com/patchbay-run/patchbay/sdk/go/plugin/plugintest"
)

func ok(w *plugin.Response, r *plugin.Request) error { return nil }

func TestSetup(t *testing.T) {
	manifest := plugintest.Manifest([]byte(`{"name": "p", "version": "1.0.0", "routes": [{"method": "GET", "path": "/a"}, {"method": "POST", "path": "/b"}]}`))
	both := func(p *plugin.Plugin) error {
		p.Handle("GET /a", ok)
		p.Handle("POST /b", ok)
		return nil
	}
	for _, c := range []struct {
		name  string
		setup func(*plugin.Plugin) error
		want  []string // in the error; none: no error
	}{
		{"complete", both, nil},
		{"own error", func(p *plugin.Plugin) error { return errors.New("no model") }, []string{"no model"}},
		{"missing handler", func(p *plugin.Plugin) error { p.Handle("GET /a", ok); return nil }, []string{`"POST /b"`, "no handler"}},
		{"unknown route", func(p *plugin.Plugin) error { p.Handle("GET /c", ok); return both(p) }, []string{`"GET /c"`, `"GET /a"`}},
		{"twice", func(p *plugin.Plugin) error { p.Handle("GET /a", ok); return both(p) }, []string{`"GET /a"`, "already"}},
		{"nil handler", func(p *plugin.Plugin) error { p.Handle("GET /a", nil); return nil }, []string{"nil"}},
		{"panic", func(p *plugin.Plugin) error { panic("boom") }, []string{"panicked", "boom", "plugin_test.go"}},
		{"nil setup", nil, []string{"plugin.Serve"}},
		{"unknown key", func(p *plugin.Plugin) error {
			var cfg struct{ Model string }
			return p.Config(&cfg)
		}, []string{`"p"`, `"modle"`}},
		{"wrong type", func(p *plugin.Plugin) error {
			var cfg struct {
				Model int `json:"modle"`
			}
			return p.Config(&cfg)
		}, []string{`"modle"`, "whole number", "a string"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := plugintest.New(t, c.setup, manifest, plugintest.Config(`{"modle": "x"}`)).SetupError()
			if (err != nil) != (c.want != nil) {
				t.Fatalf("setup error %v", err)
			}
			for _, text := range c.want {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("error %q does not say %q", err, text)
				}
			}
		})
	}
}

func TestPlugin(t *testing.T) {
	var name, version string
	var cfg struct{ Model string }
	var granted, absent bool
	h := plugintest.New(t, func(p *plugin.Plugin) error {
		name, version = p.Name(), p.Version()
		granted, absent = p.HasSecret("key"), p.HasSecret("other")
		p.Log().Info("set up", "model", "a b", "n", 3)
		return p.Config(&cfg)
	}, plugintest.Manifest([]byte(`{"name": "p", "version": "1.2.0"}`)), plugintest.Config(map[string]string{"model": "m"}), plugintest.Secret("key", "s3cret"))
	if err := h.SetupError(); err != nil {
		t.Fatal(err)
	}
	if name != "p" || version != "1.2.0" || cfg.Model != "m" || !granted || absent {
		t.Error(name, version, cfg, granted, absent)
	}
	if logs := h.Logs(); !slices.Equal(logs, []string{`INFO set up model="a b" n=3`}) {
		t.Errorf("%q", logs)
	}
}

func TestHandlerFaults(t *testing.T) {
	h := routes{
		"GET /panic":  func(w *plugin.Response, r *plugin.Request) error { panic("boom") },
		"GET /nil":    func(w *plugin.Response, r *plugin.Request) error { var m map[string]int; m["a"] = 1; return nil },
		"GET /goexit": func(w *plugin.Response, r *plugin.Request) error { runtime.Goexit(); return nil },
		"GET /status": func(w *plugin.Response, r *plugin.Request) error { w.WriteHeader(100); return nil },
		"GET /late": func(w *plugin.Response, r *plugin.Request) error {
			w.WriteString("begun")
			w.Flush()
			panic("late")
		},
		"GET /fine": func(w *plugin.Response, r *plugin.Request) error { _, err := w.WriteString("fine"); return err },
	}.host(t)
	const internal = `{"detail":"Internal Server Error"}`
	for _, path := range []string{"/panic", "/nil", "/goexit", "/status"} {
		want(t, h.Do("GET", path, nil), 500, internal)
	}
	if a := h.Do("GET", "/late", nil); a.Err != plugintest.ErrAborted || string(a.Body) != "begun" {
		t.Error(a.Err, string(a.Body))
	}
	want(t, h.Do("GET", "/fine", nil), 200, "fine")
	if n := len(h.Logs()); n != 5 {
		t.Errorf("%d lines in the log, want one for each fault", n)
	}
	logs := strings.Join(h.Logs(), "\n")
	for _, text := range []string{"ERROR handler panicked: boom", "plugin_test.go", "runtime.Goexit", "nil map", "WriteHeader(100)"} {
		if !strings.Contains(logs, text) {
			t.Errorf("the log does not say %q:\n%s", text, logs)
		}
	}
}

func TestUnknownRoute(t *testing.T) {
	h := one(t, ok)
	want(t, h.Do("GET", "/x", nil), 404, `{"detail":"Not Found"}`)
	want(t, h.Do("PUT", "/", nil), 405, `{"detail":"Method Not Allowed"}`)
	want(t, h.Do("GET", "/", nil), 200, "")
}
