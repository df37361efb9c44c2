package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/sdk/go/plugin/plugintest"
)

const gpustack = "upstream://gpustack"

// answering is an upstream that answers everything alike.
func answering(status int, kind, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// decode reads JSON without making numbers into floats.
func decode(t *testing.T, b []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return v
}

func TestListings(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("no test data")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			listing(t, file)
		})
	}
}

// TestFault08ModelsOfBothGenerations is the list that was empty against GPUStack v2.
func TestFault08ModelsOfBothGenerations(t *testing.T) {
	listing(t, "testdata/v0.txt")
	listing(t, "testdata/v2.txt")
}

func listing(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(b, []byte("-- upstream --\n"))
	upstream, want, _ := bytes.Cut(rest, []byte("-- want --\n"))
	h := plugintest.New(t, Setup, plugintest.Upstream(gpustack, answering(200, "application/json", string(upstream), "X-Patchbay-Demo", "1")))
	a := h.Do("GET", "/api/models", nil)
	if a.Status != 200 || a.Header.Get("cache-control") != "no-store" || a.Header.Get("x-patchbay-demo") != "1" || a.Header.Get("content-type") != "application/json" {
		t.Fatalf("%d %v %s", a.Status, a.Header, a.Body)
	}
	if got, want := decode(t, a.Body), decode(t, want); !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %s\nwant %s", file, a.Body, want)
	}
}

func TestAsksForLanguageModels(t *testing.T) {
	var asked []string
	h := plugintest.New(t, Setup, plugintest.Secret("key", "s3cret"),
		plugintest.Config(`{"endpoint":"https://models.example.com/","secret":"key"}`),
		plugintest.Upstream("https://models.example.com", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.Method+" "+r.URL.String()+" "+r.Header.Get("Authorization"))
			answering(200, "application/json", `{"data":[]}`)(w, r)
		})))
	if a := h.Do("GET", "/api/models", nil); a.Status != 200 || string(a.Body) != `{"models":[]}` {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if want := []string{"GET /v1/models?categories=llm&with_meta=true Bearer s3cret"}; !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

func TestFollowsPages(t *testing.T) {
	for _, c := range []struct{ total, want int }{{1, 1}, {3, 3}, {1000, maxPages}} {
		asked := 0
		h := plugintest.New(t, Setup, plugintest.Upstream(gpustack, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked++
			page := r.URL.Query().Get("page")
			if page == "" {
				page = "1"
			}
			if page != fmt.Sprint(asked) {
				t.Errorf("page %s was asked for, want %d", page, asked)
			}
			answering(200, "application/json", fmt.Sprintf(`{"items":[{"id":%s,"name":"m%s"}],"pagination":{"page":%s,"perPage":1,"total":%d,"totalPage":%d}}`, page, page, page, c.total, c.total))(w, r)
		})))
		a := h.Do("GET", "/api/models", nil)
		var got struct{ Models []struct{ Name string } }
		if err := a.JSON(&got); err != nil || a.Status != 200 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		if len(got.Models) != c.want || asked != c.want || got.Models[c.want-1].Name != fmt.Sprintf("m%d", c.want) {
			t.Errorf("%d pages: %d models in %d calls, want %d", c.total, len(got.Models), asked, c.want)
		}
	}
}

func TestFault07StatusesPass(t *testing.T) {
	for _, c := range []struct {
		name       string
		upstream   http.HandlerFunc
		status     int
		detail     string
		retryAfter string
	}{
		{"our key", answering(401, "application/json", `{"error":{"message":"bad key gpustack_1"}}`), 502, "The upstream refused the server's key.", ""},
		{"our key's scope", answering(403, "application/json", `{"code":403,"reason":"Forbidden","message":"no"}`), 502, "The upstream refused the server's key.", ""},
		{"not found", answering(404, "application/json", `{"code":404,"reason":"NotFound","message":"nothing here"}`), 404, "nothing here", ""},
		{"not ready", answering(503, "application/json", `{"error":{"message":"starting"}}`, "Retry-After", "7"), 503, "starting", "7"},
		{"broken", answering(500, "text/plain", `Traceback`), 502, "The upstream failed with status 500.", ""},
		{"no JSON", answering(200, "text/html", `<html>`), 502, "The upstream sent an answer that was not understood.", ""},
		{"half", answering(200, "application/json", `{"data":[{"id":"a"`), 502, "The upstream sent an answer that was not understood.", ""},
		{"no list", answering(200, "application/json", `{"ok":true}`), 502, "The upstream sent an answer that was not understood.", ""},
		{"no models", answering(200, "application/json", `{"data":["a"]}`), 502, "The upstream sent an answer that was not understood.", ""},
		{"cut", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100000")
			io.WriteString(w, `{"data":[`)
			panic(http.ErrAbortHandler)
		}, 502, "The upstream broke off its answer.", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := plugintest.New(t, Setup, plugintest.Upstream(gpustack, c.upstream)).Do("GET", "/api/models", nil)
			var got struct{ Detail string }
			if err := a.JSON(&got); err != nil || a.Status != c.status || got.Detail != c.detail || a.Header.Get("retry-after") != c.retryAfter {
				t.Errorf("%d %v %s, want %d %q", a.Status, a.Header, a.Body, c.status, c.detail)
			}
		})
	}
}

func TestWithoutGrant(t *testing.T) {
	h := plugintest.New(t, Setup)
	if a := h.Do("GET", "/api/models", nil); a.Status != 500 || strings.Contains(string(a.Body), "grant") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if logs := strings.Join(h.Logs(), "\n"); !strings.Contains(logs, "grant.fetch") {
		t.Errorf("the log does not show the missing grant: %s", logs)
	}
}

func TestSetup(t *testing.T) {
	for config, want := range map[string]string{
		`{}`:                          "",
		`{"endpoint":"gpustack"}`:     "endpoint",
		`{"endpoint":"ftp://x"}`:      "endpoint",
		`{"endpoint":"http://x?a=b"}`: "endpoint",
		`{"endpoints":"http://x"}`:    "endpoints",
		`{"secret":"gone"}`:           "secret",
	} {
		err := plugintest.New(t, Setup, plugintest.Config(config)).SetupError()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", config, err, want)
		}
	}
}
