package plugintest_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
	"github.com/patchbay-run/patchbay/sdk/go/plugin/plugintest"
)

// greet is a whole plugin, as an author writes it.
func greet(p *plugin.Plugin) error {
	var cfg struct {
		Greeting string `json:"greeting"`
	}
	if err := p.Config(&cfg); err != nil {
		return err
	}
	p.Handle("GET /hello/{name}", func(w *plugin.Response, r *plugin.Request) error {
		reply, err := plugin.Fetch(r.Context(), &plugin.Call{URL: "https://names.example.com/" + r.PathValue("name")})
		if err != nil {
			return err
		}
		if reply.Status != 200 {
			return plugin.UpstreamError(reply)
		}
		full, err := reply.Bytes(1 << 10)
		if err != nil {
			return err
		}
		return w.JSON(200, map[string]string{"message": cfg.Greeting + ", " + string(full)})
	})
	return nil
}

// names is the service that greet asks.
func names(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/ada" {
		http.Error(w, `{"error": "no such name"}`, 404)
		return
	}
	io.WriteString(w, "Ada Lovelace")
}

// A plugin is tested with its manifest, a configuration, and handlers in the place of the services it calls.
func TestExample(t *testing.T) {
	h := plugintest.New(t, greet,
		plugintest.Manifest("testdata/manifest.json"),
		plugintest.Config(`{"greeting": "Good day"}`),
		plugintest.Upstream("https://names.example.com", http.HandlerFunc(names)),
	)
	for path, want := range map[string]string{
		"/hello/ada":   `200 {"message":"Good day, Ada Lovelace"}`,
		"/hello/grace": `404 {"detail":"no such name"}`,
		"/hello":       `404 {"detail":"Not Found"}`,
	} {
		a := h.Do("GET", path, nil)
		if got := fmt.Sprintf("%d %s", a.Status, a.Body); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// Without the option Upstream a call is denied, and the log shows what to grant.
func TestDenied(t *testing.T) {
	h := plugintest.New(t, greet, plugintest.Manifest("testdata/manifest.json"))
	if a := h.Do("GET", "/hello/ada", nil); a.Status != 500 || strings.Contains(string(a.Body), "grant") {
		t.Error(a.Status, string(a.Body))
	}
	if logs := strings.Join(h.Logs(), "\n"); !strings.Contains(logs, "{host: names.example.com, methods: [GET], paths: [/ada]}") {
		t.Error(logs)
	}
}

func TestSetupError(t *testing.T) {
	h := plugintest.New(t, func(*plugin.Plugin) error { return errors.New("not today") }, plugintest.Manifest("testdata/manifest.json"))
	if err := h.SetupError(); err == nil || err.Error() != "not today" {
		t.Error(err)
	}
}

func TestRoutes(t *testing.T) {
	manifest := []byte(`{"name": "p", "routes": [
		{"method": "GET", "path": "/"}, {"method": "GET", "path": "/a/{x}/c"}, {"method": "GET", "path": "/f/{rest...}"}, {"method": "POST", "path": "/a/{x}/c"}]}`)
	h := plugintest.New(t, func(p *plugin.Plugin) error {
		for _, route := range []string{"GET /", "GET /a/{x}/c", "GET /f/{rest...}", "POST /a/{x}/c"} {
			p.Handle(route, func(w *plugin.Response, r *plugin.Request) error {
				_, err := w.WriteString(route + " " + r.PathValue("x") + r.PathValue("rest"))
				return err
			})
		}
		return nil
	}, plugintest.Manifest(manifest))
	for request, want := range map[string]string{
		"GET /":          "GET / ",
		"GET /?a=/b":     "GET / ",
		"GET /a/b/c":     "GET /a/{x}/c b",
		"GET /a/b%2Fb/c": "GET /a/{x}/c b/b",
		"POST /a/b/c":    "POST /a/{x}/c b",
		"GET /f/x/y":     "GET /f/{rest...} x/y",
		"GET /f/":        "GET /f/{rest...} ",
		"GET /a//c":      "404",
		"GET /a/b/c/":    "404",
		"GET /a/b":       "404",
		"GET /x":         "404",
		"DELETE /a/b/c":  "405",
	} {
		method, path, _ := strings.Cut(request, " ")
		a := h.Do(method, path, nil)
		got := string(a.Body)
		if a.Status != 200 {
			got = fmt.Sprint(a.Status)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", request, got, want)
		}
	}
}

// fatal records that a test was failed, in the place of failing this one.
type fatal struct {
	testing.TB
	errors   []string
	cleanups []func()
}

func (f *fatal) Helper()                      {}
func (f *fatal) Cleanup(c func())             { f.cleanups = append(f.cleanups, c) }
func (f *fatal) Errorf(s string, args ...any) { f.errors = append(f.errors, fmt.Sprintf(s, args...)) }

// A handler that does not end fails the test that started it.
func TestLeak(t *testing.T) {
	if testing.Short() {
		t.Skip("waits as long as handlers have to end")
	}
	f := &fatal{TB: t}
	hang := make(chan struct{})
	h := plugintest.New(f, func(p *plugin.Plugin) error {
		p.Handle("GET /hello/{name}", func(w *plugin.Response, r *plugin.Request) error { <-hang; return nil })
		return nil
	}, plugintest.Manifest("testdata/manifest.json"))
	h.Start("GET", "/hello/x", nil)
	for i := len(f.cleanups) - 1; i >= 0; i-- {
		f.cleanups[i]()
	}
	close(hang)
	if len(f.errors) != 1 || !strings.Contains(f.errors[0], "1 goroutines of the plugin still run") {
		t.Errorf("%q", f.errors)
	}
}

func ExampleNew() {
	var t *testing.T // the test's own
	h := plugintest.New(t, greet,
		plugintest.Config(`{"greeting": "Hello"}`),
		plugintest.Secret("names", "s3cret"),
		plugintest.Upstream("https://names.example.com", http.HandlerFunc(names)),
	)
	if a := h.Do("GET", "/hello/ada", nil); a.Status != 200 {
		t.Fatal(a.Status, string(a.Body))
	}
}
