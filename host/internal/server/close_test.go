package server_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/server"
)

// A handler that gives the connection up, as whoever refuses strangers does, waits for nothing of the body.
func TestAConnectionThatIsGivenUpWaitsForNoBody(t *testing.T) {
	refuse := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		server.WriteDetail(w, http.StatusUnauthorized, "no")
	}
	for name, sent := range map[string]string{
		"declared": post(10) + "half",
		"chunked":  "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, settings(), refuse, func(t *testing.T, c *client) {
				start := time.Now()
				c.send(sent)
				resp, body := c.answer()
				if took := time.Since(start); resp.StatusCode != 401 || !isDetail(resp, body, "no") || !resp.Close || took != 0 {
					t.Errorf("%d %q after %v, want 401 at once and close", resp.StatusCode, body, took)
				}
				c.closed()
				if took := time.Since(start); took > time.Second {
					t.Errorf("closed after %v", took)
				}
			})
		})
	}
}
