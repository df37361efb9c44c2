// Package admin answers on the admin listener: what is loaded, how it does, which configuration is
// in force, metrics and profiles. It only shows; nothing that it serves changes the server.
//
// Internals are seen here and nowhere else, so every request needs the token, and a browser is let
// in from this listener's own pages only. It listens to nothing itself: a server.Server hands it
// requests, bounds what clients send and answers for panics.
package admin

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/events"
	"github.com/patchbay-run/patchbay/host/internal/server"
)

// Options are what an Admin is made from.
type Options struct {
	Token   string       // what clients send as "Authorization: Bearer <token>"; see ReadToken
	Listen  string       // admin.listen, host:port; its host is a name to be called by. "" adds none
	View    View         // what is shown
	Metrics http.Handler // answers GET /metrics; nil leaves the route out
	Live    http.Handler // answers GET /api/live; nil leaves the route out
	Events  *events.Log  // what GET /api/events shows; nil leaves the route out
	Log     *slog.Logger // gets wrong tokens' senders, never tokens; nil is silent

	Now func() time.Time // the clock that wrong tokens are counted by; nil is time.Now
}

// Admin is the admin listener's handler. It starts nothing and needs no closing.
type Admin struct {
	view     View
	token    [sha256.Size]byte // the token's hash; the token itself is not kept
	name     string            // the host part of admin.listen in lower case, "" when there is none
	failures failures
	index    []entry
	mux      *http.ServeMux
	log      *slog.Logger
}

// New fails without a token or a view: there is no admin listener that is open to everybody.
func New(o Options) (*Admin, error) {
	var errs []error
	switch fault := tokenFault(o.Token); {
	case o.Token == "":
		errs = append(errs, errors.New("the token is empty; the admin listener always asks for one"))
	case fault != "":
		errs = append(errs, fmt.Errorf("the token %s", fault))
	}
	if o.View == nil {
		errs = append(errs, errors.New("there is no view to show"))
	}
	var host string
	if o.Listen != "" {
		var err error
		if host, _, err = net.SplitHostPort(o.Listen); err != nil {
			errs = append(errs, fmt.Errorf("admin.listen is not host:port: %w", err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("make the admin handler: %w", err)
	}
	a := &Admin{
		view: o.View, log: o.Log, name: strings.ToLower(host),
		token:    sha256.Sum256([]byte(o.Token)),
		failures: failures{now: o.Now},
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.failures.now == nil {
		a.failures.now = time.Now
	}
	a.build(o)
	return a, nil
}

// ServeHTTP refuses first and looks at the path then, so that a stranger learns nothing.
func (a *Admin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	if detail := a.foreign(r); detail != "" {
		server.WriteDetail(w, http.StatusForbidden, detail)
		return
	}
	if !a.authorized(w, r) {
		return
	}
	a.mux.ServeHTTP(w, r)
}

// answer writes v as JSON that people can read too. It is encoded whole before the first byte goes
// out, so that what cannot be encoded is a 500 and not half an answer.
func (a *Admin) answer(w http.ResponseWriter, r *http.Request, status int, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		a.log.ErrorContext(r.Context(), "encode an admin answer", "route", r.Pattern, "error", err)
		server.WriteDetail(w, http.StatusInternalServerError, "The answer could not be encoded; the log says why")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// text writes one line.
func text(w http.ResponseWriter, status int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, line)
}
