package admin_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/admin"
)

// clock stands still unless it is told to move.
type clock struct{ passed atomic.Int64 }

func (c *clock) now() time.Time {
	return time.Unix(1_700_000_000, 0).Add(time.Duration(c.passed.Load()))
}
func (c *clock) advance(d time.Duration) { c.passed.Add(int64(d)) }

const tooMany = "Too many wrong admin tokens"

func TestWrongTokensAreLimited(t *testing.T) {
	var (
		c   clock
		log bytes.Buffer
	)
	addr := start(t, admin.Options{Now: c.now, Log: slog.New(slog.NewTextHandler(&log, nil))})
	guess := header("Authorization", "Bearer guessed-token")
	limited := func(retryAfter string) {
		t.Helper()
		resp, body := send(t, request(t, addr, "/livez", guess))
		refused(t, resp, body, 429, tooMany)
		if got := resp.Header.Get("Retry-After"); got != retryAfter {
			t.Errorf("Retry-After: %q, want %q", got, retryAfter)
		}
	}
	counted := func() {
		t.Helper()
		resp, body := send(t, request(t, addr, "/livez", guess))
		refused(t, resp, body, 401, wrong)
	}

	counted()
	c.advance(10 * time.Second)
	for range 19 {
		counted()
	}
	limited("50")
	for range 50 { // what is not counted keeps nobody waiting for longer
		limited("50")
	}
	resp, body := send(t, request(t, addr, "/livez", header("Authorization")))
	refused(t, resp, body, 401, noToken)
	if resp, body := send(t, request(t, addr, "/livez", nil)); resp.StatusCode != 200 {
		t.Errorf("the right token: status %d: %s", resp.StatusCode, body)
	}
	c.advance(49*time.Second + 1)
	limited("1")
	c.advance(time.Second)
	counted()     // in the place of the first
	limited("10") // for the other 19, rounded up
	c.advance(10 * time.Second)
	for range 19 {
		counted()
	}
	limited("50")

	said := log.String()
	if n := strings.Count(said, "\n"); n != 40 || strings.Count(said, `msg="wrong admin token" client=127.0.0.1`) != n {
		t.Errorf("%d lines in the log, want one of each of the 40 that were counted:\n%s", n, said)
	}
	for _, secret := range []string{token, "guessed-token"} {
		if strings.Contains(said, secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
}

// A missing token is no guess.
func TestMissingTokensAreNotCounted(t *testing.T) {
	var c clock
	addr := start(t, admin.Options{Now: c.now})
	for range 25 {
		resp, body := send(t, request(t, addr, "/livez", header("Authorization")))
		refused(t, resp, body, 401, noToken)
	}
	resp, body := send(t, request(t, addr, "/livez", header("Authorization", "Bearer x")))
	refused(t, resp, body, 401, wrong)
}

// Right tokens pass while wrong ones come from everywhere, and no more than the limit is counted.
func TestWrongTokensAtOnce(t *testing.T) {
	const each = 60
	var c clock
	addr := start(t, admin.Options{Now: c.now})
	var wg sync.WaitGroup
	var statuses sync.Map // status → *atomic.Int64
	count := func(status int) *atomic.Int64 {
		n, _ := statuses.LoadOrStore(status, new(atomic.Int64))
		return n.(*atomic.Int64)
	}
	transport := &http.Transport{MaxConnsPerHost: 8}
	defer transport.CloseIdleConnections()
	for i := range 2 * each {
		r := request(t, addr, "/livez", nil)
		if i%2 == 1 {
			r.Header.Set("Authorization", "Bearer x")
		}
		wg.Go(func() {
			resp, err := transport.RoundTrip(r)
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			count(resp.StatusCode).Add(1)
		})
	}
	wg.Wait()
	for status, want := range map[int]int64{200: each, 401: 20, 429: each - 20} {
		if got := count(status).Load(); got != want {
			t.Errorf("%d answers with %d, want %d", got, status, want)
		}
	}
}
