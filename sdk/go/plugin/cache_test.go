package plugin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
	"github.com/patchbay-run/patchbay/sdk/go/plugin/plugintest"
)

// keeping is a plugin whose GET /{key} is cached. compute makes the values.
func keeping(t *testing.T, c plugin.Cache, compute func(ctx context.Context, keep *plugin.Keep) ([]byte, error), opts ...plugintest.Option) *plugintest.Host {
	t.Helper()
	return plugintest.New(t, func(p *plugin.Plugin) error {
		p.Handle("GET /{key}", func(w *plugin.Response, r *plugin.Request) error {
			c := c
			c.NoCache = r.RawQuery == "fresh"
			got, err := c.Once(r.Context(), r.PathValue("key"), compute)
			if err != nil {
				return err
			}
			w.Header().Set("x-cache", got.State.String())
			_, err = w.Write(got.Value)
			return err
		})
		return nil
	}, append([]plugintest.Option{plugintest.Manifest([]byte(`{"name":"k","version":"1.0.0","routes":[{"method":"GET","path":"/{key}"}]}`)), plugintest.Cached()}, opts...)...)
}

func wants(t *testing.T, a *plugintest.Answer, status int, state, body string) {
	t.Helper()
	if a.Status != status || a.Header.Get("x-cache") != state || string(a.Body) != body {
		t.Errorf("%d %q %.100s, want %d %q %.100s", a.Status, a.Header.Get("x-cache"), a.Body, status, state, body)
	}
}

func TestOnceComputesOnce(t *testing.T) {
	var computed atomic.Int32
	begun, free := make(chan bool), make(chan bool)
	h := keeping(t, plugin.Cache{TTL: time.Hour}, func(context.Context, *plugin.Keep) ([]byte, error) {
		computed.Add(1)
		begun <- true
		<-free
		return []byte("v"), nil
	})
	var all sync.WaitGroup
	var states sync.Map
	call := func() {
		defer all.Done()
		a := h.Do("GET", "/k", nil)
		n, _ := states.LoadOrStore(a.Header.Get("x-cache"), &atomic.Int32{})
		n.(*atomic.Int32).Add(1)
		if a.Status != 200 || string(a.Body) != "v" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
	all.Add(52)
	go call()
	<-begun
	for range 50 {
		go call()
	}
	free <- true
	call()
	all.Wait()
	if n := computed.Load(); n != 1 {
		t.Errorf("computed %d times", n)
	}
	if n, ok := states.Load("miss"); !ok || n.(*atomic.Int32).Load() != 1 {
		t.Error("not one miss")
	}
}

func TestOnceServesStaleAndRefreshes(t *testing.T) {
	var computed atomic.Int32
	begun, free := make(chan bool, 10), make(chan bool, 10)
	fails := false
	h := keeping(t, plugin.Cache{TTL: time.Minute, Stale: time.Hour}, func(ctx context.Context, _ *plugin.Keep) ([]byte, error) {
		n := computed.Add(1)
		begun <- true
		<-free
		if fails {
			return nil, plugin.Errorf(503, "no")
		}
		return fmt.Append(nil, n), ctx.Err()
	})
	free <- true
	wants(t, h.Do("GET", "/k", nil), 200, "miss", "1")
	<-begun
	h.Pass(time.Minute)
	for range 20 { // nobody waits, while one computes
		wants(t, h.Do("GET", "/k", nil), 200, "stale", "1")
	}
	<-begun
	if n := computed.Load(); n != 2 {
		t.Errorf("computed %d times", n)
	}
	free <- true
	eventually(t, func() bool { return string(h.Do("GET", "/k", nil).Body) == "2" })
	wants(t, h.Do("GET", "/k", nil), 200, "hit", "2")
	fails = true
	free <- true
	h.Pass(time.Minute)
	wants(t, h.Do("GET", "/k", nil), 200, "stale", "2")
	eventually(t, func() bool {
		return strings.Contains(strings.Join(h.Logs(), "\n"), "refresh of a cached value failed with 503")
	})
	wants(t, h.Do("GET", "/k", nil), 200, "stale", "2")
	free <- true // whoever was asked then
}

// eventually waits for what the plugin does in the background.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}

func TestOnceSharesAnError(t *testing.T) {
	var computed atomic.Int32
	h := keeping(t, plugin.Cache{TTL: time.Hour, Failed: time.Minute}, func(context.Context, *plugin.Keep) ([]byte, error) {
		computed.Add(1)
		return nil, &plugin.Error{Status: 503, Detail: "later", RetryAfter: 9 * time.Second, Err: errors.New("the cause")}
	})
	for range 3 {
		a := h.Do("GET", "/k", nil)
		wants(t, a, 503, "", `{"detail":"later"}`)
		if a.Header.Get("retry-after") != "9" {
			t.Errorf("%v", a.Header)
		}
	}
	if n := computed.Load(); n != 1 {
		t.Errorf("computed %d times", n)
	}
	h.Pass(time.Minute)
	h.Do("GET", "/k", nil)
	if n := computed.Load(); n != 2 {
		t.Errorf("computed %d times", n)
	}
	if logs := strings.Join(h.Logs(), "\n"); strings.Count(logs, "the cause") != 2 {
		t.Errorf("who computes logs the cause, and nobody else: %s", logs)
	}
}

// TestOnceNextTakesOver: whoever waits computes when the one before left, panicked or ran out of time of its own.
func TestOnceNextTakesOver(t *testing.T) {
	var computed atomic.Int32
	begun := make(chan bool)
	h := keeping(t, plugin.Cache{TTL: time.Hour}, func(ctx context.Context, _ *plugin.Keep) ([]byte, error) {
		n := computed.Add(1)
		begun <- true
		switch n {
		case 1:
			<-ctx.Done()
			return nil, ctx.Err()
		case 2:
			panic("oh")
		}
		return []byte("v"), nil
	})
	first := h.Start("GET", "/k", nil)
	<-begun
	second := h.Start("GET", "/k", nil)
	first.Cancel()
	<-begun
	second.Head()
	if second.Status != 500 {
		t.Errorf("a panic is %d", second.Status)
	}
	go func() { <-begun }()
	wants(t, h.Do("GET", "/k", nil), 200, "miss", "v")
}

func TestOnceKeepsAsLongAsTold(t *testing.T) {
	var computed atomic.Int32
	h := keeping(t, plugin.Cache{TTL: time.Hour}, func(_ context.Context, keep *plugin.Keep) ([]byte, error) {
		if keep.TTL != time.Hour {
			t.Error(keep.TTL)
		}
		keep.TTL = time.Second
		return fmt.Append(nil, computed.Add(1)), nil
	})
	wants(t, h.Do("GET", "/k", nil), 200, "miss", "1")
	wants(t, h.Do("GET", "/k", nil), 200, "hit", "1")
	wants(t, h.Do("GET", "/k?fresh", nil), 200, "miss", "2")
	h.Pass(time.Second)
	wants(t, h.Do("GET", "/k", nil), 200, "miss", "3")
	long := "/" + strings.Repeat("x", 5000)
	wants(t, h.Do("GET", long, nil), 200, "miss", "4")
	wants(t, h.Do("GET", long, nil), 200, "hit", "4")
	wants(t, h.Do("GET", long+"x", nil), 200, "miss", "5")
}

// TestOnceWithoutGrant: a cache that is not there fails nothing.
func TestOnceWithoutGrant(t *testing.T) {
	var computed atomic.Int32
	p := plugintest.New(t, func(p *plugin.Plugin) error {
		c := plugin.Cache{TTL: time.Hour}
		p.Handle("GET /{key}", func(w *plugin.Response, r *plugin.Request) error {
			if _, _, err := c.Get(r.Context(), "k"); !errors.Is(err, plugin.ErrDenied) || !strings.Contains(err.Error(), "cache: 16MiB") {
				t.Error(err)
			}
			if err := c.Put(r.Context(), "k", nil); !errors.Is(err, plugin.ErrDenied) {
				t.Error(err)
			}
			got, err := c.Once(r.Context(), "k", func(context.Context, *plugin.Keep) ([]byte, error) { return fmt.Append(nil, computed.Add(1)), nil })
			if err != nil || got.State != plugin.CacheMiss {
				t.Error(got, err)
				return err
			}
			_, err = w.Write(got.Value)
			return err
		})
		return nil
	}, plugintest.Manifest([]byte(`{"name":"k","version":"1.0.0","routes":[{"method":"GET","path":"/{key}"}]}`)))
	wants(t, p.Do("GET", "/k", nil), 200, "", "1")
	wants(t, p.Do("GET", "/k", nil), 200, "", "2")
}

func TestCacheGetPutDelete(t *testing.T) {
	large := bytes.Repeat([]byte("large "), 1<<18)
	h := plugintest.New(t, func(p *plugin.Plugin) error {
		c := plugin.Cache{TTL: time.Hour}
		p.Handle("GET /{key}", func(w *plugin.Response, r *plugin.Request) error {
			ctx := r.Context()
			for _, value := range [][]byte{{}, []byte("v"), large} {
				if _, ok, err := c.Get(ctx, "k"); ok || err != nil {
					t.Error("it is there already", err)
				}
				if err := c.Put(ctx, "k", value); err != nil {
					t.Error(err)
				}
				if got, ok, err := c.Get(ctx, "k"); !ok || err != nil || !bytes.Equal(got, value) {
					t.Errorf("%d bytes came back as %d, %v", len(value), len(got), err)
				}
				if err := c.Delete(ctx, "k"); err != nil {
					t.Error(err)
				}
			}
			if err := c.Put(ctx, "k", make([]byte, 9<<20)); !errors.Is(err, plugin.ErrTooLarge) {
				t.Error(err)
			}
			if _, _, err := c.Get(context.Background(), "k"); err == nil {
				t.Error("a context of nobody was taken")
			}
			if err := c.Put(ctx, "", nil); err == nil {
				t.Error("no key was taken")
			}
			return nil
		})
		return nil
	}, plugintest.Manifest([]byte(`{"name":"k","version":"1.0.0","routes":[{"method":"GET","path":"/{key}"}]}`)), plugintest.Cached())
	h.Do("GET", "/k", nil)
}

// TestAnswer: the client reads the same whether the value is computed, shared, kept or stale.
func TestAnswer(t *testing.T) {
	begun, free := make(chan bool), make(chan bool)
	c := plugin.Cache{TTL: time.Minute, Stale: time.Minute}
	h := plugintest.New(t, func(p *plugin.Plugin) error {
		p.Handle("GET /{key}", func(w *plugin.Response, r *plugin.Request) error {
			w.Header().Set("content-type", "text/plain")
			if _, err := w.WriteString(r.RawQuery + ": "); err != nil {
				return err
			}
			return c.Answer(w, r.PathValue("key"), func(context.Context, *plugin.Keep) ([]byte, error) { return nil, nil })
		})
		p.Handle("POST /{key}", func(w *plugin.Response, r *plugin.Request) error {
			return c.Answer(w, r.PathValue("key"), func(_ context.Context, keep *plugin.Keep) ([]byte, error) {
				begun <- true
				if !<-free {
					return nil, plugin.Errorf(418, "no")
				}
				keep.Header = plugin.Header{{Name: "age", Value: "5"}, {Name: "x-of", Value: "it"}}
				return []byte("value"), nil
			})
		})
		return nil
	}, plugintest.Manifest([]byte(`{"name":"k","version":"1.0.0","routes":[{"method":"GET","path":"/{key}"},{"method":"POST","path":"/{key}"}]}`)), plugintest.Cached())
	done := make(chan *plugintest.Answer)
	go func() { done <- h.Do("POST", "/k", nil) }()
	<-begun
	free <- false
	if a := <-done; a.Status != 418 || a.Header.Has("x-cache") {
		t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
	}
	h.Pass(time.Second) // so long an error is kept
	go func() { done <- h.Do("POST", "/k", nil) }()
	<-begun
	free <- true
	wants(t, <-done, 200, "miss", "value")
	h.Pass(30 * time.Second)
	a := h.Do("GET", "/k?who", nil)
	wants(t, a, 200, "hit", "who: value")
	if age, err := strconv.Atoi(a.Header.Get("age")); err != nil || age < 35 || age > 60 || a.Header.Get("x-of") != "it" || a.Header.Get("content-type") != "text/plain" {
		t.Errorf("%v", a.Header)
	}
	h.Pass(40 * time.Second)
	wants(t, h.Do("GET", "/k?who", nil), 200, "stale", "who: value")
	if a := h.Do("HEAD", "/k", nil); a.Status != 200 || len(a.Body) > 0 || !a.Header.Has("x-cache") {
		t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
	}
}
