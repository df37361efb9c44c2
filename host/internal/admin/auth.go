package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/server"
)

const (
	// failureWindow and maxFailures bound the wrong tokens that are answered 401 and logged,
	// whoever sends them. They keep the log readable; what makes guessing hopeless is the token's
	// length.
	failureWindow = time.Minute
	maxFailures   = 20
)

// authorized lets the token through and answers for everything else. A right token always passes:
// nobody can lock the operator out by sending wrong ones.
func (a *Admin) authorized(w http.ResponseWriter, r *http.Request) bool {
	token, given := bearer(r)
	// The hashes have one length, so that the time taken says nothing about the token's.
	sum := sha256.Sum256([]byte(token))
	right := subtle.ConstantTimeCompare(sum[:], a.token[:]) == 1
	switch {
	case given && right:
		return true
	case !given: // nothing was guessed, so nothing is counted
		w.Header().Set("WWW-Authenticate", `Bearer realm="patchbay admin"`)
		server.WriteDetail(w, http.StatusUnauthorized, "Send the admin token as Authorization: Bearer …")
		return false
	}
	if wait := a.failures.add(); wait > 0 {
		seconds := int((wait + time.Second - 1) / time.Second)
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		server.WriteDetail(w, http.StatusTooManyRequests, "Too many wrong admin tokens; the right one is still accepted")
		return false
	}
	a.log.WarnContext(r.Context(), "wrong admin token", "client", server.ClientAddr(r).String())
	w.Header().Set("WWW-Authenticate", `Bearer realm="patchbay admin", error="invalid_token"`)
	server.WriteDetail(w, http.StatusUnauthorized, "The admin token is wrong. Send it as Authorization: Bearer …")
	return false
}

// bearer is the token that r carries in the one place where it may be. Two of them are none:
// proxies disagree about which of two counts.
func bearer(r *http.Request) (token string, given bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.TrimLeft(token, " ")
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

// failures remembers when the latest wrong tokens came, and no more of them than it takes.
type failures struct {
	now func() time.Time

	mu   sync.Mutex // guards what follows; a leaf
	at   [maxFailures]time.Time
	next int // the oldest of at, and the place of the next one
}

// add counts a wrong token. When there have been too many it does not, so that hammering keeps
// nobody waiting for longer, and says after how long the next one will be counted.
func (f *failures) add() (wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if oldest := f.at[f.next]; !oldest.IsZero() {
		if wait := failureWindow - now.Sub(oldest); wait > 0 {
			return wait
		}
	}
	f.at[f.next] = now
	f.next = (f.next + 1) % maxFailures
	return 0
}
