package plugin_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
	"github.com/patchbay-run/patchbay/sdk/go/plugin/plugintest"
)

func TestRequest(t *testing.T) {
	var got plugin.Request
	var values map[string]string
	h := routes{"POST /files/{name}/{rest...}": func(w *plugin.Response, r *plugin.Request) error {
		got, values = *r, maps.Collect(r.PathValues())
		got.Header = slices.Clone(r.Header)
		if r.PathValue("name") != "a b" || r.PathValue("none") != "" || r.Query().Get("q") != "ö" {
			return errors.New("wrong values")
		}
		r.Log().Warn("seen", "path", r.Path)
		return nil
	}}.host(t)
	want(t, h.Do("POST", "/files/a%20b/c/d?q=%C3%B6", "", "X-One", "1", "X-One", "2", "Accept", "*/*"), 200, "")
	if got.Method != "POST" || got.Path != "/files/a%20b/c/d" || got.RawQuery != "q=%C3%B6" || got.Host != "plugintest" || got.Client != "192.0.2.1" || got.ID == "" {
		t.Errorf("%+v", got)
	}
	if v := got.Header.Values("X-ONE"); len(v) != 2 || v[1] != "2" || len(got.Header) != 3 {
		t.Error(got.Header)
	}
	if values["rest"] != "c/d" || len(values) != 2 {
		t.Error(values)
	}
	if logs := h.Logs(); len(logs) != 1 || logs[0] != "WARN seen path=/files/a%20b/c/d" {
		t.Errorf("%q", logs)
	}
}

// TestLongLogValue: a long text is cut, and costs none of the fields behind it.
func TestLongLogValue(t *testing.T) {
	h := routes{"GET /": func(_ *plugin.Response, r *plugin.Request) error {
		r.Log().Error("failed", "error", strings.Repeat("ä", 20<<10), "n", 3)
		return nil
	}}.host(t)
	h.Do("GET", "/", nil)
	if logs := h.Logs(); len(logs) != 1 || logs[0] != "ERROR failed error="+strings.Repeat("ä", 512)+"… n=3" {
		t.Errorf("%.200q", logs)
	}
}

func TestRequestBody(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 40<<10) // 640 KiB, ten windows
	h := routes{
		"POST /read": func(w *plugin.Response, r *plugin.Request) error { _, err := io.Copy(w, r.Body); return err },
		"POST /bytes": func(w *plugin.Response, r *plugin.Request) error {
			b, err := r.Bytes(1 << 20)
			if err != nil {
				return err
			}
			_, err = w.Write(b)
			return err
		},
		"POST /small": func(w *plugin.Response, r *plugin.Request) error { _, err := r.Bytes(10); return err },
	}.host(t)
	for _, body := range [][]byte{nil, []byte("x"), big[:32<<10], big[:64<<10], big[:65<<10], big} {
		for _, path := range []string{"/read", "/bytes"} {
			for name, b := range map[string]any{"bytes": body, "reader": io.MultiReader(bytes.NewReader(body))} {
				a := h.Do("POST", path, b)
				if a.Status != 200 || !bytes.Equal(a.Body, body) {
					t.Errorf("%s of %d bytes as %s: %d, %d bytes", path, len(body), name, a.Status, len(a.Body))
				}
			}
		}
	}
	want(t, h.Do("POST", "/small", "0123456789"), 200, "")
	want(t, h.Do("POST", "/small", "0123456789a"), 413, `{"detail":"The request's body is too large: at most 10 bytes are read."}`)
	want(t, h.Do("POST", "/read", io.MultiReader(strings.NewReader("abc"), broken{})), 400, `{"detail":"The request's body broke off."}`)
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestRequestJSON(t *testing.T) {
	h := one(t, func(w *plugin.Response, r *plugin.Request) error {
		var v struct {
			Q     string   `json:"q"`
			N     int8     `json:"n"`
			Items []string `json:"items"`
		}
		if err := r.JSON(&v); err != nil {
			return err
		}
		return w.JSON(201, v)
	})
	a := h.Do("POST", "/", `{"q": "<a>&ö", "more": 1}`)
	want(t, a, 201, `{"q":"<a>&ö","n":0,"items":null}`)
	if a.Header.Get("content-type") != "application/json" {
		t.Error(a.Header)
	}
	for body, detail := range map[string]string{
		"":                    "is empty",
		"{\n \"q\": x}":       "line 2, column 7",
		`{} {}`:               "column 4",
		`{"q": 1}`:            `"q" must be a string, not a number (line 1`,
		`{"n": 1000}`:         `"n" must be a whole number of 8 bits`,
		`{"items": {"a": 1}}`: `"items" must be an array, not an object`,
		`[]`:                  `the whole value must be an object, not an array`,
	} {
		a := h.Do("POST", "/", body)
		if a.Status != 422 || !strings.Contains(string(a.Body), strings.ReplaceAll(detail, `"`, `\"`)) {
			t.Errorf("%s: %d %s, want %s", body, a.Status, a.Body, detail)
		}
	}
	if a := h.Do("POST", "/", strings.Repeat(" ", plugin.MaxJSON+1)); a.Status != 413 {
		t.Error(a.Status)
	}
}

// A request's end reaches whatever waits in it.
func TestCancel(t *testing.T) {
	waits := map[string]func(r *plugin.Request) error{
		"context": func(r *plugin.Request) error { <-r.Context().Done(); return r.Context().Err() },
		"derived": func(r *plugin.Request) error {
			ctx, cancel := context.WithTimeout(r.Context(), time.Hour)
			defer cancel()
			<-ctx.Done()
			return context.Cause(ctx)
		},
		"body": func(r *plugin.Request) error { _, err := r.Body.Read(make([]byte, 1)); return err },
	}
	for name, wait := range waits {
		for _, c := range []struct {
			reason string
			want   error
		}{{"client", context.Canceled}, {"time", context.DeadlineExceeded}} {
			t.Run(name+"/"+c.reason, func(t *testing.T) {
				begun, result := make(chan struct{}), make(chan error, 1)
				var opts []plugintest.Option
				if c.reason == "time" {
					opts = append(opts, plugintest.Timeout(20*time.Millisecond))
				}
				h := one(t, func(w *plugin.Response, r *plugin.Request) error {
					close(begun)
					err := wait(r)
					result <- err
					return err
				}, opts...)
				pr, pw := io.Pipe()
				defer pw.Close()
				s := h.Start("POST", "/", pr)
				<-begun
				if c.reason == "client" {
					s.Cancel()
				} else if s.Head(); s.Status != 504 {
					t.Error(s.Status)
				}
				if err := <-result; !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
			})
		}
	}
}

func TestContextAfterReturn(t *testing.T) {
	var ctx context.Context
	h := one(t, func(w *plugin.Response, r *plugin.Request) error { ctx = r.Context(); return ctx.Err() })
	want(t, h.Do("GET", "/", nil), 200, "")
	<-ctx.Done()
	if ctx.Err() != context.Canceled {
		t.Error(ctx.Err())
	}
	if _, err := plugin.Fetch(ctx, &plugin.Call{URL: "http://a/"}); !errors.Is(err, plugin.ErrCancelled) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
