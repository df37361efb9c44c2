package keys_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/keys"
)

// under has a gate let a request in, and returns what its handler is told of the key.
func under(t *testing.T, g *keys.Gate, key string) (valid context.Context, status int) {
	t.Helper()
	h := g.Guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r := httptest.NewRequest("GET", "/x", http.NoBody).WithContext(context.WithValue(t.Context(), admitted{}, &valid))
	if key != "" {
		r.Header.Set("X-API-Key", key)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return valid, w.Code
}

// admitted is where a request's context keeps the place for what it is admitted with.
type admitted struct{}

func plainGate(t *testing.T, list ...config.Key) *keys.Gate {
	t.Helper()
	g := keys.NewGate(keys.GateOptions{
		Error:    func(w http.ResponseWriter, _ *http.Request, status int, detail string) { http.Error(w, detail, status) },
		Admitted: func(ctx, valid context.Context) { *ctx.Value(admitted{}).(*context.Context) = valid },
	})
	swap(t, g, list...)
	return g
}

func swap(t *testing.T, g *keys.Gate, list ...config.Key) {
	t.Helper()
	set, err := keys.Read(config.KeyAuth{Keys: list}, nil)
	if err != nil {
		t.Fatal(err)
	}
	g.Swap(set)
}

// TestValidEnds: what was let in learns that its key is good no longer, and nobody else does.
func TestValidEnds(t *testing.T) {
	web, webKey := made("web")
	_, otherKey := made("other")
	disabled, renamed := webKey, webKey
	disabled.Disabled = true
	renamed.Name, renamed.Routes = "site", []string{"GET /x"}
	otherHash := webKey
	otherHash.Hash = otherKey.Hash
	for _, c := range []struct {
		what string
		next []config.Key
		want error
	}{
		{"all as it was", []config.Key{webKey, otherKey}, nil},
		{"another name and other routes", []config.Key{renamed}, nil},
		{"disabled", []config.Key{disabled, otherKey}, keys.ErrRevoked},
		{"taken out", []config.Key{otherKey}, keys.ErrRevoked},
		{"replaced under its name", []config.Key{otherHash}, keys.ErrRevoked},
		{"the last one", nil, keys.ErrRevoked},
	} {
		g := plainGate(t, webKey)
		valid, _ := under(t, g, web)
		again, _ := under(t, g, web)
		if valid == nil || valid != again || valid.Err() != nil {
			t.Fatalf("%s: at first %v, then %v: want one for all requests of the key", c.what, valid, again)
		}
		swap(t, g, c.next...)
		swap(t, g, c.next...) // nothing changes
		if got := context.Cause(valid); got != c.want {
			t.Errorf("%s: it ended with %v, want %v", c.what, got, c.want)
		}
		swap(t, g, webKey)
		if fresh, status := under(t, g, web); status != 200 || fresh.Err() != nil {
			t.Errorf("%s, and back: %d %v", c.what, status, context.Cause(fresh))
		}
		if got := context.Cause(valid); got != c.want {
			t.Errorf("%s: it came back: %v", c.what, got)
		}
	}
	if valid, status := under(t, plainGate(t, webKey), ""); valid != nil || status != 200 {
		t.Errorf("without a key: %v %d", valid, status)
	}
}

// TestValidExpires: at the moment that the key says, also when that was changed, and after a wait that is longer than one timer's.
func TestValidExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web, webKey := made("web")
		long, longKey := made("long")
		at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
		webKey.Expires, longKey.Expires = at(time.Hour), at(48*time.Hour)
		g := plainGate(t, webKey, longKey)
		defer g.Close()
		first, _ := under(t, g, web)
		second, _ := under(t, g, long)
		ended := func(when string, webEnded, longEnded error) {
			t.Helper()
			synctest.Wait()
			if got := [2]error{context.Cause(first), context.Cause(second)}; got != [2]error{webEnded, longEnded} {
				t.Errorf("%s: %v", when, got)
			}
		}
		time.Sleep(time.Hour - time.Nanosecond)
		ended("just before", nil, nil)
		time.Sleep(time.Nanosecond)
		ended("an hour later", keys.ErrExpired, nil)
		longKey.Expires = at(time.Minute / 2)
		swap(t, g, webKey, longKey)
		ended("it is to expire sooner", keys.ErrExpired, nil)
		time.Sleep(time.Minute / 2)
		ended("the one of two days", keys.ErrExpired, keys.ErrExpired)
		if _, status := under(t, g, long); status != 401 {
			t.Errorf("the next request: %d", status)
		}
		longKey.Expires = at(time.Hour)
		swap(t, g, longKey)
		if second, _ = under(t, g, long); second.Err() != nil {
			t.Error("a key that is good again is over")
		}
		g.Close()
		time.Sleep(2 * time.Hour)
		ended("nobody looks after Close", keys.ErrExpired, nil)
	})
}

// TestExpiredStaysSo when the clock is set back, and nobody is let in with what has ended already.
func TestExpiredStaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web, webKey := made("web")
		webKey.Expires = time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		back := time.Duration(0)
		g := keys.NewGate(keys.GateOptions{
			Error:    func(w http.ResponseWriter, _ *http.Request, status int, detail string) { http.Error(w, detail, status) },
			Admitted: func(ctx, valid context.Context) { *ctx.Value(admitted{}).(*context.Context) = valid },
			Now:      func() time.Time { return time.Now().Add(-back) },
		})
		defer g.Close()
		swap(t, g, webKey)
		first, _ := under(t, g, web)
		time.Sleep(time.Hour)
		synctest.Wait()
		if context.Cause(first) != keys.ErrExpired {
			t.Fatal(context.Cause(first))
		}
		back = time.Minute
		if valid, status := under(t, g, web); status != 401 || valid != nil {
			t.Errorf("%d, with %v", status, valid)
		}
		swap(t, g, webKey)
		if valid, status := under(t, g, web); status != 200 || valid.Err() != nil {
			t.Errorf("after the next Swap: %d", status)
		}
	})
}
