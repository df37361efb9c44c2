package nethttp_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
	"github.com/patchbay-run/patchbay/sdk/go/plugin/nethttp"
	"github.com/patchbay-run/patchbay/sdk/go/plugin/plugintest"
)

func host(t *testing.T, h http.HandlerFunc, opts ...plugintest.Option) *plugintest.Host {
	t.Helper()
	manifest := plugintest.Manifest([]byte(`{"name": "std", "version": "1.0.0", "routes": [{"method": "POST", "path": "/a/{name}"}, {"method": "GET", "path": "/a/{name}"}]}`))
	return plugintest.New(t, func(p *plugin.Plugin) error {
		p.Handle("POST /a/{name}", nethttp.Handler(h))
		p.Handle("GET /a/{name}", nethttp.Handler(h))
		return nil
	}, append(opts, manifest)...)
}

func TestHandler(t *testing.T) {
	h := host(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		w.Header().Add("X-Out", "1")
		w.Header().Add("X-Out", "2")
		w.WriteHeader(103) // interim: dropped
		w.WriteHeader(201)
		w.WriteHeader(500) // superfluous
		fmt.Fprint(w, r.Method, " ", r.URL, " ", r.PathValue("name"), " ", r.FormValue("q"), " ", r.Header["X-In"], " ", r.ContentLength, " ", string(b), err)
	})
	a := h.Do("POST", "/a/b%20c?q=1", "body", "x-in", "1", "x-in", "2", "content-length", "4")
	if want := "POST /a/b%20c?q=1 b c 1 [1 2] 4 body<nil>"; a.Status != 201 || string(a.Body) != want {
		t.Errorf("%d %s, want %s", a.Status, a.Body, want)
	}
	if v := a.Header.Values("x-out"); len(v) != 2 {
		t.Error(a.Header)
	}
}

func TestNothingWritten(t *testing.T) {
	h := host(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Out", "1") })
	if a := h.Do("GET", "/a/b", nil); a.Status != 200 || len(a.Body) != 0 || a.Header.Get("x-out") != "1" {
		t.Error(a.Status, a.Header, string(a.Body))
	}
}

func TestAbort(t *testing.T) {
	h := host(t, func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	if a := h.Do("GET", "/a/b", nil); a.Status != 500 {
		t.Error(a.Status)
	}
}

func TestFlusher(t *testing.T) {
	next := make(chan struct{})
	h := host(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "a")
		w.(http.Flusher).Flush()
		<-next
		io.WriteString(w, "b")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-r.Context().Done()
	})
	s := h.Stream("GET", "/a/b", nil)
	if b, err := s.Next(); string(b) != "a" || err != nil {
		t.Fatal(string(b), err)
	}
	close(next)
	if b, err := s.Next(); string(b) != "b" || err != nil {
		t.Fatal(string(b), err)
	}
	s.Cancel() // the context ends, or the test would hang
}

func TestTransport(t *testing.T) {
	up := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Seen", fmt.Sprint(r.Method, " ", r.Header.Get("Authorization"), " ", r.ContentLength, " ", len(b)))
		w.WriteHeader(202)
		w.Write(b)
	})
	big := strings.Repeat("x", 200<<10)
	h := host(t, func(w http.ResponseWriter, r *http.Request) {
		client := http.Client{Transport: &nethttp.Transport{Secret: "key"}}
		var body io.Reader
		switch r.PathValue("name") {
		case "none":
		case "small":
			body = strings.NewReader("small")
		case "big":
			body = strings.NewReader(big)
		case "unknown":
			body = io.MultiReader(strings.NewReader(big))
		}
		req, _ := http.NewRequestWithContext(r.Context(), "POST", "https://api.example.com/x", body)
		res, err := client.Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		fmt.Fprint(w, res.Status, " ", res.Header.Get("X-Seen"), " ", len(b), " ", err)
	}, plugintest.Upstream("https://api.example.com", up), plugintest.Secret("key", "s3cret"))
	for name, want := range map[string]string{
		"none":    "202 Accepted POST Bearer s3cret 0 0 0 <nil>",
		"small":   "202 Accepted POST Bearer s3cret 5 5 5 <nil>",
		"big":     "202 Accepted POST Bearer s3cret -1 204800 204800 <nil>",
		"unknown": "202 Accepted POST Bearer s3cret -1 204800 204800 <nil>",
	} {
		if a := h.Do("GET", "/a/"+name, nil); string(a.Body) != want {
			t.Errorf("%s: %s, want %s", name, a.Body, want)
		}
	}
}

func TestTransportDenied(t *testing.T) {
	h := host(t, func(w http.ResponseWriter, r *http.Request) {
		req, _ := http.NewRequestWithContext(r.Context(), "GET", "https://other.example.com/", bytes.NewReader(nil))
		_, err := (&nethttp.Transport{}).RoundTrip(req)
		if !errors.Is(err, plugin.ErrDenied) {
			t.Error(err)
		}
	})
	h.Do("GET", "/a/b", nil)
}
