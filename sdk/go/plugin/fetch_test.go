package plugin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
	"github.com/patchbay-run/patchbay/sdk/go/plugin"
	"github.com/patchbay-run/patchbay/sdk/go/plugin/plugintest"
)

// upstream is what the tests call.
func upstream() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", fmt.Sprintf("%s %s %s %s", r.Method, r.Host, r.Header.Get("X-In"), r.Header.Get("Authorization")))
		http.NewResponseController(w).EnableFullDuplex()
		io.Copy(w, r.Body)
	})
	mux.HandleFunc("/size", func(w http.ResponseWriter, r *http.Request) {
		var n int
		fmt.Sscan(r.FormValue("n"), &n)
		w.Write(bytes.Repeat([]byte("x"), n))
	})
	mux.HandleFunc("/hang", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // net/http sees that the client left only when the body is read
		<-r.Context().Done()
	})
	mux.HandleFunc("/begin", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "begun")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "begun")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/status", func(w http.ResponseWriter, r *http.Request) {
		var n int
		fmt.Sscan(r.FormValue("n"), &n)
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(n)
		io.WriteString(w, r.FormValue("body"))
	})
	return mux
}

const base = "https://api.example.com"

// fetching is a plugin whose one handler calls the upstream.
func fetching(t testing.TB, h plugin.Handler, opts ...plugintest.Option) *plugintest.Host {
	t.Helper()
	return one(t, h, append(opts, plugintest.Upstream(base, upstream()), plugintest.Secret("key", "s3cret"))...)
}

func TestFetch(t *testing.T) {
	h := fetching(t, func(w *plugin.Response, r *plugin.Request) error {
		reply, err := plugin.Fetch(r.Context(), &plugin.Call{
			Method: "POST", URL: base + "/echo", Header: plugin.Header{{Name: "X-In", Value: "in"}}, Body: []byte("hello"), Secret: "key",
		})
		if err != nil {
			return err
		}
		b, err := reply.Bytes(100)
		if err != nil {
			return err
		}
		return w.JSON(reply.Status, []string{string(b), reply.Header.Get("X-Seen")})
	})
	want(t, h.Do("GET", "/", nil), 200, `["hello","POST api.example.com in Bearer s3cret"]`)
}

// TestFetchRedirects follows those of a GET unless it is told otherwise, and the rest when it is told.
func TestFetchRedirects(t *testing.T) {
	var redirects int
	moved := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := 0
		fmt.Sscan(r.FormValue("n"), &n)
		switch {
		case r.URL.Path == "/away":
			http.Redirect(w, r, "https://other.example.com/echo", 302)
		case n > 0:
			http.Redirect(w, r, fmt.Sprintf("/r?n=%d", n-1), 302)
		default:
			fmt.Fprintf(w, "%s %s %s", r.Method, r.Header.Get("X-In"), r.Header.Get("Authorization"))
		}
	})
	h := one(t, func(w *plugin.Response, r *plugin.Request) error {
		method, path, _ := strings.Cut(r.RawQuery, " ")
		reply, err := plugin.Fetch(r.Context(), &plugin.Call{
			Method: method, URL: base + path, Header: plugin.Header{{Name: "X-In", Value: "in"}, {Name: "Accept", Value: "a"}}, Secret: "key", Redirects: redirects,
		})
		if err != nil {
			return w.JSON(200, err.Error())
		}
		b, err := reply.Bytes(1000)
		return w.JSON(reply.Status, []any{string(b), reply.URL, reply.Header.Get(":url"), err})
	}, plugintest.Upstream(base, moved), plugintest.Upstream("https://other.example.com", upstream()), plugintest.Secret("key", "s3cret"))
	for _, c := range []struct {
		redirects int
		ask       string
		status    int
		want      string
	}{
		{0, "GET /r?n=0", 200, `["GET in Bearer s3cret","","",null]`},
		{0, "GET /r?n=10", 200, `["GET in Bearer s3cret","` + base + `/r?n=0","",null]`},
		{0, "GET /r?n=11", 200, `"fetch: over 10 redirects`},
		{3, "GET /r?n=4", 200, `"fetch: over 3 redirects`},
		{20, "GET /r?n=20", 200, `["GET in Bearer s3cret","` + base + `/r?n=0"`},
		{plugin.NoRedirects, "GET /r?n=1", 302, `[`},
		{0, "POST /r?n=1", 302, `[`},
		{1, "POST /r?n=1", 200, `["GET in Bearer s3cret","` + base + `/r?n=0"`},
		{0, "GET /away", 200, `["","https://other.example.com/echo","",null]`},
	} {
		redirects = c.redirects
		a := h.Do("GET", "/?"+strings.ReplaceAll(c.ask, "%", "%25"), nil)
		if a.Status != c.status || !strings.HasPrefix(string(a.Body), c.want) {
			t.Errorf("%s with %d: %d %s, want %s", c.ask, c.redirects, a.Status, a.Body, c.want)
		}
	}
}

func TestFetchHostsHeaders(t *testing.T) {
	h := fetching(t, func(w *plugin.Response, r *plugin.Request) error {
		_, err := plugin.Fetch(r.Context(), &plugin.Call{URL: base + "/echo", Header: plugin.Header{{Name: "Proxy-Authorization", Value: "x"}}})
		return w.JSON(200, fmt.Sprint(err))
	})
	if a := h.Do("GET", "/", nil); !strings.Contains(string(a.Body), "is the host's to set") {
		t.Errorf("%s", a.Body)
	}
}

func TestFetchSizes(t *testing.T) {
	h := fetching(t, func(w *plugin.Response, r *plugin.Request) error {
		var window int
		fmt.Sscan(r.Query().Get("window"), &window)
		reply, err := plugin.Fetch(r.Context(), &plugin.Call{URL: base + "/size?" + r.RawQuery, Window: window})
		if err != nil {
			return err
		}
		b, err := reply.Bytes(1 << 20)
		if err != nil {
			return err
		}
		return w.JSON(200, len(b))
	})
	for _, window := range []int{0, 1, 1000, 1 << 20, 1 << 30, plugin.ForPipe} {
		for _, n := range []int{0, 1, 2000, 64 << 10, 600 << 10, 1 << 20} {
			if window == 1 && n > 2000 {
				continue
			}
			want(t, h.Do("GET", fmt.Sprintf("/?n=%d&window=%d", n, window), nil), 200, fmt.Sprint(n))
		}
	}
	want(t, h.Do("GET", "/?n=1048577", nil), 502, `{"detail":"The upstream's answer is too large."}`)
}

func TestFetchFails(t *testing.T) {
	for _, c := range []struct {
		name   string
		call   plugin.Call
		want   error
		text   string
		status int
	}{
		{"denied", plugin.Call{URL: "https://evil.example.com/x", Method: "PUT"}, plugin.ErrDenied, "{host: evil.example.com, methods: [PUT], paths: [/x]}", 500},
		{"secret", plugin.Call{URL: base + "/echo", Secret: "other"}, plugin.ErrDenied, `"other"`, 500},
		{"timeout", plugin.Call{URL: base + "/hang", Timeout: 10 * time.Millisecond}, plugin.ErrTimeout, "", 504},
		{"url", plugin.Call{URL: "nonsense"}, &plugin.FetchError{Code: abi.Invalid}, "nonsense", 500},
		{"headers", plugin.Call{URL: base + "/echo", Header: plugin.Header{{Name: "a", Value: strings.Repeat("a", 64<<10)}}}, &plugin.FetchError{Code: abi.Invalid}, "64 KiB", 500},
		{"both", plugin.Call{URL: base + "/echo", Body: []byte("a"), Stream: strings.NewReader("b")}, &plugin.FetchError{Code: abi.Invalid}, "Stream", 500},
		{"large", plugin.Call{URL: base + "/echo", Body: make([]byte, 8<<20+1)}, plugin.ErrTooLarge, "8 MiB", 502},
	} {
		t.Run(c.name, func(t *testing.T) {
			var err error
			h := fetching(t, func(w *plugin.Response, r *plugin.Request) error {
				_, err = plugin.Fetch(r.Context(), &c.call)
				return err
			})
			if a := h.Do("GET", "/", nil); a.Status != c.status {
				t.Errorf("status %d, want %d", a.Status, c.status)
			}
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v, want %v with %q", err, c.want, c.text)
			}
			if errors.Is(err, plugin.ErrPool) {
				t.Error("every sentinel matches")
			}
		})
	}
	if _, err := plugin.Fetch(context.Background(), &plugin.Call{URL: base}); err == nil || !strings.Contains(err.Error(), "Request.Context") {
		t.Error(err)
	}
}

func TestFetchCancel(t *testing.T) {
	get := func(ctx context.Context, path string) error {
		reply, err := plugin.Fetch(ctx, &plugin.Call{URL: base + path})
		if err != nil {
			return err
		}
		_, err = io.ReadAll(reply.Body)
		return err
	}
	for _, path := range []string{"/hang", "/begin"} {
		t.Run("client"+path, func(t *testing.T) {
			begun, result := make(chan struct{}), make(chan error, 1)
			h := fetching(t, func(w *plugin.Response, r *plugin.Request) error {
				close(begun)
				result <- get(r.Context(), path)
				return nil
			})
			s := h.Start("GET", "/", nil)
			<-begun
			s.Cancel()
			if err := <-result; !errors.Is(err, plugin.ErrCancelled) || !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		t.Run("derived"+path, func(t *testing.T) {
			h := fetching(t, func(w *plugin.Response, r *plugin.Request) error {
				ctx, cancel := context.WithTimeout(r.Context(), 20*time.Millisecond)
				defer cancel()
				return get(ctx, path)
			})
			want(t, h.Do("GET", "/", nil), 504, `{"detail":"The upstream did not answer in time."}`)
		})
	}
	t.Run("ended before", func(t *testing.T) {
		h := fetching(t, func(w *plugin.Response, r *plugin.Request) error {
			ctx, cancel := context.WithCancel(r.Context())
			cancel()
			return get(ctx, "/hang")
		})
		want(t, h.Do("GET", "/", nil), 503, `{"detail":"The request was cancelled."}`)
	})
	t.Run("closed", func(t *testing.T) {
		h := fetching(t, func(w *plugin.Response, r *plugin.Request) error {
			reply, err := plugin.Fetch(r.Context(), &plugin.Call{URL: base + "/begin"})
			if err != nil {
				return err
			}
			reply.Body.Close()
			_, err = reply.Body.Read(make([]byte, 1))
			return err
		})
		want(t, h.Do("GET", "/", nil), 503, `{"detail":"The request was cancelled."}`)
	})
	t.Run("broken off", func(t *testing.T) {
		h := fetching(t, func(w *plugin.Response, r *plugin.Request) error { return get(r.Context(), "/cut") })
		want(t, h.Do("GET", "/", nil), 502, `{"detail":"The upstream broke off its answer."}`)
	})
}

func TestFetchStream(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 40<<10)
	h := routes{
		"POST /proxy": func(w *plugin.Response, r *plugin.Request) error {
			reply, err := plugin.Fetch(r.Context(), &plugin.Call{Method: "POST", URL: base + "/echo", Stream: r.Body})
			if err != nil {
				return err
			}
			_, err = io.Copy(w, reply.Body)
			return err
		},
		"POST /broken": func(w *plugin.Response, r *plugin.Request) error {
			_, err := plugin.Fetch(r.Context(), &plugin.Call{Method: "POST", URL: base + "/hang", Stream: broken{}})
			if err == nil || !strings.Contains(err.Error(), "broken") {
				return fmt.Errorf("wrong error: %w", err)
			}
			return nil
		},
		"POST /panic": func(w *plugin.Response, r *plugin.Request) error {
			_, err := plugin.Fetch(r.Context(), &plugin.Call{Method: "POST", URL: base + "/hang", Stream: panicking{}})
			if err == nil || !strings.Contains(err.Error(), "boom") {
				return fmt.Errorf("wrong error: %w", err)
			}
			return nil
		},
	}.host(t, plugintest.Upstream(base, upstream()))
	for _, body := range [][]byte{nil, []byte("x"), big} {
		a := h.Do("POST", "/proxy", body)
		if a.Status != 200 || a.Err != nil || !bytes.Equal(a.Body, body) {
			t.Errorf("%d bytes: %d %v, %d bytes: %s", len(body), a.Status, a.Err, len(a.Body), clip(a.Body))
		}
	}
	want(t, h.Do("POST", "/broken", nil), 200, "")
	want(t, h.Do("POST", "/panic", nil), 200, "")
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("boom") }

// A handler may make calls side by side, and leave some of them when it returns.
func TestFetchSideBySide(t *testing.T) {
	h := fetching(t, func(w *plugin.Response, r *plugin.Request) error {
		var wg sync.WaitGroup
		var got [8]string
		for i := range got {
			wg.Add(1)
			go func() {
				defer wg.Done()
				reply, err := plugin.Fetch(r.Context(), &plugin.Call{Method: "POST", URL: base + "/echo", Body: fmt.Append(nil, i)})
				if err != nil {
					return
				}
				b, _ := reply.Bytes(10)
				got[i] = string(b)
			}()
		}
		go plugin.Fetch(r.Context(), &plugin.Call{URL: base + "/hang"})
		wg.Wait()
		return w.JSON(200, got)
	})
	for range 20 {
		want(t, h.Do("GET", "/", nil), 200, `["0","1","2","3","4","5","6","7"]`)
	}
}

// The plugin's own calls end when it is drained, not with a request.
func TestFetchOwn(t *testing.T) {
	result, begun := make(chan error, 1), make(chan struct{})
	hang := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	})
	t.Run("host", func(t *testing.T) {
		h := plugintest.New(t, func(p *plugin.Plugin) error {
			if _, err := plugin.Fetch(p.Context(), &plugin.Call{URL: base + "/echo"}); err != nil {
				return err
			}
			p.Handle("GET /", func(w *plugin.Response, r *plugin.Request) error {
				go func() {
					_, err := plugin.Fetch(p.Context(), &plugin.Call{URL: "upstream://hang"})
					result <- err
				}()
				return nil
			})
			return nil
		}, plugintest.Manifest([]byte(`{"name": "own", "routes": [{"method": "GET", "path": "/"}]}`)), plugintest.Upstream(base, upstream()), plugintest.Upstream("upstream://hang", hang))
		want(t, h.Do("GET", "/", nil), 200, "")
		<-begun
	})
	if err := <-result; !errors.Is(err, plugin.ErrCancelled) {
		t.Error(err)
	}
}

func TestReplyJSON(t *testing.T) {
	h := fetching(t, func(w *plugin.Response, r *plugin.Request) error {
		reply, err := plugin.Fetch(r.Context(), &plugin.Call{URL: base + "/status?n=200&" + r.RawQuery})
		if err != nil {
			return err
		}
		var v map[string]int
		if err := reply.JSON(&v, 100); err != nil {
			return err
		}
		return w.JSON(200, v)
	})
	want(t, h.Do("GET", `/?body={"a":1}`, nil), 200, `{"a":1}`)
	want(t, h.Do("GET", `/?body={"a":`, nil), 502, `{"detail":"The upstream sent an answer that was not understood."}`)
}

func TestUpstreamError(t *testing.T) {
	h := fetching(t, func(w *plugin.Response, r *plugin.Request) error {
		reply, err := plugin.Fetch(r.Context(), &plugin.Call{URL: base + "/status?" + r.RawQuery, Window: plugin.ForPipe})
		if err != nil {
			return err
		}
		return plugin.UpstreamError(reply)
	})
	for _, c := range []struct {
		status int
		body   string
		want   int
		detail string
	}{
		{404, `{"error":{"message":"no such model","code":404}}`, 404, "no such model"},
		{400, `{"error":"bad"}`, 400, "bad"},
		{422, `{"detail":{"error":"too long"}}`, 422, "too long"},
		{429, `{"detail":"slow down"}`, 429, "slow down"},
		{503, `{"code":503,"reason":"x","message":"no replica"}`, 503, "no replica"},
		{409, `<html>`, 409, "The upstream answered with status 409."},
		{413, `[1]`, 413, "The upstream answered with status 413."},
		{401, `{"error":"wrong key sk-1"}`, 502, "The upstream refused the server's key."},
		{403, ``, 502, "The upstream refused the server's key."},
		{500, `{"error":"trace"}`, 502, "The upstream failed with status 500."},
		{432, ``, 502, "The upstream failed with status 432."},
	} {
		a := h.Do("GET", fmt.Sprintf("/?n=%d&body=%s", c.status, url.QueryEscape(c.body)), nil)
		want(t, a, c.want, fmt.Sprintf(`{"detail":"%s"}`, c.detail))
		if (a.Header.Get("retry-after") == "7") != (c.want != 502) {
			t.Error(c.status, a.Header)
		}
	}
}
